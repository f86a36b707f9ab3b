"""Attempts, pauses, and what is counted of them."""

from __future__ import annotations

import logging
import threading
import typing as t
from concurrent.futures import Future

import pytest
import requests
import requests_mock

from tap_metrika_calls.client import MetrikaClient
from tap_metrika_calls.connection import Adapter
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


def test_all_counters_are_read_page_by_page(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tap_metrika_calls.client.COUNTERS_PER_PAGE", 2)

    def asked(rows: object, *pages: list[int]) -> tuple[list[int], list[str]]:
        answers = [
            {"json": {"rows": rows, "counters": [{"id": key} for key in page]}}
            for page in pages
        ]
        mocker.reset_mock()
        mocker.get(requests_mock.ANY, answers)
        ids = [counter["id"] for counter in client.all_counters()]
        offsets = [r.qs["offset"][0] for r in mocker.request_history]
        assert {r.qs["per_page"][0] for r in mocker.request_history} == {"2"}
        return ids, offsets

    assert asked(1, [1]) == ([1], ["1"])
    assert asked(3, [1, 2], [3]) == ([1, 2, 3], ["1", "3"])
    assert asked(2, [1, 2], []) == ([1, 2], ["1", "3"])
    assert asked(5, [1], [2, 3], []) == ([1, 2, 3], ["1", "2", "4"])
    assert asked(0, [1, 2], [2, 3], [3]) == ([1, 2, 3], ["1", "3", "4"])
    assert asked("x", [1], []) == ([1], ["1"])
    assert asked(9, []) == ([], ["1"])


CERTIFICATE = (
    "The certificate of the API is not trusted (counter 7: upload 5), so the token was "
    "not sent: check api_url, and REQUESTS_CA_BUNDLE behind a company's proxy."
)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"exc": requests.ReadTimeout}, "no answer in time"),
        ({"exc": requests.ConnectTimeout}, "no answer in time"),
        ({"exc": TimeoutError}, "no answer in time"),
        ({"exc": requests.ConnectionError("x")}, "the connection failed (Connection"),
        ({"exc": requests.exceptions.SSLError("x")}, "the connection failed (SSLError"),
        ({"json": {"uploading": {"id": 6}}}, "the answer is about another upload"),
        ({"text": "[]"}, "HTTP 200 with a body of 2 bytes that is not as documented"),
        ({"status_code": 503}, "HTTP 503"),
    ],
)
def test_each_fault_is_named(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, t.Any],
    told: str,
) -> None:
    mocker.get(requests_mock.ANY, **fault)
    with pytest.raises(MetrikaError) as stopped:
        client.uploading(7, 5)
    where = f"counter 7: upload 5: {told}"
    assert f"({where}" in str(stopped.value)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert all(line.startswith(where) for line in lines)


def test_a_certificate_that_is_not_trusted_is_not_tried_again(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    error = requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] ...")
    mocker.get(requests_mock.ANY, exc=error)
    with pytest.raises(MetrikaError) as stopped:
        client.uploading(7, 5)
    assert str(stopped.value) == CERTIFICATE
    assert mocker.call_count == 1


def test_a_closed_counter_is_named(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(requests_mock.ANY, status_code=403)
    told = r"^Counter 7 cannot be read \(HTTP 403: the account .* metrika:read\)\.$"
    with pytest.raises(CounterError, match=told):
        client.uploading(7, 5)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_go_through_the_quota_and_no_proxy_without_tls(scheme: str) -> None:
    url = f"{scheme}://localhost"
    client = MetrikaClient({**CONFIG, "api_url": url}, logging.getLogger("client"))
    session = client._session
    client.close()
    assert isinstance(session.get_adapter(url), Adapter)
    assert session.trust_env is (scheme == "https")


def test_closing_waits_for_nothing_and_drops_what_is_queued() -> None:
    client = MetrikaClient(CONFIG, logging.getLogger("client"))
    under_way, release = threading.Barrier(3), threading.Event()

    def ask(*, answer: int) -> int:
        under_way.wait(10)
        assert release.wait(10)
        return answer

    futures = [client.submit(ask, answer=number) for number in range(4)]
    under_way.wait(10)
    client.close()
    assert not futures[0].done()
    assert [future.cancelled() for future in futures[2:]] == [True, True]
    release.set()
    assert [client.wait(future) for future in futures[:2]] == [0, 1]
    with pytest.raises(MetrikaError, match=r"^The sync was stopped\.$"):
        client.wait(futures[2])


def test_after_a_failure_answers_are_not_waited_for(
    client: MetrikaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_metrika_calls.client.LONGEST_WAIT", 0.01)
    client.failure = MetrikaError("why")
    with pytest.raises(MetrikaError) as stopped:
        client.wait(Future())
    assert stopped.value is client.failure


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status_code": 503}, "The API does not answer as it should ({}: HTTP 503),"),
        ({"status_code": 401}, "The API refused the token (HTTP 401; {})."),
        (
            {"status_code": 302, "headers": {"Location": "https://a.example/x"}},
            "The API answered with a redirect to a.example (HTTP 302; {}).",
        ),
    ],
)
@pytest.mark.parametrize(
    "wanted",
    [
        "counter 7: upload 5",
        "counter 7: list of uploads from 3",
        "list of counters from 3",
    ],
)
def test_what_stops_all_says_what_was_asked(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    answer: dict[str, t.Any],
    told: str,
    wanted: str,
) -> None:
    mocker.get(requests_mock.ANY, **answer)
    questions: dict[str, t.Callable[[], object]] = {
        "counter 7: upload 5": lambda: client.uploading(7, 5),
        "counter 7: list of uploads from 3": lambda: client.uploadings(7, 3),
        "list of counters from 3": lambda: client.counters(3),
    }
    with pytest.raises(MetrikaError) as stopped:
        questions[wanted]()
    assert str(stopped.value).startswith(told.format(wanted))
    hosts = {request.hostname for request in mocker.request_history}
    assert hosts == {"api.example"}


def test_an_answer_without_an_id_gets_the_one_that_was_asked_for(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(requests_mock.ANY, json={"uploading": {"status": "MATCHED"}})
    assert client.uploading(7, 5) == {"id": 5, "status": "MATCHED"}


class Late(Future[int]):
    """An answer that comes in the third wait, and takes note of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def result(self, timeout: float | None = None) -> int:
        self.waits.append(timeout)
        if len(self.waits) == 3:
            self.set_result(5)
        return super().result(timeout=0)


def test_no_wait_is_so_long_that_a_signal_goes_unseen(client: MetrikaClient) -> None:
    late = Late()
    assert client.wait(late) == 5
    assert late.waits == [0.5] * 3


def test_an_answer_under_way_has_a_moment_after_a_failure(
    client: MetrikaClient,
) -> None:
    late = Late()
    client.failure = MetrikaError("why")
    with pytest.raises(MetrikaError, match="why"):
        client.wait(late)
    assert late.waits == [0.5] * 2
