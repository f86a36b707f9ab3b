"""Signals that end a sync: recorded here, acted upon where the sync checks for them."""

from __future__ import annotations

import os
import signal
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SECONDS_TO_STOP = 1.5

_received: signal.Signals | None = None


class Terminated(BaseException):
    """A wait ended because a signal was received."""


def install() -> None:
    """Record the first signal that arrives; one ignored so far stays ignored."""
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _record)


def received() -> signal.Signals | None:
    """Return the signal that was received first, if any."""
    return _received


def _record(signum: int, _: object) -> None:
    """Record a signal, and end the process if the sync does not end in time.

    Whatever blocks the main thread, a write to a target that does not read most of
    all, must not keep the process alive.
    """
    global _received  # noqa: PLW0603
    if _received is None:
        _received = signal.Signals(signum)
        timer = threading.Timer(SECONDS_TO_STOP, os._exit, [128 + signum])
        timer.daemon = True
        timer.start()
