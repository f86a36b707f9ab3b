"""Quotas that end a run: the next one begins where it ended."""

from __future__ import annotations

import re
import typing as t

import pytest

from sandbox import Quotas
from tests.support import CALLS, JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

STREAMS = (CALLS, "chats_uploadings", "conversions_uploadings")


def read(run: Run) -> list[tuple[str, int]]:
    """The streams and counters that were read, in order."""
    records = run.of_type("RECORD")
    keys = [(m["stream"], m["record"]["counter_id"]) for m in records]
    return list(dict.fromkeys(keys))


def add_counters(api: Sandbox, count: int, **uploads: t.Any) -> list[JSON]:
    """Add counters with so many uploads each, and return them as a setting."""
    for number in range(1, count + 1):
        api.add_counter(number, **uploads)
    return [{"counter_id": number} for number in range(1, count + 1)]


def runs(
    api: Sandbox, config: JSON, count: int, per_day: int, *streams: str
) -> list[Run]:
    """Run on as many days, each with so many requests."""
    state: JSON | None = None
    done: list[Run] = []
    for _ in range(count):
        api.quotas = Quotas(per_day=per_day)
        api.reset()
        done.append(sync(config, state, catalog_of(*(streams or (CALLS,)))))
        state = done[-1].state
    return done


@pytest.mark.parametrize("is_configured", [True, False])
@pytest.mark.parametrize("parallel", [1, 3])
def test_thirty_counters_with_twelve_requests_take_three_runs(
    api: Sandbox, parallel: int, *, is_configured: bool
) -> None:
    counters = add_counters(api, 30, uploads=2)
    chosen: JSON = {"counters": counters} if is_configured else {}
    config = config_for(api, max_parallel_requests=parallel, **chosen)
    done = runs(api, config, 3, 12)
    seen = {key for run in done for key in read(run)}
    assert seen == {(CALLS, number) for number in range(1, 31)}
    for run in done[:2]:
        assert (run.code, len(run.errors)) == (1, 1)
        assert "Daily API quota exceeded" in run.errors[0]
        assert len(api.requests) <= 12 + parallel
        assert run.messages[-1]["type"] == "STATE"


def test_the_log_says_how_many_were_not_tried_and_where_the_next_run_begins(
    api: Sandbox,
) -> None:
    counters = add_counters(api, 10, uploads=2)
    config = config_for(api, counters=counters, max_parallel_requests=1)
    first, second = runs(api, config, 2, 4)
    assert [counter_id for _, counter_id in read(first)] == [1, 2, 3, 4]
    assert re.search(r"6 counters (were )?not tried.*begins with counter 5", first.log)
    assert [counter_id for _, counter_id in read(second)] == [5, 6, 7, 8]
    api.quotas = None
    third = sync(config, second.state)
    assert [counter_id for _, counter_id in read(third)][:2] == [9, 10]


def test_the_last_stream_is_not_starved(api: Sandbox) -> None:
    counters = add_counters(api, 4, uploads=1, conversions=1, chats=1)
    config = config_for(api, counters=counters, max_parallel_requests=1)
    done = runs(api, config, 3, 5, *STREAMS)
    seen = [key for run in done for key in read(run)]
    assert set(seen) == {(s, number) for s in STREAMS for number in range(1, 5)}


def test_a_run_that_can_read_nothing_begins_where_the_last_one_ended(
    api: Sandbox,
) -> None:
    counters = add_counters(api, 4, uploads=1)
    config = config_for(api, counters=counters, max_parallel_requests=1)
    (first,) = runs(api, config, 1, 2)
    api.quotas = Quotas(per_day=0)
    nothing = sync(config, first.state)
    assert (nothing.code, nothing.ids) == (1, [])
    api.quotas = None
    third = sync(config, nothing.state)
    assert third.code == 0
    assert [counter_id for _, counter_id in read(third)][:2] == [3, 4]


@pytest.mark.parametrize(
    ("fault", "chosen", "streams"),
    [
        ("503", {}, [CALLS]),
        ("429", {"counters": []}, [CALLS]),
        (None, {}, ["counters"]),
        (None, {}, []),
    ],
    ids=["no list of counters", "no counter", "another stream", "no stream"],
)
def test_a_run_that_tries_no_counter_leaves_the_place_to_begin(
    api: Sandbox,
    short_pauses: None,
    fault: str | None,
    chosen: JSON,
    streams: list[str],
) -> None:
    assert short_pauses is None
    for number in range(1, 5):
        api.add_counter(number, uploads=1)
    config = config_for(api, max_parallel_requests=1)
    (first,) = runs(api, config, 1, 3)
    api.quotas = None
    if fault:
        api.fail(fault, times=100, path="/counters")
    second = sync(config | chosen, first.state, catalog_of(*streams))
    before, after = (run.state["bookmarks"][CALLS] for run in (first, second))
    assert before["resume_from"] == after["resume_from"] == 3


def test_runs_after_the_end_of_the_quota_starve_no_counter(api: Sandbox) -> None:
    for number in range(1, 9):
        api.add_counter(number, uploads=1)
    state: JSON | None = None
    seen: set[tuple[str, int]] = set()
    for number in range(6):
        if number % 2 == 0:
            api.quotas = Quotas(per_day=5)
            api.reset()
        run = sync(config_for(api, max_parallel_requests=1), state)
        state = run.state
        seen |= set(read(run))
    assert seen == {(CALLS, number) for number in range(1, 9)}


def test_a_counter_that_left_the_configuration_is_no_place_to_begin(
    api: Sandbox,
) -> None:
    counters = add_counters(api, 6, uploads=1)
    config = config_for(api, counters=counters, max_parallel_requests=1)
    (first,) = runs(api, config, 1, 3)
    api.quotas = None
    del counters[3]
    second = sync(config | {"counters": counters}, first.state)
    assert second.code == 0
    assert {counter_id for _, counter_id in read(second)} == {1, 2, 3, 5, 6}
    assert "resume_from" not in second.state["bookmarks"][CALLS]
