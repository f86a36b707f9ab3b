"""A list that came newest first is left where everything is known."""

from __future__ import annotations

import itertools
import re
import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from sandbox import Sandbox
from tests.support import CALLS, JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 24 * 3_600


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A mock API whose clock stands where the uploads of a test are."""
    with Sandbox(counters=0, epoch=EPOCH) as sandbox:
        sandbox.quotas = None
        yield sandbox


def config(api: Sandbox) -> JSON:
    return config_for(api, counter_id=7, requests_per_second=100_000)


def add(api: Sandbox, count: int, *, hours: float = 1, until: float = 0) -> list[int]:
    """Add uploads at a distance of some hours, the last one that long ago."""
    ages = [until + hours * n for n in reversed(range(count))]
    # To look for a free ID takes as long as there are uploads.
    ids = itertools.count(api.counters[7].next_id())
    return [
        api.add_upload(7, id=i, create_time=at(api, hours=age), status="PROCESSED")[
            "id"
        ]
        for i, age in zip(ids, ages, strict=False)
    ]


def at(api: Sandbox, **ago: float) -> str:
    instant = api.now() - timedelta(**ago)
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def asked(api: Sandbox) -> list[str]:
    """What was requested since the last look: offset and limit, or the ID."""
    found = [
        f"{r.query['offset']}+{r.query['limit']}" if r.kind == "list" else r.path
        for r in api.requests
    ]
    api.reset()
    return [re.sub(r".*/", "id ", text) for text in found]


def full_read(run: Run) -> JSON | None:
    (partition,) = run.state["bookmarks"][CALLS]["partitions"]
    return t.cast("JSON | None", partition.get("full_read"))


def test_a_quiet_sync_of_a_long_list_takes_one_request(api: Sandbox) -> None:
    api.add_counter(7, uploads=30_000)
    first = sync(config(api))
    assert (first.code, len(first.ids)) == (0, 30_000)
    assert full_read(first) is not None
    asked(api)
    new = api.add_upload(7, create_time=at(api), status="PROCESSED")["id"]
    second = sync(config(api), first.state)
    assert asked(api) == ["0+500"]
    assert new in second.ids
    newest = max(r["create_time"] for r in first.records())
    floor = datetime.fromisoformat(newest) - timedelta(hours=1)
    expected = [
        r["id"]
        for r in first.records()
        if datetime.fromisoformat(r["create_time"]) >= floor
    ]
    assert sorted(second.ids) == sorted([new, *expected])
    assert "lists left early: 1" in second.log
    assert full_read(second) == full_read(first)


@pytest.mark.parametrize("order", ["oldest", "shuffled"])
def test_in_any_other_order_the_whole_list_is_read(api: Sandbox, order: str) -> None:
    api.order = order
    api.add_counter(7)
    ids = add(api, 700)
    first = sync(config(api))
    assert full_read(first) is None
    asked(api)
    second = sync(config(api), first.state)
    assert asked(api) == ["0+10000", "699+10000"]
    assert sorted(second.ids) == ids[-2:]


def test_a_list_of_fewer_than_a_hundred_is_read_whole(api: Sandbox) -> None:
    api.add_counter(7)
    add(api, 99)
    first = sync(config(api))
    assert full_read(first) is None
    asked(api)
    sync(config(api), first.state)
    assert asked(api) == ["0+10000"]


def test_in_flight_behind_the_stop_is_requested_by_id(api: Sandbox) -> None:
    api.add_counter(7)
    stuck = api.add_upload(7, create_time=at(api, days=15), status="MATCHED")
    gone = api.add_upload(7, create_time=at(api, days=14), status="MATCHED")["id"]
    ids = add(api, 600, hours=0.5)
    first = sync(config(api))
    asked(api)
    stuck["status"] = "PROCESSED"
    api.delete_upload(7, gone)
    second = sync(config(api), first.state)
    assert second.code == 0
    by_id = [text for text in asked(api) if "id" in text]
    assert sorted(by_id) == sorted([f"id {gone}", f"id {stuck['id']}"])
    statuses = {record["id"]: record["status"] for record in second.records()}
    assert statuses == dict.fromkeys([*ids[-3:], stuck["id"]], "PROCESSED")
    (line,) = second.warnings
    assert f"no longer known: {gone}." in line


def test_one_stuck_for_days_costs_one_row(api: Sandbox) -> None:
    api.add_counter(7)
    stuck = api.add_upload(7, create_time=at(api, days=10), status="MATCHED")
    add(api, 2_000, hours=0.1)
    first = sync(config(api))
    asked(api)
    second = sync(config(api), first.state)
    assert stuck["id"] in second.ids
    assert len(second.ids) <= 12
    assert asked(api) == ["0+500", f"id {stuck['id']}"]


def test_many_in_flight_are_looked_for_in_the_list(api: Sandbox) -> None:
    api.add_counter(7)
    for number in range(150):
        age = 24 * 18 + number / 10
        api.add_upload(7, create_time=at(api, hours=age), status="MATCHED")
    add(api, 400)
    first = sync(config(api))
    asked(api)
    second = sync(config(api), first.state)
    assert len(second.ids) == 152
    requested = asked(api)
    assert len([text for text in requested if "id" in text]) <= 100
    assert len(requested) <= 103


@pytest.mark.parametrize("days", [6, 7, 8])
def test_every_seven_days_the_list_is_read_whole(api: Sandbox, days: int) -> None:
    api.add_counter(7)
    ids = add(api, 700)
    first = sync(config(api))
    api.advance(3 * DAY)
    new = add(api, 1)
    second = sync(config(api), first.state)
    assert sorted(second.ids) == [*ids[-2:], *new]
    asked(api)
    api.advance((days - 3) * DAY)
    third = sync(config(api), second.state)
    requests = asked(api)
    if days < 7:
        assert requests == ["0+500"]
        assert third.ids == new
    else:
        assert len(requests) > 1
        assert sorted(third.ids) == [*ids[-2:], *new], "all since the full read"
        assert full_read(third) != full_read(second)


def test_what_an_api_hid_meanwhile_is_recovered_by_the_full_read(api: Sandbox) -> None:
    """It changed its order where no sync looked, and put new uploads at the end."""
    api.add_counter(7)
    hidden = api.add_upload(
        7, id=5, create_time=at(api, days=-1), status="PROCESSED", visible=False
    )["id"]
    ids = add(api, 700)
    first = sync(config(api))
    api.advance(2 * DAY)
    new = add(api, 1)
    api.reveal(7, hidden)
    second = sync(config(api), first.state)
    assert sorted(second.ids) == [*ids[-2:], *new]
    api.advance(6 * DAY)
    third = sync(config(api), second.state)
    assert hidden in third.ids


def test_a_page_out_of_order_reads_the_whole_list(api: Sandbox) -> None:
    api.add_counter(7)
    old = add(api, 700)
    first = sync(config(api))
    api.advance(2 * DAY)
    new = add(api, 2)
    api.order = "oldest"
    asked(api)
    second = sync(config(api), first.state)
    assert sorted(second.ids) == [*old[-2:], *new]
    assert len(asked(api)) > 1
    assert full_read(second) is None


def test_an_upload_without_a_time_on_the_way_reads_the_whole_list(
    api: Sandbox,
) -> None:
    api.add_counter(7)
    add(api, 700)
    first = sync(config(api))
    odd = api.add_upload(7, create_time=None, status="PROCESSED")["id"]
    asked(api)
    second = sync(config(api), first.state)
    assert odd in second.ids
    assert len(asked(api)) > 1
    assert full_read(second) is None


def test_an_upload_of_the_future_hides_nothing(api: Sandbox) -> None:
    api.add_counter(7)
    add(api, 300)
    api.add_upload(7, create_time=at(api, days=-400), status="PROCESSED")
    first = sync(config(api))
    api.advance(3_600)
    new = add(api, 1)
    second = sync(config(api), first.state)
    assert set(new) <= set(second.ids)


def test_full_table_reads_the_whole_list_and_leaves_the_state(api: Sandbox) -> None:
    api.add_counter(7)
    ids = add(api, 300)
    first = sync(config(api))
    catalog = catalog_of(CALLS, **{"replication-method": "FULL_TABLE"})
    full = sync(config(api), first.state, catalog)
    assert sorted(full.ids) == ids
    assert full.state == first.state


def test_thousands_in_flight_leave_a_small_state(api: Sandbox) -> None:
    api.add_counter(7)
    for number in range(2_000):
        api.add_upload(
            7, id=10**15 + number, create_time=at(api, minutes=number), status="MATCHED"
        )
    api.order = "oldest"
    run = sync(config(api))
    assert run.code == 0
    (partition,) = run.state["bookmarks"][CALLS]["partitions"]
    assert len(partition["in_flight"]) == 2_000
    assert len(run.lines[-1]) < 20 * 2_000
    again = sync(config(api), run.state)
    assert len(again.ids) == 2_000
