"""The spacing of requests, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random
import threading
import typing as t

import pytest

from tap_metrika_calls.api import rate_limit
from tap_metrika_calls.api.rate_limit import SECOND, RateLimit


class Clock:
    """Time that passes in waits alone; it is the event that ends them, too."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    return clock


def limit_of(per_second: int, clock: Clock) -> RateLimit:
    return RateLimit(per_second, t.cast("threading.Event", clock))


def release(limiter: RateLimit, clock: Clock, sent_at: float, took: float) -> None:
    """Let a response arrive, this long after its request was sent."""
    now, clock.now = clock.now, sent_at + took
    limiter.release(sent_at)
    clock.now = max(now, clock.now)


def test_a_second_has_a_margin() -> None:
    assert 1 < SECOND < 1.05


def test_the_first_is_sent_at_once(clock: Clock) -> None:
    assert limit_of(30, clock).acquire() == 1_000.0
    assert clock.now == 1_000.0


def test_requests_are_evenly_spaced(clock: Clock) -> None:
    limiter = limit_of(4, clock)
    times = []
    for _ in range(9):
        times.append(limiter.acquire())
        assert clock.now == times[-1]
        limiter.release(times[-1])
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([SECOND / 4] * 8)


def test_time_that_passed_is_not_saved_up(clock: Clock) -> None:
    limiter = limit_of(4, clock)
    limiter.release(limiter.acquire())
    clock.now += 60
    times = [limiter.acquire() for _ in range(3)]
    assert times == pytest.approx([1_060, 1_060 + SECOND / 4, 1_060 + SECOND / 2])


def test_a_late_request_does_not_wait_in_vain(clock: Clock) -> None:
    limiter = limit_of(4, clock)
    limiter.acquire()
    clock.now += SECOND / 4 + 0.001
    assert limiter.acquire() == clock.now


def test_what_was_held_up_counts_when_it_can_have_arrived(clock: Clock) -> None:
    limiter = limit_of(2, clock)
    release(limiter, clock, limiter.acquire(), took=0.2)
    held_up = limiter.acquire()
    release(limiter, clock, held_up, took=0.9)
    limiter.acquire()
    arrived = held_up + 0.9 - 0.2
    assert limiter.acquire() == pytest.approx(arrived + SECOND)


def test_the_fastest_response_is_the_measure(clock: Clock) -> None:
    limiter = limit_of(1, clock)
    for took in (0.5, 0.3, 0.4):
        sent_at = limiter.acquire()
        release(limiter, clock, sent_at, took)
    assert limiter.acquire() == pytest.approx(sent_at + 0.4 - 0.3 + SECOND)


def test_a_slow_start_is_no_measure(clock: Clock) -> None:
    limiter = limit_of(2, clock)
    first = limiter.acquire()
    release(limiter, clock, first, took=0.8)  # with the handshake of TLS
    release(limiter, clock, limiter.acquire(), took=0.1)
    assert limiter.acquire() == pytest.approx(first + 0.8 - 0.1 + SECOND)


def test_the_slot_that_is_free_first_is_taken(clock: Clock) -> None:
    limiter = limit_of(2, clock)
    first, second = limiter.acquire(), limiter.acquire()
    release(limiter, clock, second, took=0.1)
    release(limiter, clock, first, took=0.9)
    assert limiter.acquire() == pytest.approx(second + SECOND)


def test_a_request_under_way_keeps_its_slot(clock: Clock) -> None:
    limiter = limit_of(1, clock)
    sent_at = limiter.acquire()
    later: list[float] = []
    thread = threading.Thread(target=lambda: later.append(limiter.acquire()))
    thread.start()
    assert later == []
    release(limiter, clock, sent_at, took=30.0)
    thread.join(10)
    assert later == [sent_at + 30.0]


def test_all_waits_end_at_once_when_nothing_more_is_sent() -> None:
    stopped = threading.Event()
    stopped.set()
    limiter = RateLimit(1, stopped)
    for _ in range(1_000):  # on a clock that stands still, each waits longer
        limiter.release(limiter.acquire())


@pytest.mark.parametrize("per_second", [1, 3, 30])
def test_no_second_has_more_than_it_may(clock: Clock, per_second: int) -> None:
    chance = random.Random(7)  # noqa: S311
    limiter = limit_of(per_second, clock)
    arrivals: list[float] = []
    for _ in range(40 * per_second):
        sent_at = limiter.acquire()
        delay = chance.choice((0.0, 0.0, chance.random()))
        arrivals.append(sent_at + delay)
        release(limiter, clock, sent_at, 0.01 + delay)
        clock.now += chance.choice((0, 0, chance.random() / per_second))
    arrivals.sort()
    for first, beyond in zip(arrivals, arrivals[per_second:], strict=False):
        assert beyond - first > 1
