"""Lists that are capped, move while they are read, or come in small pieces."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.support import JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Request, Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

EMPTY = b'{"uploadings": []}'


def fast(api: Sandbox, **settings: object) -> JSON:
    """A configuration of counter 7 whose requests wait for no quota."""
    api.quotas = None
    return config_for(api, counter_id=7, requests_per_second=100_000, **settings)


def lists(api: Sandbox) -> list[Request]:
    return [request for request in api.requests if request.kind == "list"]


def offsets(api: Sandbox) -> list[str]:
    return [request.query["offset"] for request in lists(api)]


def ids_in(api: Sandbox, counter_id: int = 7) -> set[int]:
    """The IDs of uploads that are kept, so of a counter with up to 1,000."""
    return {upload.fields["id"] for upload in api.counters[counter_id].uploads}


def assert_whole(run: Run, uploads: int) -> None:
    """Assert that all uploads came, each once, and that the counter is complete."""
    assert (run.code, run.errors) == (0, [])
    assert len(run.ids) == len(set(run.ids)) == uploads
    newest = max(record["create_time"] for record in run.records())
    assert run.bookmarks == {7: newest}


@pytest.mark.parametrize(
    ("cap", "uploads"),
    [(1_000, 2_500), (9_999, 10_005), (100, 250), (100, 101), (100, 199), (777, 1_554)],
)
@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_a_capped_page_is_not_the_last(
    api: Sandbox, cap: int, uploads: int, order: str
) -> None:
    api.page_cap = cap
    api.order = order
    api.add_counter(7, uploads=uploads)
    assert len(sync(fast(api)).ids) == uploads
    assert len(offsets(api)) >= -(-uploads // cap)


def test_a_capped_list_leaves_the_counter_complete(api: Sandbox) -> None:
    api.page_cap = 1_000
    api.add_counter(7, uploads=2_500)
    assert_whole(sync(fast(api)), 2_500)


@pytest.mark.parametrize("stream", ["conversions_uploadings", "chats_uploadings"])
def test_the_sibling_lists_are_paged_alike(api: Sandbox, stream: str) -> None:
    api.page_cap = 100
    api.add_counter(7, conversions=250, chats=250)
    run = sync(fast(api), None, catalog_of(stream))
    ids = [record["id"] for record in run.records(stream)]
    assert (run.code, len(ids), len(set(ids))) == (0, 250, 250)


@pytest.mark.parametrize(
    ("uploads", "requested"),
    [
        (0, ["0"]),
        (99, ["0"]),
        (100, ["0", "99"]),
        (101, ["0", "100"]),
        (2_500, ["0", "2499"]),
        (9_999, ["0", "9998"]),
    ],
)
def test_each_page_begins_with_the_last_row_so_far(
    api: Sandbox, uploads: int, requested: list[str]
) -> None:
    api.add_counter(7, uploads=uploads)
    run = sync(fast(api))
    assert (run.code, len(run.ids)) == (0, uploads)
    assert offsets(api) == requested


@pytest.mark.parametrize("uploads", [10_000, 10_001, 25_000])
def test_pages_ahead_overlap_too(api: Sandbox, uploads: int) -> None:
    api.add_counter(7, uploads=uploads)
    assert_whole(sync(fast(api)), uploads)
    pages = set(range(0, uploads - 1, 9_999))
    requested = {int(offset) for offset in offsets(api)}
    assert pages <= requested
    # Beside these: pages ahead that turned out to be none, and the last row.
    assert all(n % 9_999 == 0 or n == uploads - 1 for n in requested)


@pytest.mark.parametrize("deleted", [1, 2, 150])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_rows_deleted_between_two_pages_take_no_others_along(
    api: Sandbox, deleted: int, order: str
) -> None:
    api.order = order
    api.page_cap = 200
    api.add_counter(7, uploads=500)
    everything = sorted(ids_in(api), reverse=order == "newest")

    def delete(request: Request) -> None:
        if request.kind == "list" and len(lists(api)) == 2:
            for upload_id in everything[10 : 10 + deleted]:
                api.delete_upload(7, upload_id)

    api.on_request = delete
    run = sync(fast(api))
    assert (run.code, run.errors) == (0, [])
    assert set(run.ids) >= ids_in(api)
    assert len(run.ids) == len(set(run.ids))


def test_a_row_deleted_from_a_full_first_page(api: Sandbox) -> None:
    api.add_counter(7, uploads=10_001)
    everything = sync(fast(api)).ids
    api.reset()

    def delete(request: Request) -> None:
        if request.kind == "list" and len(lists(api)) == 2:
            api.delete_upload(7, max(everything))

    api.on_request = delete
    run = sync(fast(api))
    assert run.code == 0
    assert len(everything) == 10_001
    assert set(run.ids) == set(everything)


def test_the_row_that_two_pages_share_is_deleted(api: Sandbox) -> None:
    api.page_cap = 200
    api.add_counter(7, uploads=500)
    shared = sorted(ids_in(api), reverse=True)[199]

    def delete(request: Request) -> None:
        if request.kind == "list" and len(lists(api)) == 2:
            api.delete_upload(7, shared)

    api.on_request = delete
    run = sync(fast(api))
    assert (run.code, len(run.ids)) == (0, 500)


@pytest.mark.parametrize("added", [1, 250])
def test_rows_added_between_two_pages_come_once(api: Sandbox, added: int) -> None:
    api.page_cap = 200
    api.add_counter(7, uploads=500)
    before = ids_in(api)

    def add(request: Request) -> None:
        if request.kind == "list" and len(lists(api)) == 2:
            for _ in range(added):
                api.add_upload(7, create_time=api.now().isoformat("T", "seconds"))

    api.on_request = add
    run = sync(fast(api))
    assert run.code == 0
    assert set(run.ids) >= before
    assert len(run.ids) == len(set(run.ids))


@pytest.mark.parametrize("cap", [None, 100])
@pytest.mark.parametrize("page", ["2", "3"])
def test_an_empty_page_is_not_the_end(api: Sandbox, cap: int | None, page: str) -> None:
    api.page_cap = cap
    uploads = 20_100 if cap is None else 350
    api.add_counter(7, uploads=uploads)
    step = (10_000 if cap is None else cap) - 1
    offset = step * (int(page) - 1)
    api.answer(rf"counter/7/.*offset={offset}\b", EMPTY, times=1)
    assert_whole(sync(fast(api)), uploads)


def test_a_list_that_stays_inconsistent_fails_its_counter(api: Sandbox) -> None:
    api.page_cap = 100
    for number in (7, 8):
        api.add_counter(number, uploads=250)
    api.answer(r"counter/7/.*offset=[1-9]", EMPTY)
    config = fast(api, counters=[{"counter_id": 8}])
    run = sync(config)
    assert run.code == 1
    (line,) = run.errors
    assert "7" in line
    assert len([r for r in run.records() if r["counter_id"] == 7]) == 100
    assert len([r for r in run.records() if r["counter_id"] == 8]) == 250
    assert list(run.bookmarks) == [8]
    assert len([r for r in lists(api) if "/7/" in r.path]) < 12


def test_the_same_page_for_ever_fails_its_counter(api: Sandbox) -> None:
    rows = [{"id": number, "status": "PROCESSED"} for number in range(1, 101)]
    api.add_counter(7)
    api.add_counter(8, uploads=3)
    api.answer("counter/7/", json.dumps({"uploadings": rows}).encode())
    run = sync(fast(api, counters=[{"counter_id": 8}]))
    assert run.code == 1
    (line,) = run.errors
    assert "7" in line
    assert len(run.ids) == len(run.keys) == 103
    assert list(run.bookmarks) == [8]
    assert len(lists(api)) < 12


@pytest.mark.parametrize("body", [EMPTY, b'{"uploadings": null}'])
def test_an_empty_list_leaves_the_state_as_it_was(api: Sandbox, body: bytes) -> None:
    api.add_counter(7)
    for number in range(30):
        api.add_upload(7, id=number + 1, status="PROCESSED")
    first = sync(fast(api))
    api.answer("counter/7/", body, times=1)
    second = sync(fast(api), first.state)
    assert (second.code, second.ids, second.errors) == (0, [], [])
    assert second.state == first.state
    assert set(sync(fast(api), second.state).ids) <= ids_in(api)


@pytest.mark.parametrize("place", [0, 150, 349])
def test_configured_ids_are_found_on_any_page(api: Sandbox, place: int) -> None:
    api.page_cap = 100
    api.add_counter(7, uploads=350)
    ids = sorted(ids_in(api))
    run = sync(fast(api, uploading_ids=[ids[place]], lookup="list"))
    assert (run.code, run.ids) == (0, [ids[place]])
    assert {request.kind for request in api.requests} == {"list"}


def counters_of(api: Sandbox) -> Run:
    """Sync the stream of counters."""
    api.quotas = None
    return sync(
        config_for(api, requests_per_second=100_000), None, catalog_of("counters")
    )


@pytest.mark.parametrize("rows", [None, 0, 1, 10**6])
def test_a_capped_list_of_counters_is_read_to_its_end(
    api: Sandbox, rows: int | None
) -> None:
    api.counters_cap = 100
    api.rows = rows
    for number in range(1, 251):
        api.add_counter(number)
    run = counters_of(api)
    assert run.code == 0
    assert [record["id"] for record in run.records("counters")] == list(range(1, 251))
    assert [r.query["offset"] for r in api.requests] == ["1", "100", "199"]


@pytest.mark.parametrize("removed", [(5,), (1, 2, 3), (100,)])
def test_counters_removed_between_two_pages_take_no_others_along(
    api: Sandbox, removed: tuple[int, ...]
) -> None:
    api.counters_cap = 100
    for number in range(1, 251):
        api.add_counter(number)

    def remove(_: Request) -> None:
        if len(api.requests) == 2:
            for number in removed:
                api.remove_counter(number)

    api.on_request = remove
    run = counters_of(api)
    assert run.code == 0
    ids = [record["id"] for record in run.records("counters")]
    assert set(ids) >= set(range(1, 251)) - set(removed)
    assert len(ids) == len(set(ids))


def test_an_empty_page_of_counters_is_not_the_end(api: Sandbox) -> None:
    api.counters_cap = 100
    for number in range(1, 251):
        api.add_counter(number)
    api.answer("offset=100", b'{"rows": 250, "counters": []}', times=1)
    assert len(counters_of(api).records("counters")) == 250


def limits(api: Sandbox) -> list[int]:
    return [int(request.query["limit"]) for request in lists(api)]


@pytest.mark.parametrize("above", [1_000, 2_000, 6_000])
def test_a_page_that_always_times_out_is_read_in_smaller_ones(
    api: Sandbox, above: int
) -> None:
    api.slow_above = above
    api.add_counter(7, uploads=12_000)
    assert_whole(sync(fast(api)), 12_000)
    asked = limits(api)
    assert asked[:3] == [10_000, 10_000, 5_000]
    assert min(asked) >= 1_000
    worked = next(n for n in asked if n <= above)
    assert set(asked[asked.index(worked) :]) == {worked}


@pytest.mark.parametrize("fault", ["504", "503"])
def test_one_failure_makes_no_page_smaller(api: Sandbox, fault: str) -> None:
    api.add_counter(7, uploads=30)
    api.fail(fault, times=1 if fault == "504" else 3, path="counter/7/")
    assert_whole(sync(fast(api)), 30)
    assert set(limits(api)) == {10_000}


def test_timeouts_make_pages_smaller_too(api: Sandbox) -> None:
    api.add_counter(7, uploads=30)
    api.slow_seconds = 30
    api.fail("slow", times=2, path=r"counter/7/.*limit=10000\b")
    assert_whole(sync(fast(api, request_timeout=1)), 30)
    assert limits(api) == [10_000, 10_000, 5_000]


def test_a_page_that_times_out_at_any_size_fails_its_counter(api: Sandbox) -> None:
    api.slow_above = 999
    api.add_counter(7, uploads=30)
    api.add_counter(8, uploads=3)
    api.answer("counter/8/.*uploadings", b'{"uploadings": [{"id": 1}]}')
    run = sync(fast(api, counters=[{"counter_id": 8}]))
    assert run.code == 1
    assert [record["counter_id"] for record in run.records()] == [8]
    (line,) = run.errors
    assert "counter 7" in line.lower()
    assert "504" in line
