"""Attempts, pauses, and what is counted of them."""

from __future__ import annotations

import logging
import threading
import typing as t

import pytest
import requests
import requests_mock

from tap_metrika_calls.client import MetrikaClient
from tap_metrika_calls.errors import (
    CounterError,
    MetrikaError,
    UploadingUnknownError,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ONE = {"uploading": {"id": 5}}
CONFIG = {
    "oauth_token": " token\n",
    "api_url": "https://api.example/",
    "max_parallel_requests": 2,
    "requests_per_second": 1_000_000,
    "request_timeout": 7,
    "max_attempts": 4,
}


@pytest.fixture
def mocker() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocked:
        yield mocked


@pytest.fixture
def client(short_pauses: None) -> Iterator[MetrikaClient]:
    assert short_pauses is None
    made = MetrikaClient(CONFIG, logging.getLogger("client"))
    yield made
    made.close()


def test_a_request(mocker: requests_mock.Mocker, client: MetrikaClient) -> None:
    mocker.get(requests_mock.ANY, json=ONE)
    assert client.uploading(7, 5) == {"id": 5}
    sent = mocker.last_request
    assert sent is not None
    assert sent.url == (
        "https://api.example/management/v1/counter/7/offline_conversions/"
        "calls_uploading/5"
    )
    assert sent.headers["Authorization"] == b"OAuth token"
    assert sent.headers["User-Agent"].startswith("tap-metrika-calls/")
    assert sent.timeout == 7
    assert (client.requests, client.retries) == ({"uploading": 1}, 0)


def test_pages_and_login(mocker: requests_mock.Mocker) -> None:
    client = MetrikaClient({**CONFIG, "ulogin": "me"}, logging.getLogger("client"))
    mocker.get(requests_mock.ANY, json={"uploadings": [], "counters": []})
    client.uploadings(7, 20_000)
    client.counters(3)
    client.close()
    assert [r.url.partition("/v1/")[2] for r in mocker.request_history] == [
        "counter/7/offline_conversions/calls_uploadings?limit=10000&offset=20000&ulogin=me",
        "counters?per_page=1000&offset=3&ulogin=me",
    ]
    assert client.requests == {"list": 1, "counters": 1}


@pytest.mark.parametrize(
    "fault",
    [
        {"status_code": 500},
        {"status_code": 429},
        {"exc": requests.ConnectTimeout},
        {"exc": requests.ConnectionError},
        {"text": "<html>"},
        {"json": {"uploading": {"id": 6}}},
    ],
)
def test_passing_faults_are_retried(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, t.Any],
) -> None:
    mocker.get(requests_mock.ANY, [fault, fault, fault, {"json": ONE}])
    assert client.uploading(7, 5) == {"id": 5}
    assert (client.requests, client.retries) == ({"uploading": 4}, 3)
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(";")[2] for line in told] == [
        f" attempt {n} of 4, the next in 0.0 s" for n in (1, 2, 3)
    ]
    assert all(line.startswith("counter 7: upload 5: ") for line in told)
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_after_the_last_attempt_all_stops(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(requests_mock.ANY, status_code=503)
    with pytest.raises(MetrikaError) as first:
        client.uploading(7, 5)
    assert str(first.value) == (
        "The API does not answer as it should (counter 7: upload 5: HTTP 503), "
        "attempts: 4. What was loaded is kept: run the sync again later."
    )
    assert client.failure is first.value
    with pytest.raises(MetrikaError) as second:
        client.uploadings(8, 0)
    assert second.value is first.value
    assert mocker.call_count == 4


@pytest.mark.parametrize(
    ("status", "kind"), [(404, UploadingUnknownError), (403, CounterError)]
)
def test_what_concerns_one_thing_stops_nothing(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    status: int,
    kind: type[Exception],
) -> None:
    mocker.get(requests_mock.ANY, status_code=status)
    with pytest.raises(kind):
        client.uploading(7, 5)
    with pytest.raises(
        CounterError, match=rf"Counter 7 cannot be read \(HTTP {status}"
    ):
        client.uploadings(7, 0)
    assert client.failure is None
    assert mocker.call_count == 2
    with pytest.raises(MetrikaError, match="The list of counters cannot be read"):
        client.counters(1)


@pytest.mark.parametrize(
    ("asked", "waited"), [("0", 0), ("2", 2), ("59", 59), ("61", 60), (None, None)]
)
def test_how_long_a_pause_is(
    mocker: requests_mock.Mocker,
    monkeypatch: pytest.MonkeyPatch,
    asked: str | None,
    waited: float | None,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.sleep_using_event", lambda _: pauses.append)
    client = MetrikaClient({**CONFIG, "max_attempts": 12}, logging.getLogger("client"))
    headers = {} if asked is None else {"Retry-After": asked}
    mocker.get(requests_mock.ANY, status_code=503, headers=headers)
    with pytest.raises(MetrikaError):
        client.uploading(7, 5)
    client.close()
    assert len(pauses) == 11
    if waited is not None:
        assert pauses == [waited] * 11
        return
    for number, pause in enumerate(pauses):
        least = 0.5 * 2**number
        assert min(60, least) <= pause <= min(60, least + 1)
    assert len(set(pauses[:6])) == 6


def test_a_closed_client_ends_pauses_and_asks_nothing(
    mocker: requests_mock.Mocker,
) -> None:
    client = MetrikaClient(CONFIG, logging.getLogger("client"))
    asked = threading.Event()

    def answer(_: object, context: t.Any) -> str:
        context.status_code = 503
        context.headers["Retry-After"] = "50"
        asked.set()
        return ""

    mocker.get(requests_mock.ANY, text=answer)
    future = client.submit(client.uploading, 7, 5)
    assert asked.wait(10)
    client.close()
    with pytest.raises(MetrikaError, match="The sync was stopped"):
        future.result(timeout=10)
    assert mocker.call_count == 1


def test_what_there_is_to_do_is_done_before_waiting(
    mocker: requests_mock.Mocker,
) -> None:
    done: list[str] = []
    release = threading.Event()

    def meanwhile() -> None:
        done.append("x")
        release.set()

    client = MetrikaClient(CONFIG, logging.getLogger("client"), meanwhile)

    def answer(*_: object) -> dict[str, t.Any]:
        assert release.wait(10)
        return ONE

    mocker.get(requests_mock.ANY, json=answer)
    future = client.submit(client.uploading, 7, 5)
    assert client.wait(future) == {"id": 5}
    assert client.wait(future) == {"id": 5}
    assert done == ["x"]
    client.close()
