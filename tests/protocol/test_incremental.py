"""State: what a second sync emits, and what it must not miss."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import JSON, catalog_of, config_for, sync

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
    return {"bookmarks": {"calls_uploadings": {"partitions": [partition]}}}


@pytest.fixture(autouse=True)
def counter(api: Sandbox) -> None:
    api.add_counter(7)


def test_a_quiet_sync_emits_only_what_shares_the_bookmarks_instant(
    api: Sandbox,
) -> None:
    for number in range(1, 1_000):
        api.add_upload(7, id=number, create_time=ago(minutes=number))
    api.add_upload(7, id=1_000, create_time=ago(3, minutes=1))
    first = sync(whole(api))
    assert len(first.ids) == 1_000
    assert first.bookmarks == {7: ago(minutes=1)}
    second = sync(whole(api), first.state)
    assert sorted(second.ids) == [1, 1_000]
    assert second.state == first.state


@pytest.mark.parametrize(
    "status", ["PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "UNHEARD_OF", None]
)
def test_the_bookmark_waits_for_an_upload_in_flight(
    api: Sandbox, status: str | None
) -> None:
    api.add_upload(7, id=1, create_time=ago(days=4))
    waiting = api.add_upload(7, id=2, create_time=ago(3, days=3), status=status)
    api.add_upload(7, id=3, create_time=ago(days=2))
    first = sync(whole(api))
    assert first.bookmarks == {7: ago(days=3)}
    waiting["status"] = "LINKAGE_FAILURE"
    second = sync(whole(api), first.state)
    assert sorted(second.ids) == [2, 3]
    assert second.bookmarks == {7: ago(days=2)}


def test_a_stuck_upload_is_let_go_with_one_warning(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_upload(7, id=1, create_time=ago(days=22), status="MATCHED")
    api.add_upload(7, id=2, create_time=ago(days=20), status="MATCHED")
    api.add_upload(7, id=3, create_time=ago(days=1))
    assert sync(whole(api)).bookmarks == {7: ago(days=20)}
    told = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert told == [
        "Counter 7: uploads unfinished for 21 days or more, no longer waited for: 1"
    ]
    assert sync(whole(api, unsettled_days=30)).bookmarks == {7: ago(days=22)}
    assert sync(whole(api, unsettled_days=0)).bookmarks == {7: ago(days=1)}


def test_uploads_without_a_time_are_emitted_and_move_nothing(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time=None, status="MATCHED")
    first = sync(whole(api))
    assert (first.ids, first.bookmarks) == ([1], {})
    api.add_upload(7, id=2, create_time=ago(days=1))
    second = sync(whole(api), first.state)
    assert second.bookmarks == {7: ago(days=1)}
    assert sorted(sync(whole(api), second.state).ids) == [1, 2]


def test_an_upload_of_the_future_does_not_hide_the_present(api: Sandbox) -> None:
    api.add_upload(7, id=1, create_time="2999-01-01T00:00:00Z")
    first = sync(whole(api))
    assert first.bookmarks[7] < "2998"
    soon = datetime.now(UTC) + timedelta(seconds=30)
    api.add_upload(7, id=2, create_time=soon.isoformat())
    assert sorted(sync(whole(api), first.state).ids) == [1, 2]


def test_a_bookmark_of_the_future_hides_nothing(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_upload(7, id=1, create_time=ago(days=1))
    run = sync(whole(api), state_of(7, "2999-01-01T00:00:00Z"))
    assert run.ids == [1]
    assert run.bookmarks == {7: ago(days=1)}
    assert "Counter 7: the bookmark lies in the future" in caplog.text


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
    assert [(r["counter_id"], r["id"]) for r in second.records()] == [(7, 1), (8, 1)]
    assert second.bookmarks == {7: ago(days=1), 8: ago(days=9)}


def test_start_date_moved_back_is_honoured(api: Sandbox) -> None:
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
    catalog = catalog_of("calls_uploadings", **{key: "FULL_TABLE"})
    full = sync(whole(api), first.state, catalog)
    assert sorted(full.ids) == [1, 2]
    assert full.bookmarks == first.bookmarks
    assert sync(whole(api), full.state).ids == [2]


def test_state_goes_out_with_each_finished_counter(api: Sandbox) -> None:
    for number in range(8, 12):
        api.add_counter(number, uploads=2)
    run = sync(config_for(api, counters=[{"counter_id": n} for n in range(8, 12)]))
    emitted: set[int] = set()
    described: list[set[int]] = []
    for message in run.messages:
        if message["type"] == "RECORD":
            emitted.add(message["record"]["counter_id"])
        elif message["type"] == "STATE":
            partitions = message["value"]["bookmarks"]["calls_uploadings"]["partitions"]
            described.append({p["context"]["counter_id"] for p in partitions})
            assert described[-1] <= emitted
    assert described == [{8}, {8, 9}, {8, 9, 10}, {8, 9, 10, 11}]


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
    state = {"bookmarks": {"calls_uploadings": stream_state, "counters": {}}}
    assert sync(whole(api), state).ids == [1]


@pytest.mark.parametrize(
    ("stream_state", "told"),
    [
        ([], "The state of the stream 'calls_uploadings' is no object"),
        ({"replication_key_value": ago()}, "a bookmark that belongs to no counter"),
        ({"partitions": {}}, "partitions that are no list"),
        ({"partitions": [5]}, "partitions[0]: no object with a context"),
        ({"partitions": [{"context": {"counter": 7}}]}, "not a counter_id alone"),
        ({"partitions": [{"context": {"counter_id": "7"}}]}, "not a counter_id alone"),
        (
            {"partitions": [{"context": {"counter_id": 7, "uploading_id": 1}}]},
            "not a counter_id alone",
        ),
        ({"partitions": [{"context": {"counter_id": 7}}] * 2}, "counter 7 is there"),
        (
            {
                "partitions": [
                    {"context": {"counter_id": 7}, "replication_key_value": "soon"}
                ]
            },
            "replication_key_value is no date-time",
        ),
        (
            {"partitions": [{"context": {"counter_id": 7}, "start_date": 5}]},
            "start_date is no date-time",
        ),
        (
            {"partitions": [{"context": {"counter_id": 7}, "replication_key": "id"}]},
            "replication_key is not create_time",
        ),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(
    api: Sandbox, stream_state: object, told: str
) -> None:
    state = {"bookmarks": {"calls_uploadings": stream_state}}
    run = sync(whole(api), state)
    assert (run.code, run.lines, len(run.errors)) == (1, [], 1)
    assert told in run.errors[0]
    assert "--full-refresh" in run.errors[0]
    assert api.requests == []
