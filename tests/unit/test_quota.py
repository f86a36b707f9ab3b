"""The spacing of requests, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random

import pytest

from tap_metrika_calls import quota
from tap_metrika_calls.quota import SECOND, Quota, Sent


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quota, "time", clock)
    return clock


def answered(limiter: Quota, clock: Clock, sent: Sent, took: float) -> None:
    """Let an answer come, this long after its request was sent."""
    now, clock.now = clock.now, sent.at + took
    limiter.answered(sent)
    clock.now = max(now, clock.now)


def test_the_first_is_sent_at_once(clock: Clock) -> None:
    assert Quota(30).take() == Sent(1_000.0)
    assert clock.now == 1_000.0


def test_requests_are_evenly_spaced(clock: Clock) -> None:
    limiter = Quota(4)
    times = [limiter.take().at for _ in range(9)]
    assert clock.now == times[-1]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([SECOND / 4] * 8)


def test_time_that_passed_is_not_saved_up(clock: Clock) -> None:
    limiter = Quota(4)
    limiter.take()
    clock.now += 60
    times = [limiter.take().at for _ in range(3)]
    assert times == pytest.approx([1_060, 1_060 + SECOND / 4, 1_060 + SECOND / 2])


def test_a_late_request_does_not_wait_in_vain(clock: Clock) -> None:
    limiter = Quota(4)
    limiter.take()
    clock.now += SECOND / 4 + 0.001
    assert limiter.take().at == clock.now


def test_what_was_held_up_counts_when_it_can_have_arrived(clock: Clock) -> None:
    limiter = Quota(2)
    answered(limiter, clock, limiter.take(), took=0.2)
    held_up = limiter.take()
    answered(limiter, clock, held_up, took=0.9)
    limiter.take()
    fourth = limiter.take()
    arrived = held_up.at + 0.9 - 0.2
    assert fourth.at == pytest.approx(arrived + SECOND)


def test_the_fastest_answer_is_the_measure(clock: Clock) -> None:
    limiter = Quota(1)
    for took in (0.5, 0.3, 0.4):
        sent = limiter.take()
        answered(limiter, clock, sent, took)
    assert limiter.take().at == pytest.approx(sent.at + 0.4 - 0.3 + SECOND)


def test_a_request_under_way_counts_from_its_sending() -> None:
    limiter = Quota(1)
    first, second = limiter.take(), limiter.take()
    assert first.took is None
    assert second.at == pytest.approx(first.at + SECOND)


@pytest.mark.parametrize("per_second", [1, 3, 30])
def test_no_second_has_more_than_it_may(clock: Clock, per_second: int) -> None:
    chance = random.Random(7)  # noqa: S311
    limiter = Quota(per_second)
    arrivals: list[float] = []
    for _ in range(40 * per_second):
        sent = limiter.take()
        delay = chance.choice((0.0, 0.0, chance.random()))
        arrivals.append(sent.at + delay)
        answered(limiter, clock, sent, 0.01 + delay)
        clock.now += chance.choice((0, 0, chance.random() / per_second))
    arrivals.sort()
    for first, beyond in zip(arrivals, arrivals[per_second:], strict=False):
        assert beyond - first > 1
    assert len(limiter._recent) <= 2 * per_second + 1
