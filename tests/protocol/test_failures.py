"""Failures are kept apart, and nothing that was fetched is lost."""

from __future__ import annotations

import pytest

from sandbox import EXPIRED_TOKEN, FAULTS, TRANSIENT_FAULTS, Sandbox
from tests.support import catalog_of, config_for, sync

pytestmark = pytest.mark.usefixtures("short_pauses")

LATE = {"slow", "drip"}
FOREIGN = {"403_plain", "404_html"}
# The first four are no faults of this kind; headers that drip have no deadline.
OTHERS = {"403_quota", "200_errors", "uploadings_null", "bom", "drip_headers"}
PERSISTENT = sorted(set(FAULTS) - OTHERS)


@pytest.mark.parametrize("token", ["wrong", EXPIRED_TOKEN])
def test_a_rejected_token_stops_at_once(api: Sandbox, token: str) -> None:
    for number in range(1, 30):
        api.add_counter(number, uploads=1)
    counters = [{"counter_id": number} for number in range(1, 30)]
    run = sync(config_for(api, oauth_token=token, counters=counters))
    assert (run.code, run.ids, len(run.errors)) == (1, [], 1)
    assert "rejected the token" in run.errors[0]
    assert "metrika:read" in run.errors[0]
    assert token not in run.log
    assert len(api.requests) <= 3


def test_an_inaccessible_counter_leaves_the_others_whole(api: Sandbox) -> None:
    api.add_counter(1, uploads=2)
    api.add_counter(2, uploads=2, inaccessible=True)
    api.add_counter(4, uploads=2)
    counters = [{"counter_id": number} for number in range(1, 5)]
    run = sync(config_for(api, counters=counters))
    assert run.code == 1
    assert [line.partition(":")[0] for line in run.errors] == ["Counter 2", "Counter 3"]
    assert "HTTP 403 access_denied" in run.errors[0]
    assert "HTTP 404 not_found" in run.errors[1]
    assert "check its number" in run.errors[1]
    assert {record["counter_id"] for record in run.records()} == {1, 4}
    assert sorted(run.bookmarks) == [1, 4]


def test_a_failed_counter_does_not_keep_the_next_stream_away(api: Sandbox) -> None:
    api.add_counter(1, uploads=2, inaccessible=True)
    run = sync(config_for(api), None, catalog_of("calls_uploadings", "counters"))
    assert run.code == 1
    assert [counter["id"] for counter in run.records("counters")] == [1]


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("lookup", ["auto", "by_id", "list"])
def test_an_unknown_id_does_not_take_the_others_down(
    api: Sandbox, status: int, lookup: str
) -> None:
    api.unknown_id_status = status
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    settings = {"counter_id": 7, "uploading_ids": [5, 1, 2, 6, 3], "lookup": lookup}
    run = sync(config_for(api, **settings))
    assert run.code == 1
    assert sorted(run.ids) == [1, 2, 3]
    (line,) = run.errors
    assert line.startswith("Counter 7: unknown upload IDs: 5, 6. ")
    run = sync(config_for(api, **settings, on_unavailable="skip"))
    assert (run.code, sorted(run.ids)) == (0, [1, 2, 3])
    (line,) = run.warnings
    assert line.startswith("Counter 7: unknown upload IDs: 5, 6. Skipped")


def test_an_inaccessible_counter_is_not_asked_for_each_of_its_ids(api: Sandbox) -> None:
    api.add_counter(7, inaccessible=True)
    ids = list(range(1, 101))
    run = sync(config_for(api, counter_id=7, uploading_ids=ids, lookup="by_id"))
    assert run.code == 1
    (line,) = run.errors
    assert line.startswith("Counter 7: inaccessible")
    assert len(api.requests) <= 8


@pytest.mark.parametrize("fault", TRANSIENT_FAULTS)
def test_a_fault_that_passes_is_survived(api: Sandbox, fault: str) -> None:
    api.add_counter(7, uploads=3)
    api.fail(fault, times=2, path="calls_uploadings")
    run = sync(config_for(api, counter_id=7))
    assert (run.code, len(run.ids)) == (0, 3)
    retries = [line for line in run.warnings if "next in" in line]
    assert len(retries) == (0 if fault == "bom" else 2)
    for line in retries:
        assert line.startswith("counter 7, uploads from offset 0: ")
    assert not retries or "attempt 1 of 8" in retries[0]


@pytest.mark.parametrize("fault", PERSISTENT)
def test_a_fault_that_stays_fails_its_counter(api: Sandbox, fault: str) -> None:
    for number in (6, 7, 8):
        api.add_counter(number, uploads=2)
    api.slow_seconds = 30
    api.fail(fault, times=1_000, path="counter/7/")
    settings = {"max_attempts": 2, "request_timeout": 1, "max_parallel_requests": 1}
    counters = [{"counter_id": number} for number in (6, 7, 8)]
    run = sync(config_for(api, counters=counters, **settings))
    assert run.code == 1
    (line,) = run.errors
    assert "counter 7" in line
    assert "Unexpected" not in run.log
    is_fatal = fault == "redirect"
    assert sorted(run.bookmarks) == ([6] if is_fatal else [6, 8])
    about = [request for request in api.requests if "/7/" in request.path]
    assert len(about) == (1 if is_fatal or fault in FOREIGN else 2)
    assert ("no whole response within 1 s" in line) is (fault in LATE)
    assert run.messages[-1]["type"] == "STATE"


def test_documented_quotas_draw_no_429(api: Sandbox) -> None:
    api.latency = 0.05
    counter = api.add_counter(7, uploads=90)
    ids = [upload.fields["id"] for upload in counter.uploads]
    run = sync(config_for(api, counter_id=7, uploading_ids=ids, lookup="by_id"))
    assert (run.code, run.ids) == (0, ids)
    assert api.throttled == 0
    assert api.max_in_flight <= 3


def test_what_arrived_before_the_stop_is_not_lost(api: Sandbox) -> None:
    api.add_counter(7)
    for number in range(1, 10):
        api.add_upload(7, id=number)
    body = b'{"errors": [{"error_type": "quota_requests_by_uid"}], "code": 429}'
    api.answer("calls_uploading/4$", body, status=429)
    ids = list(range(1, 10))
    run = sync(config_for(api, counter_id=7, uploading_ids=ids, lookup="by_id"))
    served = [
        int(request.path.rsplit("/", 1)[1])
        for request in api.requests
        if request.status == 200
    ]
    assert run.code == 1
    assert sorted(run.ids) == sorted(served)
    assert len(api.requests) <= 6
