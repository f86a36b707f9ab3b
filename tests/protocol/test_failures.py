"""Failures are told apart, and nothing that was fetched is lost."""

from __future__ import annotations

import pytest

from sandbox import EXPIRED_TOKEN, FAULTS, TRANSIENT_FAULTS, Quotas, Sandbox
from tests.support import catalog_of, config_for, sync

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.mark.parametrize("token", ["wrong", EXPIRED_TOKEN, "токен"])
def test_a_refused_token_stops_at_once(api: Sandbox, token: str) -> None:
    for number in range(1, 30):
        api.add_counter(number, uploads=1)
    counters = [{"counter_id": number} for number in range(1, 30)]
    run = sync(config_for(api, oauth_token=token, counters=counters))
    assert (run.code, run.ids, len(run.errors)) == (1, [], 1)
    assert "refused the token" in run.errors[0]
    assert "metrika:read" in run.errors[0]
    assert len(api.requests) <= 3


@pytest.mark.parametrize("status", [420, 429])
def test_the_quota_of_the_day_is_not_retried(api: Sandbox, status: int) -> None:
    for number in range(1, 10):
        api.add_counter(number, uploads=2)
    body = b'{"errors": [{"error_type": "quota_requests_by_uid"}], "code": 429}'
    api.answer("counter/4/", body, status=status)
    run = sync(config_for(api, max_parallel_requests=1))
    assert run.code == 1
    assert "quota of the day" in run.errors[0]
    assert "00:00 GMT" in run.errors[0]
    assert sorted(run.bookmarks) == [1, 2, 3]
    assert len(api.requests) == 5


def test_the_next_run_goes_on_after_the_quota_of_the_day(api: Sandbox) -> None:
    api.quotas = Quotas(per_day=4)
    for number in range(1, 8):
        api.add_counter(number, uploads=2)
    config = config_for(api, counters=[{"counter_id": n} for n in range(1, 8)])
    first = sync(config)
    assert first.code == 1
    assert len(first.errors) == 1
    assert len(first.bookmarks) == 4
    api.quotas = Quotas(per_day=7)
    second = sync(config, first.state)
    assert second.code == 0
    assert len(second.bookmarks) == 7


def test_a_closed_or_unknown_counter_leaves_the_others_whole(api: Sandbox) -> None:
    api.add_counter(1, uploads=2)
    api.add_counter(2, uploads=2, closed=True)
    api.add_counter(4, uploads=2)
    counters = [{"counter_id": number} for number in range(1, 5)]
    run = sync(
        config_for(api, counters=counters), catalog=catalog_of("calls_uploadings")
    )
    assert run.code == 1
    assert [line.partition(" cannot")[0] for line in run.errors] == [
        "Counter 2",
        "Counter 3",
    ]
    assert "HTTP 403 access_denied" in run.errors[0]
    assert "HTTP 404 not_found" in run.errors[1]
    assert {record["counter_id"] for record in run.records()} == {1, 4}
    assert sorted(run.bookmarks) == [1, 4]


def test_a_failed_counter_does_not_keep_the_next_stream_away(api: Sandbox) -> None:
    api.add_counter(1, uploads=2, closed=True)
    run = sync(config_for(api), catalog=catalog_of("calls_uploadings", "counters"))
    assert run.code == 1
    assert [counter["id"] for counter in run.records("counters")] == [1]


@pytest.mark.parametrize("status", [404, 400])
@pytest.mark.parametrize("lookup", ["auto", "by_id", "list"])
def test_an_unknown_id_does_not_take_the_others_down(
    api: Sandbox, status: int, lookup: str, caplog: pytest.LogCaptureFixture
) -> None:
    api.unknown_id_status = status
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    settings = {"counter_id": 7, "uploading_ids": [5, 1, 2, 6, 3], "lookup": lookup}
    run = sync(config_for(api, **settings))
    assert run.code == 1
    assert sorted(run.ids) == [1, 2, 3]
    assert len(run.errors) == 1
    assert run.errors[0].startswith("Counter 7: the API does not know the uploads 5, 6")
    run = sync(config_for(api, **settings, on_missing="skip"))
    assert (run.code, sorted(run.ids)) == (0, [1, 2, 3])
    assert "does not know the uploads 5, 6. Skipped" in caplog.text


def test_a_closed_counter_is_not_asked_for_each_of_its_ids(api: Sandbox) -> None:
    api.add_counter(7, closed=True)
    ids = list(range(1, 101))
    run = sync(config_for(api, counter_id=7, uploading_ids=ids, lookup="by_id"))
    assert run.code == 1
    assert [line.partition(" cannot")[0] for line in run.errors] == ["Counter 7"]
    assert len(api.requests) <= 8


@pytest.mark.parametrize("fault", TRANSIENT_FAULTS)
def test_a_passing_fault_is_survived(
    api: Sandbox, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_counter(7, uploads=3)
    api.fail(fault, times=2, path="calls_uploadings")
    run = sync(config_for(api, counter_id=7))
    assert (run.code, len(run.ids)) == (0, 3)
    pauses = [r.message for r in caplog.records if "the next in" in r.message]
    assert len(pauses) == 2
    assert pauses[0].startswith("counter 7: list of uploads from 0: ")
    assert "attempt 1 of 8" in pauses[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_stops_the_sync(api: Sandbox, fault: str) -> None:
    api.add_counter(6, uploads=2)
    api.add_counter(7, uploads=3)
    api.slow_seconds = 30
    api.fail(fault, times=1_000, path="counter/7/")
    settings = {"max_attempts": 2, "request_timeout": 1, "max_parallel_requests": 1}
    counters = [{"counter_id": 6}, {"counter_id": 7}]
    run = sync(config_for(api, counters=counters, **settings))
    assert run.code == 1
    assert len(run.errors) == 1
    assert "counter 7: list of uploads from 0" in run.errors[0]
    assert sorted(run.bookmarks) == [6]
    assert len(api.requests) == (2 if fault == "redirect" else 3)
    is_late = fault in {"slow", "drip", "drip_headers"}
    assert ("no answer in time" in run.errors[0]) is is_late


def test_retry_after_is_waited_for(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tap_metrika_calls.client.LONGEST_PAUSE", 1.5)
    api.add_counter(7, uploads=1)
    body = b'{"errors": [{"error_type": "quota_parallel_requests"}]}'
    for value in ("1", "3600"):
        headers = {"Retry-After": value}
        api.answer("counter", body, status=429, headers=headers, times=1)
    assert sync(config_for(api, counter_id=7)).code == 0
    first, second, third = (request.time for request in api.requests)
    assert second - first >= 1
    assert third - second >= 1.5
    assert "the next in 1.0 s" in caplog.text
    assert "the next in 1.5 s" in caplog.text


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
    api.answer("calls_uploading/4", body, status=429)
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
