"""Uploads of conversions and chats: the same rules, beside those of calls."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.support import CALLS, Run, bookmarks_of, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

KINDS = {"conversions_uploadings": "BASIC", "chats_uploadings": "CHATS"}
STREAMS = (CALLS, *KINDS)
DAYS = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]

pytestmark = pytest.mark.usefixtures("short_pauses")


def ids(run: Run, stream: str) -> list[int]:
    return sorted(record["id"] for record in run.records(stream))


def fill(api: Sandbox, *counters: int) -> None:
    """Add three uploads of each kind, with the same IDs."""
    for number in counters:
        api.add_counter(number)
        for kind in ("CALLS", *KINDS.values()):
            for upload_id, created in enumerate(DAYS, 1):
                api.add_upload(
                    number, id=upload_id, create_time=created, kind=kind, type=kind
                )


def test_they_are_off_by_default(api: Sandbox) -> None:
    fill(api, 7)
    run = sync(config_for(api, counter_id=7))
    assert {m["stream"] for m in run.of_type("RECORD")} == {CALLS}
    assert len(api.requests) == 1


@pytest.mark.parametrize("stream", KINDS)
def test_each_is_incremental_with_a_state_of_its_own(api: Sandbox, stream: str) -> None:
    fill(api, 7)
    config = config_for(api, counter_id=7)
    first = sync(config, None, catalog_of(stream))
    assert ids(first, stream) == [1, 2, 3]
    assert {r["type"] for r in first.records(stream)} == {KINDS[stream]}
    assert [request.query.get("type") for request in api.requests] == [KINDS[stream]]
    assert bookmarks_of(first.state, stream) == {7: DAYS[-1]}
    assert bookmarks_of(first.state) == {}
    second = sync(config, first.state, catalog_of(*STREAMS))
    assert ids(second, stream) == [3]
    assert ids(second, CALLS) == [1, 2, 3], "its state hides nothing of another kind"
    for name in STREAMS:
        assert bookmarks_of(second.state, name) == {7: DAYS[-1]}


@pytest.mark.parametrize("stream", KINDS)
def test_what_is_in_flight_is_tracked_by_kind(api: Sandbox, stream: str) -> None:
    fill(api, 7)
    kind = KINDS[stream]
    now = api.now().isoformat().replace("+00:00", "Z")
    upload = api.add_upload(7, id=9, create_time=now, kind=kind, status="UPLOADED")
    config = config_for(api, counter_id=7)
    first = sync(config, None, catalog_of(stream))
    api.advance(3_600 * 3)
    later = api.now().isoformat().replace("+00:00", "Z")
    api.add_upload(7, id=10, create_time=later, kind=kind)
    upload["status"] = "PROCESSED"
    second = sync(config, first.state, catalog_of(stream))
    assert ids(second, stream) == [9, 10]
    assert (second.code, second.warnings) == (0, [])


@pytest.mark.parametrize("uploading_ids", [[2], [], None])
def test_ids_of_calls_concern_calls_alone(
    api: Sandbox, uploading_ids: list[int] | None
) -> None:
    fill(api, 7, 8)
    chosen = {} if uploading_ids is None else {"uploading_ids": uploading_ids}
    run = sync(config_for(api, counter_id=7, **chosen), None, catalog_of(*STREAMS))
    assert run.code == 0
    assert ids(run, CALLS) == ([1, 2, 3] if uploading_ids is None else uploading_ids)
    for stream in KINDS:
        assert ids(run, stream) == [1, 2, 3]
        assert {r["counter_id"] for r in run.records(stream)} == {7}


def test_counters_and_start_date_choose_for_all(api: Sandbox) -> None:
    fill(api, 7, 8, 9)
    counters = [{"counter_id": 9}, {"counter_id": 7}]
    config = config_for(api, counters=counters, start_date=DAYS[1])
    run = sync(config, None, catalog_of(*STREAMS))
    for stream in STREAMS:
        keys = {(r["counter_id"], r["id"]) for r in run.records(stream)}
        assert keys == {(number, n) for number in (7, 9) for n in (2, 3)}


def test_all_counters_are_listed_once_for_all_streams(api: Sandbox) -> None:
    fill(api, 7, 8)
    run = sync(config_for(api), None, catalog_of(*STREAMS, "counters"))
    assert run.code == 0
    kinds = [request.kind for request in api.requests]
    assert (kinds.count("counters"), kinds.count("list")) == (1, 6)


def test_failures_are_kept_apart_by_stream_and_counter(api: Sandbox) -> None:
    fill(api, 7, 8)
    body = json.dumps({"errors": [{"error_type": "access_denied"}]}).encode()
    api.answer("counter/7/.*type=CHATS", body, status=403)
    run = sync(config_for(api), None, catalog_of(*STREAMS))
    assert (run.code, len(run.errors)) == (1, 1)
    assert "ounter 7" in run.errors[0]
    counters = {
        stream: sorted({r["counter_id"] for r in run.records(stream)})
        for stream in STREAMS
    }
    assert counters == {
        CALLS: [7, 8],
        "conversions_uploadings": [7, 8],
        "chats_uploadings": [8],
    }
    assert sorted(bookmarks_of(run.state, "chats_uploadings")) == [8]


def test_another_type_than_requested_is_kept_with_one_warning(api: Sandbox) -> None:
    api.add_counter(7)
    for number in range(1, 4):
        api.add_upload(7, id=number, kind="BASIC", type="CALLS")
    api.add_upload(7, id=4, kind="BASIC", type="BASIC")
    api.add_upload(7, id=5, kind="BASIC")
    run = sync(config_for(api), None, catalog_of("conversions_uploadings"))
    assert (run.code, ids(run, "conversions_uploadings")) == (0, [1, 2, 3, 4, 5])
    (line,) = [line for line in run.warnings if "another type" in line]
    assert "CALLS" in line


def test_calls_alone_cost_no_request_more(api: Sandbox) -> None:
    fill(api, 7, 8, 9)
    sync(config_for(api))
    assert [request.kind for request in api.requests] == ["counters", *["list"] * 3]
    assert all("type" not in request.query for request in api.requests)


@pytest.mark.parametrize("streams", [(CALLS,), STREAMS])
def test_the_connection_test_asks_for_each_selected_kind(
    api: Sandbox, streams: tuple[str, ...]
) -> None:
    fill(api, 7, 8)
    config = config_for(api, counters=[{"counter_id": 7}, {"counter_id": 8}])
    run = sync(config, None, catalog_of(*streams), "--test")
    assert (run.code, run.errors) == (0, [])
    assert len(api.requests) == 2 * len(streams)
    body = json.dumps({"errors": [{"error_type": "access_denied"}]}).encode()
    api.answer("counter/8/.*type=CHATS", body, status=403)
    run = sync(config, None, catalog_of(*streams), "--test")
    assert run.code == (1 if "chats_uploadings" in streams else 0)
