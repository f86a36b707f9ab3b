"""No upload is lost and no status stale, whatever happens between the syncs."""

from __future__ import annotations

import logging
import os
import typing as t
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_metrika_calls.bookmark import Bookmark, normal_form
from tests.simulation import Life, StaleError

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support import RecordProperty

PARTS = 4  # so that they run side by side
LIVES = int(os.environ.get("SIMULATED_LIVES", "120")) // PARTS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nobody reads the logs of so many syncs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_and_nothing_is_stale(
    record_property: RecordProperty, part: int
) -> None:
    counts: Counter[str] = Counter()

    @settings(
        max_examples=LIVES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(number=st.integers(0, 2**32))
    def lives(number: int) -> None:
        seed = PARTS * number + part
        with pytest.MonkeyPatch.context() as monkeypatch:
            life = Life(seed, monkeypatch)
            life.live()
        counts.update(lives=1, **life.counts)

    lives()
    record_property("simulated", dict(counts))
    assert counts["syncs"] >= 20 * LIVES
    assert counts["crashes"] > LIVES


def test_a_naive_bookmark_is_caught(
    monkeypatch: pytest.MonkeyPatch, record_property: RecordProperty
) -> None:
    def newest(bookmark: Bookmark) -> dict[str, str]:
        if bookmark._newest is None:
            return {}
        value = normal_form(bookmark._newest)
        return {"replication_key": "create_time", "replication_key_value": value}

    monkeypatch.setattr(Bookmark, "state", newest)
    caught = 0
    for seed in range(20):
        try:
            Life(seed, monkeypatch).live()
        except StaleError:
            caught += 1
    record_property("caught", f"{caught} of 20")
    assert caught >= 15
