"""State: what a second sync emits, and what it must not miss."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import CALLS, JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

NOW = datetime.now(UTC)


def ago(zone_hours: int = 0, **age: float) -> str:
    """A time in the past, as the API would write it in a zone."""
    instant = (NOW - timedelta(**age)).replace(microsecond=0)
    shifted = instant + timedelta(hours=zone_hours)
    offset = f"+{zone_hours:02}:00" if zone_hours else "Z"
    return shifted.isoformat().replace("+00:00", offset)


def whole(api: Sandbox, **settings: object) -> JSON:
    """A configuration of counter 7, whole."""
    return config_for(api, counter_id=7, **settings)


def state_of(counter_id: int, value: str, **more: str) -> JSON:
    """A state with one bookmark."""
    partition = {
        "context": {"counter_id": counter_id},
        "replication_key": "create_time",
        "replication_key_value": value,
        **more,
    }
    return {"bookmarks": {CALLS: {"partitions": [partition]}}}


def partition(run: Run) -> JSON:
    """What the last state of a run says about its one counter."""
    (found,) = run.state["bookmarks"][CALLS]["partitions"]
    return t.cast("JSON", found)


@pytest.fixture(autouse=True)
def counter(api: Sandbox) -> None:
    api.add_counter(7)


def test_a_quiet_sync_emits_only_the_hour_before_the_bookmark(api: Sandbox) -> None:
    for number in range(1, 1_000):
        api.add_upload(7, id=number, create_time=ago(minutes=number))
    api.add_upload(7, id=1_000, create_time=ago(3, minutes=61))
    first = sync(whole(api))
    assert len(first.ids) == 1_000
    assert first.bookmarks == {7: ago(minutes=1)}
    second = sync(whole(api), first.state)
    assert sorted(second.ids) == [*range(1, 62), 1_000]
    assert second.bookmarks == first.bookmarks


def test_an_upload_that_becomes_visible_late_arrives(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=1))
    api.add_upload(7, id=2, create_time=ago(days=1, minutes=59), visible=False)
    first = sync(whole(api))
    assert first.ids == [1]
    api.reveal(7, 2)
    assert sorted(sync(whole(api), first.state).ids) == [1, 2]


@pytest.mark.parametrize(
    "status", ["PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "UNHEARD_OF", None]
)
@pytest.mark.parametrize("final", ["PROCESSED", "LINKAGE_FAILURE"])
def test_an_upload_in_flight_is_emitted_until_its_status_is_final(
    api: Sandbox, status: str | None, final: str
) -> None:
    api.add_upload(7, id=1, create_time=ago(days=4))
    upload = api.add_upload(7, id=2, create_time=ago(3, days=3), status=status)
    for number in range(3, 60):
        api.add_upload(7, id=number, create_time=ago(days=2, minutes=number))
    api.add_upload(7, id=60, create_time=ago(days=1))
    first = sync(whole(api))
    assert first.bookmarks == {7: ago(days=1)}, "it holds the bookmark back"
    assert partition(first)["in_flight"] == [2]
    second = sync(whole(api), first.state)
    assert sorted(second.ids) == [2, 60]
    upload["status"] = final
    third = sync(whole(api), second.state)
    statuses = {record["id"]: record["status"] for record in third.records()}
    assert statuses == {2: final, 60: "PROCESSED"}
    assert "in_flight" not in partition(third)
    assert sync(whole(api), third.state).ids == [60]


def test_one_that_expired_is_let_go_with_one_warning(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=22), status="MATCHED")
    api.add_upload(7, id=2, create_time=ago(days=20), status="MATCHED")
    api.add_upload(7, id=3, create_time=ago(days=1))
    run = sync(whole(api))
    assert run.code == 0
    assert run.warnings == [
        "Counter 7: 1 upload is still in flight after 21 days and no longer tracked: 1"
    ]
    assert partition(run)["in_flight"] == [2]
    again = sync(whole(api), run.state)
    assert (again.code, again.warnings, sorted(again.ids)) == (0, [], [2, 3])
    longer = sync(whole(api, in_flight_days=30))
    assert sorted(partition(longer)["in_flight"]) == [1, 2]
    assert "in_flight" not in partition(sync(whole(api, in_flight_days=0)))


def test_one_that_the_api_no_longer_knows_is_let_go_with_a_warning(
    api: Sandbox,
) -> None:
    for number in (1, 2, 3):
        age = timedelta(days=number)
        api.add_upload(7, id=number, create_time=ago(days=age.days), status="MATCHED")
    first = sync(whole(api))
    api.delete_upload(7, 2)
    run = sync(whole(api), first.state)
    assert (run.code, sorted(run.ids)) == (0, [1, 3])
    (line,) = run.warnings
    assert line == "Counter 7: uploads in flight are no longer known: 2."
    assert sorted(partition(run)["in_flight"]) == [1, 3]
    assert sync(whole(api), run.state).warnings == []


def test_uploads_without_a_time_are_emitted_and_move_nothing(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=None, status="MATCHED")
    first = sync(whole(api))
    assert (first.ids, first.bookmarks) == ([1], {})
    api.add_upload(7, id=2, create_time=ago(days=1))
    second = sync(whole(api), first.state)
    assert second.bookmarks == {7: ago(days=1)}
    assert sorted(sync(whole(api), second.state).ids) == [1, 2]


def test_a_bookmark_of_the_future_hides_nothing(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=1))
    run = sync(whole(api), state_of(7, "2999-01-01T00:00:00Z"))
    assert run.ids == [1]
    assert run.bookmarks == {7: ago(days=1)}
    (line,) = run.warnings
    assert "Counter 7: the bookmark lies in the future" in line


def test_configured_ids_leave_no_bookmark(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=3))
    api.add_upload(7, id=2, create_time=ago(days=2))
    by_id = sync(whole(api, uploading_ids=[2]))
    assert by_id.bookmarks == {}
    all_of_it = sync(whole(api), by_id.state)
    assert sorted(all_of_it.ids) == [1, 2]
    api.add_upload(7, id=3, create_time=ago(days=1))
    by_id = sync(whole(api, uploading_ids=[3]), all_of_it.state)
    assert by_id.ids == [3]
    assert by_id.bookmarks == all_of_it.bookmarks
    assert sorted(sync(whole(api), by_id.state).ids) == [2, 3]


def test_ids_are_emitted_whatever_the_state_says(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=3))
    state = state_of(7, ago(days=1))
    assert sync(whole(api, uploading_ids=[1]), state).ids == [1]
    both = [{"counter_id": 7}, {"counter_id": 7, "uploading_ids": [1]}]
    assert sync(config_for(api, counters=both), state).ids == [1]


def test_a_counter_that_comes_later_starts_from_its_beginning(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=ago(days=1))
    first = sync(whole(api))
    api.add_counter(8)
    api.add_upload(8, id=1, create_time=ago(days=9))
    second = sync(config_for(api), first.state)
    assert second.keys == {(7, 1), (8, 1)}
    assert second.bookmarks == {7: ago(days=1), 8: ago(days=9)}


def test_a_start_date_that_moves_back_is_honoured(api: Sandbox) -> None:
    for number in range(1, 6):
        api.add_upload(7, id=number, create_time=ago(days=number))
    first = sync(whole(api, start_date=ago(days=2)))
    assert sorted(first.ids) == [1, 2]
    quiet = sync(whole(api, start_date=ago(days=2)), first.state)
    assert quiet.ids == [1]
    moved = sync(whole(api, start_date=ago(days=4)), quiet.state)
    assert sorted(moved.ids) == [1, 2, 3, 4]
    assert sync(whole(api, start_date=ago(days=4)), moved.state).ids == [1]
    gone = sync(whole(api), moved.state)
    assert sorted(gone.ids) == [1, 2, 3, 4, 5]
    assert sync(whole(api), gone.state).ids == [1]


@pytest.mark.parametrize("key", ["replication-method", "forced-replication-method"])
def test_full_table_emits_everything(api: Sandbox, key: str) -> None:
    api.add_upload(7, id=1, create_time=ago(days=3))
    api.add_upload(7, id=2, create_time=ago(days=2))
    first = sync(whole(api))
    full = sync(whole(api), first.state, catalog_of(CALLS, **{key: "FULL_TABLE"}))
    assert sorted(full.ids) == [1, 2]
    assert full.state == first.state
    assert sync(whole(api), full.state).ids == [2]


def test_no_state_is_ahead_of_its_records(api: Sandbox) -> None:
    for number in range(8, 12):
        api.add_counter(number, uploads=2)
    run = sync(config_for(api, counters=[{"counter_id": n} for n in range(8, 12)]))
    emitted: list[int] = []
    for message in run.messages:
        if message["type"] == "RECORD":
            emitted.append(message["record"]["counter_id"])
        elif message["type"] == "STATE":
            partitions = message["value"]["bookmarks"][CALLS]["partitions"]
            described = [p["context"]["counter_id"] for p in partitions]
            assert all(emitted.count(counter_id) == 2 for counter_id in described)
    assert sorted(run.bookmarks) == [8, 9, 10, 11]


@pytest.mark.parametrize(
    "stream_state",
    [
        {},
        {"partitions": []},
        {"starting_replication_value": None},
        {"progress_markers": {"Note": "x", "replication_key_value": ago(days=1)}},
    ],
)
def test_what_the_sdk_leaves_in_a_state_is_a_clean_start(
    api: Sandbox, stream_state: JSON
) -> None:
    api.add_upload(7, id=1, create_time=ago(days=3))
    state = {"bookmarks": {CALLS: stream_state, "counters": {}}}
    assert sync(whole(api), state).ids == [1]


def test_a_state_of_the_version_before_is_taken_over(api: Sandbox) -> None:
    """It held the bookmark back for what was in flight, and remembered no IDs."""
    upload = api.add_upload(7, id=1, create_time=ago(days=3), status="MATCHED")
    api.add_upload(7, id=2, create_time=ago(days=2))
    state = state_of(7, ago(days=3), start_date=ago(days=9))
    run = sync(whole(api, start_date=ago(days=9)), state)
    assert sorted(run.ids) == [1, 2]
    upload["status"] = "PROCESSED"
    assert 1 in sync(whole(api, start_date=ago(days=9)), run.state).ids


@pytest.mark.parametrize(
    "stream_state",
    [
        [],
        {"replication_key_value": ago()},
        {"partitions": {}},
        {"partitions": [{"context": {"counter_id": "7"}}]},
        {"partitions": [{"context": {"counter_id": 7}}] * 2},
        {"partitions": [{"context": {"counter_id": 7}, "start_date": "soon"}]},
        {"partitions": [{"context": {"counter_id": 7}, "in_flight": ["x"]}]},
        {"resume_from": "x"},
    ],
)
def test_a_damaged_or_foreign_state_is_refused(
    api: Sandbox, stream_state: object
) -> None:
    run = sync(whole(api), {"bookmarks": {CALLS: stream_state}})
    assert (run.code, run.lines, len(run.errors)) == (1, [], 1)
    assert f"'{CALLS}'" in run.errors[0]
    assert "--full-refresh" in run.errors[0]
    assert api.requests == []
