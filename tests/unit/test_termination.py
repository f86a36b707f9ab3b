"""Signals are recorded, and acted upon where the sync looks."""

from __future__ import annotations

import os
import signal
import threading
import typing as t

import pytest

from tap_metrika_calls import termination

if t.TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def timers() -> list[threading.Timer]:
    return [t for t in threading.enumerate() if isinstance(t, threading.Timer)]


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the handlers of this process as they were, and let it live."""
    monkeypatch.setattr(os, "_exit", lambda _: None)
    monkeypatch.setattr(termination, "_received", None)
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    yield
    for timer in timers():
        timer.cancel()
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_recorded_and_interrupts_nothing(signum: signal.Signals) -> None:
    termination.install()
    assert termination.received() is None
    signal.raise_signal(signum)
    assert termination.received() is signum


def test_the_first_signal_counts() -> None:
    termination.install()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(signum)
    assert termination.received() is signal.SIGINT


@pytest.mark.parametrize("signum", SIGNALS)
def test_one_that_was_ignored_stays_ignored(signum: signal.Signals) -> None:
    signal.signal(signum, signal.SIG_IGN)
    termination.install()
    signal.raise_signal(signum)
    assert termination.received() is None
    assert signal.getsignal(signum) is signal.SIG_IGN


@pytest.mark.parametrize("signum", [signal.SIGCHLD, signal.SIGWINCH, signal.SIGUSR1])
def test_other_signals_are_nobodys_business(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    termination.install()
    assert signal.getsignal(signum) is before


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_sync_that_cannot_end_is_ended(
    signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    is_over = threading.Event()

    def end(code: int) -> None:
        ended.append(code)
        is_over.set()

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(termination, "SECONDS_TO_STOP", 0)
    termination.install()
    signal.raise_signal(signum)
    assert is_over.wait(10)
    assert ended == [128 + signum]


def test_a_second_signal_gives_no_more_time() -> None:
    termination.install()
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    (timer,) = timers()
    assert timer.daemon
    assert timer.interval == 1.5
