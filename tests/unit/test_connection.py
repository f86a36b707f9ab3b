"""How long an answer may take as a whole."""

from __future__ import annotations

import threading

import pytest

from tap_metrika_calls.connection import TICK, in_time


def hang_up_late(error: Exception | None = None, seconds: float = 0.01) -> None:
    """Read until the connection is hung up; assert that it was too late then."""
    hung_up = threading.Event()

    def hang_up() -> None:
        hung_up.set()
        if error is not None:
            raise error

    with pytest.raises(TimeoutError), in_time(seconds, hang_up):
        assert hung_up.wait(10)


def test_what_is_late_is_hung_up() -> None:
    hang_up_late(seconds=2.5 * TICK)
    hang_up_late()


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("no socket")])
def test_a_connection_that_cannot_be_hung_up_leaves_the_others_watched(
    error: Exception,
) -> None:
    hang_up_late(error)
    hang_up_late()


def test_what_is_in_time_is_left_alone() -> None:
    hung_up: list[str] = []
    with in_time(TICK, lambda: hung_up.append("in time")):
        pass
    hang_up_late(seconds=2 * TICK)
    assert hung_up == []


def test_many_readings_take_one_thread() -> None:
    before = threading.active_count()
    for _ in range(100):
        with in_time(60, lambda: None):
            assert threading.active_count() <= before + 1
