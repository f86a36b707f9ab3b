"""Signals that end a sync: recorded here, acted upon where the sync checks for them."""

from __future__ import annotations

import os
import signal
import threading
import typing as t

if t.TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SECONDS_TO_STOP = 1.5

_received: signal.Signals | None = None
_timer: threading.Timer | None = None


class Terminated(BaseException):
    """A wait ended because a signal was received."""


def install() -> None:
    """Record the first signal that arrives; one ignored so far stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _record)


def received() -> signal.Signals | None:
    """Return the signal that was received first, if any."""
    return _received


def forget() -> None:
    """Forget a received signal, now that the sync has ended."""
    global _received, _timer  # noqa: PLW0603
    if _timer is not None:
        _timer.cancel()
    _received = _timer = None


def _record(signum: int, _: FrameType | None) -> None:
    """Record a signal, and end the process if the sync does not end in time.

    Whatever blocks the main thread, a write to a target that does not read most of
    all, must not keep the process alive.
    """
    global _received, _timer  # noqa: PLW0603
    if _received is None:
        _received = signal.Signals(signum)
        _timer = threading.Timer(SECONDS_TO_STOP, os._exit, [128 + signum])
        _timer.daemon = True
        _timer.start()
