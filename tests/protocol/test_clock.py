"""The clock of a sync is the API's, not this machine's."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from sandbox import Sandbox
from tests.support import config_for, sync

if t.TYPE_CHECKING:
    from tests.support import JSON

pytestmark = pytest.mark.usefixtures("short_pauses")

HTML = b"<html>Bad Gateway</html>"
GMT = "%a, %d %b %Y %H:%M:%S GMT"


def at(api: Sandbox, **ago: float) -> str:
    """A time of the API's clock, that long ago."""
    return (api.now() - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_flight(api: Sandbox, **ago: float) -> JSON:
    """An upload in flight, beside a newer one that is final."""
    api.add_counter(7)
    upload = api.add_upload(7, id=1, create_time=at(api, **ago), status="UPLOADED")
    api.add_upload(7, id=2, create_time=at(api, hours=1))
    return upload


@pytest.mark.parametrize("days", [30, -30, 400, -400])
def test_an_upload_in_flight_is_tracked_by_the_clock_of_the_api(days: int) -> None:
    with Sandbox(counters=0, epoch=datetime.now(UTC) - timedelta(days=days)) as api:
        upload = in_flight(api, days=20)
        first = sync(config_for(api, counter_id=7))
        assert (first.code, first.warnings) == (0, [])
        upload["status"] = "PROCESSED"
        second = sync(config_for(api, counter_id=7), first.state)
        assert (second.code, second.warnings) == (0, [])
        statuses = {record["id"]: record["status"] for record in second.records()}
        assert statuses[1] == "PROCESSED"


@pytest.mark.parametrize("days", [30, -30, 400])
def test_an_upload_expires_by_the_clock_of_the_api(days: int) -> None:
    with Sandbox(counters=0, epoch=datetime.now(UTC) - timedelta(days=days)) as api:
        in_flight(api, days=22)
        run = sync(config_for(api, counter_id=7))
        assert run.code == 0
        (line,) = run.warnings
        assert "no longer tracked" in line
        assert "21 days" in line
        assert "1" in line


def test_without_a_date_header_this_machines_clock_is_taken() -> None:
    with Sandbox(counters=0, epoch=datetime.now(UTC) - timedelta(days=30)) as api:
        api.date_header = False
        in_flight(api, hours=2)
        (line,) = sync(config_for(api, counter_id=7)).warnings
        assert "no longer tracked" in line


@pytest.mark.parametrize(
    "date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_the_clock_of_a_front_server_is_not_taken(api: Sandbox, date: str) -> None:
    in_flight(api, days=20)
    headers = {"Content-Type": "text/html", "Date": date}
    api.answer("counter/7/", HTML, status=502, headers=headers, times=1)
    run = sync(config_for(api, counter_id=7))
    assert run.code == 0
    assert not [line for line in run.warnings if "tracked" in line]
    assert 1 in sync(config_for(api, counter_id=7), run.state).ids


@pytest.mark.parametrize("date", ["yesterday", "", "Fri, 99 Foo 2026 99:99:99 GMT"])
def test_a_date_that_is_none_is_as_none_at_all(api: Sandbox, date: str) -> None:
    body = b'{"uploadings": [{"id": 1, "status": "UPLOADED", "create_time": "%b"}]}'
    headers = {"Content-Type": "application/json", "Date": date}
    api.answer("counter/7/", body % at(api, days=20).encode(), headers=headers)
    run = sync(config_for(api, counter_id=7))
    assert (run.code, run.ids, run.warnings) == (0, [1], [])


def test_the_first_response_of_the_api_decides(api: Sandbox) -> None:
    in_flight(api, days=20)
    api.add_counter(8)
    soon = (api.now() + timedelta(days=2)).strftime(GMT)
    headers = {"Content-Type": "application/json", "Date": soon}
    api.answer("counter/8/", b'{"uploadings": []}', headers=headers)
    counters = [{"counter_id": 8}, {"counter_id": 7}]
    run = sync(config_for(api, counters=counters, max_parallel_requests=1))
    (line,) = run.warnings
    assert "no longer tracked" in line


def test_an_upload_of_the_future_hides_nothing_of_the_present() -> None:
    with Sandbox(counters=0, epoch=datetime.now(UTC) - timedelta(days=400)) as api:
        api.add_counter(7)
        api.add_upload(7, id=1, create_time=at(api, days=-30))
        first = sync(config_for(api, counter_id=7))
        api.add_upload(7, id=2, create_time=at(api, hours=0))
        assert 2 in sync(config_for(api, counter_id=7), first.state).ids
