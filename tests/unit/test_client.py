"""How a request is sent, repeated, and given up."""

from __future__ import annotations

import logging
import signal
import threading
import typing as t
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest
import requests
import requests_mock

from tap_metrika_calls.api import client as client_module
from tap_metrika_calls.api import errors, limits, rate_limit
from tap_metrika_calls.api.client import MetrikaClient
from tap_metrika_calls.api.endpoints import CALLS, CHATS, CONVERSIONS
from tap_metrika_calls.api.prefetch import prefetch

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE = {"uploading": {"id": 5}}
PAGE = {"uploadings": [{"id": 1}, {"id": 2}]}
DATE = "Sat, 31 Jan 2026 22:15:30 GMT"
CONFIG = {
    "oauth_token": "token",
    "api_url": "https://api.example/",
    "max_parallel_requests": 2,
    "requests_per_second": 1_000_000,
    "request_timeout": 7,
    "max_attempts": 4,
}
LOGGER = logging.getLogger("client")
LOGGER.setLevel(logging.WARNING)  # whatever an earlier test made of the root logger


def error_body(error_type: str) -> dict[str, t.Any]:
    return {"errors": [{"error_type": error_type}]}


@pytest.fixture
def mocker() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocked:
        yield mocked


@pytest.fixture
def make(short_pauses: None) -> Iterator[Callable[..., MetrikaClient]]:
    """Makes a client with these settings, and closes it in the end."""
    assert short_pauses is None
    made: list[MetrikaClient] = []

    def make_client(
        while_waiting: Callable[[], object] = lambda: None, **settings: t.Any
    ) -> MetrikaClient:
        client = MetrikaClient(CONFIG | settings, LOGGER, while_waiting)
        made.append(client)
        return client

    yield make_client
    for client in made:
        client.close()


@pytest.fixture
def client(make: Callable[..., MetrikaClient]) -> MetrikaClient:
    return make()


def sent_limits(mocker: requests_mock.Mocker) -> list[int]:
    """How many rows each request asked for."""
    return [int(request.qs["limit"][0]) for request in mocker.request_history]


# Endpoints.


def test_one_upload(mocker: requests_mock.Mocker, client: MetrikaClient) -> None:
    mocker.get(requests_mock.ANY, json=ONE)
    assert bytes(client.upload(CALLS, 7, 5)) == b'{"id": 5}'
    (sent,) = mocker.request_history
    assert sent.url == (
        "https://api.example/management/v1/counter/7/offline_conversions/"
        "calls_uploading/5"
    )
    assert (client.requests, client.retries) == ({"upload": 1}, 0)


def test_endpoints_and_parameters(
    mocker: requests_mock.Mocker, make: Callable[..., MetrikaClient]
) -> None:
    client = make(ulogin="me")
    mocker.get(requests_mock.ANY, json={**PAGE, **ONE, "counters": []})
    client.uploads(CALLS, 7, 20, 10_000)
    client.uploads(CONVERSIONS, 7, 0, 500)
    client.uploads(CHATS, 7, 0, 500)
    client.upload(CHATS, 7, 5)
    client.counters(0, 1_000)
    client.counters(999, 1_000)
    paths = [request.path for request in mocker.request_history]
    prefix = "/management/v1/counter/7/offline_conversions"
    assert paths == [
        f"{prefix}/calls_uploadings",
        f"{prefix}/uploadings",
        f"{prefix}/uploadings",
        f"{prefix}/uploading/5",
        "/management/v1/counters",
        "/management/v1/counters",
    ]
    login = {"ulogin": ["me"]}
    assert [request.qs for request in mocker.request_history] == [
        {"offset": ["20"], "limit": ["10000"]} | login,
        {"type": ["basic"], "offset": ["0"], "limit": ["500"]} | login,
        {"type": ["chats"], "offset": ["0"], "limit": ["500"]} | login,
        login,
        {"per_page": ["1000"], "offset": ["1"]} | login,
        {"per_page": ["1000"], "offset": ["1000"]} | login,
    ]
    assert client.requests == {"list": 3, "upload": 1, "counters": 2}


def test_a_page_tells_what_was_requested(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(requests_mock.ANY, json={**PAGE, "counters": [{"id": 3}]})
    page = client.uploads(CALLS, 7, 0, 500)
    assert [bytes(raw) for raw in page.rows] == [b'{"id": 1}', b'{"id": 2}']
    assert (page.limit, page.is_smaller) == (500, False)
    page = client.counters(0, 1_000)
    assert [bytes(raw) for raw in page.rows] == [b'{"id": 3}']
    assert (page.limit, page.is_smaller) == (1_000, False)


# Retries.


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status_code": 500}, "HTTP 500"),
        ({"status_code": 408}, "HTTP 408"),
        ({"status_code": 429, "json": error_body("quota_requests_by_ip")}, "HTTP 429"),
        ({"json": error_body("backend_error")}, "HTTP 200 backend_error"),
        ({"exc": requests.ConnectTimeout}, "no whole response within 7 s"),
        ({"exc": requests.ConnectionError}, "connection failed (ConnectionError)"),
        ({"text": "<html>"}, "HTTP 200 with 6 bytes that are not the expected JSON"),
    ],
)
def test_what_may_pass_is_retried(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, t.Any],
    words: str,
) -> None:
    caplog.set_level(logging.WARNING, LOGGER.name)
    mocker.get(requests_mock.ANY, [fault, fault, fault, {"json": ONE}])
    assert bytes(client.upload(CALLS, 7, 5)) == b'{"id": 5}'
    assert (client.requests, client.retries) == ({"upload": 4}, 3)
    assert client.failure is None
    lines = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(";")[2] for line in lines] == [
        f" attempt {n} of 4, next in 0.0 s" for n in (1, 2, 3)
    ]
    start = f"counter 7, upload 5: {words}"
    assert all(line.startswith(start) for line in lines)
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("attempts", [1, 4])
def test_the_attempts_are_limited(
    mocker: requests_mock.Mocker,
    make: Callable[..., MetrikaClient],
    attempts: int,
) -> None:
    client = make(max_attempts=attempts)
    mocker.get(requests_mock.ANY, status_code=503)
    for number in (1, 2):
        with pytest.raises(errors.OutageError) as failed:
            client.upload(CALLS, 7, 5)
        times = f"{attempts} attempt{'s' * (attempts > 1)}"
        expected = f"Request failed after {times}: HTTP 503"
        assert str(failed.value).startswith(expected)
        assert mocker.call_count == attempts * number
    assert client.failure is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, "not_found", errors.UnknownUploadError),
        (403, "access_denied", errors.UnavailableError),
        (429, "quota_requests_by_counter_id", errors.RejectedError),
        (404, "", errors.OutageError),
    ],
)
def test_what_concerns_one_request_stops_nothing(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    status: int,
    body: str,
    kind: type[Exception],
) -> None:
    json = error_body(body) if body else {}
    mocker.get(requests_mock.ANY, status_code=status, json=json)
    for number in (1, 2):
        with pytest.raises(kind):
            client.upload(CALLS, 7, 5)
        assert mocker.call_count == number
    assert client.failure is None


def test_an_unknown_counter_is_no_unknown_upload(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(requests_mock.ANY, status_code=404, json=error_body("not_found"))
    with pytest.raises(errors.UnavailableError, match="unknown"):
        client.uploads(CALLS, 7, 0, 10)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, error_body("not_found")),
        (403, error_body("access_denied")),
        (400, error_body("limit_exceeded")),
        (404, {}),
        (503, {}),
    ],
)
def test_without_the_list_of_counters_nothing_can_be_read(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    status: int,
    body: dict[str, t.Any],
) -> None:
    mocker.get(requests_mock.ANY, status_code=status, json=body)
    with pytest.raises(errors.FatalError) as failed:
        client.counters(0, 1_000)
    assert "The list of counters cannot be read" in str(failed.value)
    assert f"HTTP {status}" in str(failed.value)
    assert "number" not in str(failed.value)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("0", None), ("2", 2), ("59", 59), ("601", 600), ("-1", None), ("", None)],
)
def test_how_long_a_pause_is(
    mocker: requests_mock.Mocker,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    waited: float | None,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.sleep_using_event", lambda _: pauses.append)
    client = MetrikaClient({**CONFIG, "max_attempts": 12}, LOGGER)
    mocker.get(requests_mock.ANY, status_code=503, headers={"Retry-After": asked})
    with pytest.raises(errors.OutageError):
        client.upload(CALLS, 7, 5)
    client.close()
    assert len(pauses) == 11
    for number, pause in enumerate(pauses):
        least = 0.5 * 2**number
        own = min(60, least), min(60, least + 1)
        asked_for = waited or 0
        assert max(own[0], asked_for) <= pause <= max(own[1], asked_for)
    if waited is None:
        assert len(set(pauses[:6])) == 6, "no jitter"


# Smaller pages.


@pytest.mark.parametrize(
    "slow",
    [
        {"status_code": 504},
        {"status_code": 408},
        {"json": error_body("timeout"), "status_code": 503},
        {"exc": requests.ReadTimeout},
    ],
)
def test_after_a_second_slow_response_in_a_row_a_page_is_smaller(
    mocker: requests_mock.Mocker,
    make: Callable[..., MetrikaClient],
    slow: dict[str, t.Any],
) -> None:
    client = make(max_attempts=8)
    mocker.get(requests_mock.ANY, [slow, slow, {"json": PAGE}])
    page = client.uploads(CALLS, 7, 0, 10_000)
    assert sent_limits(mocker) == [10_000, 10_000, 5_000]
    assert (page.limit, page.is_smaller) == (5_000, True)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (10_000, [10_000, 10_000, 5_000, 2_500, 1_250, 1_000, 1_000, 1_000]),
        (1_500, [1_500, 1_500, *[1_000] * 6]),
        (500, [500] * 8),
    ],
)
def test_a_page_has_a_smallest_size(
    mocker: requests_mock.Mocker,
    make: Callable[..., MetrikaClient],
    limit: int,
    expected: list[int],
) -> None:
    mocker.get(requests_mock.ANY, status_code=504)
    with pytest.raises(errors.OutageError, match="HTTP 504"):
        make(max_attempts=8).uploads(CALLS, 7, 0, limit)
    assert sent_limits(mocker) == expected


@pytest.mark.parametrize(
    "between",
    [{"status_code": 503}, {"text": "x"}, {"exc": requests.ConnectionError}],
)
def test_slow_responses_that_are_apart_make_no_page_smaller(
    mocker: requests_mock.Mocker,
    make: Callable[..., MetrikaClient],
    between: dict[str, t.Any],
) -> None:
    slow = {"status_code": 504}
    mocker.get(requests_mock.ANY, [slow, between, slow, between, {"json": PAGE}])
    page = make(max_attempts=8).uploads(CALLS, 7, 0, 10_000)
    assert sent_limits(mocker) == [10_000] * 5
    assert (page.limit, page.is_smaller) == (10_000, False)


def test_each_page_begins_with_the_size_asked_for(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    slow = {"status_code": 504}
    mocker.get(requests_mock.ANY, [slow, slow, {"json": PAGE}, {"json": PAGE}])
    client.uploads(CALLS, 7, 0, 10_000)
    client.uploads(CALLS, 8, 0, 10_000)
    assert sent_limits(mocker)[-1] == 10_000


# What stops everything.


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            {"status_code": 401, "json": error_body("unauthorized")},
            "rejected the token",
        ),
        ({"json": error_body("quota_requests_by_uid")}, "Daily API quota exceeded"),
        ({"status_code": 302, "headers": {"Location": "//a.example"}}, "a.example"),
        ({"status_code": 407}, "HTTPS_PROXY"),
        (
            {"exc": requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED")},
            "TLS certificate verification failed",
        ),
    ],
)
@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("counter 7, upload 5", lambda client: client.upload(CALLS, 7, 5)),
        (
            "counter 7, uploads from offset 3",
            lambda client: client.uploads(CALLS, 7, 3, 10),
        ),
        ("list of counters from offset 3", lambda client: client.counters(3, 1_000)),
    ],
)
def test_a_failure_that_nothing_escapes_stops_everything(
    mocker: requests_mock.Mocker,
    client: MetrikaClient,
    *,
    fault: dict[str, t.Any],
    words: str,
    target: str,
    call: Callable[[MetrikaClient], object],
) -> None:
    mocker.get(requests_mock.ANY, **fault)
    with pytest.raises(errors.FatalError) as first:
        call(client)
    assert words in str(first.value)
    assert target in str(first.value)
    assert client.failure is first.value
    for again in (client.upload, client.uploads):
        with pytest.raises(errors.FatalError) as second:
            again(CALLS, 8, 1, *([10] if again == client.uploads else []))
        assert second.value is first.value
    with pytest.raises(errors.FatalError):
        client.counters(0, 1_000)
    assert mocker.call_count == 1


def test_the_first_reason_to_stop_is_kept(client: MetrikaClient) -> None:
    first = errors.FatalError("first")
    client.stop(first)
    client.stop(errors.FatalError("second"))
    assert client.failure is first


def test_after_a_failure_what_waits_for_the_rate_limit_is_not_sent(
    mocker: requests_mock.Mocker,
    make: Callable[..., MetrikaClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limit, "SECOND", 3_600)
    client = make(requests_per_second=1, max_parallel_requests=3)
    mocker.get(requests_mock.ANY, status_code=401, json=error_body("unauthorized"))
    futures = [client.submit(client.upload, CALLS, 7, n) for n in range(20)]
    for future in futures:
        with pytest.raises(errors.FatalError, match="rejected the token"):
            client.wait(future)
    assert mocker.call_count == 1
    assert client.requests == {"upload": 1}


def test_a_failure_ends_pauses_at_once(
    mocker: requests_mock.Mocker, make: Callable[..., MetrikaClient]
) -> None:
    client = make()
    failure = errors.FatalError("why")
    pausing = threading.Event()

    class Stop(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert "next in 500.0 s" in record.getMessage()
            pausing.set()

    handler = Stop()
    LOGGER.addHandler(handler)
    mocker.get(requests_mock.ANY, status_code=503, headers={"Retry-After": "500"})
    try:
        future = client.submit(client.upload, CALLS, 7, 5)
        assert pausing.wait(30)
        client.stop(failure)
        with pytest.raises(errors.FatalError) as failed:
            future.result(timeout=30)
    finally:
        LOGGER.removeHandler(handler)
    assert failed.value is failure
    assert mocker.call_count == 1


# The pool and its waits.


def test_no_more_than_the_parallel_requests_are_under_way(
    mocker: requests_mock.Mocker, make: Callable[..., MetrikaClient]
) -> None:
    client = make(max_parallel_requests=2)
    lock, release = threading.Lock(), threading.Event()
    both = threading.Semaphore(0)
    under_way, most = 0, 0

    def respond(*_: object) -> dict[str, t.Any]:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        both.release()
        assert release.wait(30)
        with lock:
            under_way -= 1
        return ONE

    mocker.get(requests_mock.ANY, json=respond)
    futures = [client.submit(client.upload, CALLS, 7, n) for n in range(8)]
    assert both.acquire(timeout=30)
    release.set()
    for future in futures:
        client.wait(future)
    assert most <= client.parallel == 2
    assert mocker.call_count == 8


def test_what_there_is_to_do_is_done_before_waiting(
    mocker: requests_mock.Mocker, make: Callable[..., MetrikaClient]
) -> None:
    calls: list[str] = []
    release = threading.Event()

    def while_waiting() -> None:
        calls.append("x")
        release.set()

    def respond(*_: object) -> dict[str, t.Any]:
        assert release.wait(30)
        return ONE

    client = make(while_waiting)
    mocker.get(requests_mock.ANY, json=respond)
    future = client.submit(client.upload, CALLS, 7, 5)
    assert bytes(client.wait(future)) == b'{"id": 5}'
    assert calls
    count = len(calls)
    client.wait(future)
    assert len(calls) == count, "nothing to wait for"


def test_what_may_end_a_wait_is_looked_at_again_and_again(
    make: Callable[..., MetrikaClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "POLL_INTERVAL", 0.001)
    calls: list[str] = []

    def end_the_third() -> None:
        calls.append("x")
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(end_the_third).wait(Future())
    assert len(calls) == 3


def test_no_wait_is_so_long_that_a_signal_goes_unnoticed() -> None:
    assert client_module.POLL_INTERVAL <= 0.5
    assert client_module.POLL_INTERVAL * client_module.GRACE_POLLS <= 1.2


def test_after_a_failure_a_response_under_way_is_waited_for_a_moment(
    client: MetrikaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "POLL_INTERVAL", 0.001)
    failure = errors.FatalError("why")
    client.stop(failure)
    with pytest.raises(errors.FatalError) as failed:
        client.wait(Future())
    assert failed.value is failure

    class Late(Future[int]):
        polls = 0

        def result(self, timeout: float | None = None) -> int:
            self.polls += 1
            if self.polls == 3:
                self.set_result(5)
            return super().result(timeout)

    assert client.wait(Late()) == 5


def test_closing_waits_for_nothing_and_drops_what_is_queued(
    client: MetrikaClient,
) -> None:
    under_way, release = threading.Barrier(3), threading.Event()

    def respond(number: int) -> int:
        under_way.wait(30)
        assert release.wait(30)
        return number

    futures = [client.submit(respond, number) for number in range(4)]
    under_way.wait(30)
    client.close()
    assert not futures[0].done()
    assert [future.cancelled() for future in futures[2:]] == [True, True]
    release.set()
    assert [future.result(30) for future in futures[:2]] == [0, 1]


def test_too_little_memory_for_a_thread_is_fatal(
    client: MetrikaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> t.NoReturn:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(errors.FatalError, match="memory"):
        client.wait(client.submit(client.upload, CALLS, 7, 5))


def test_signals_are_left_to_the_main_thread(client: MetrikaClient) -> None:
    future = client.submit(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} <= client.wait(future)


# The clock.


def test_before_any_response_this_machines_clock_is_taken(
    client: MetrikaClient,
) -> None:
    before = datetime.now(UTC)
    assert before <= client.now <= datetime.now(UTC)


def test_the_first_response_of_the_api_is_the_clock(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    later = "Sun, 01 Feb 2026 00:00:00 GMT"
    mocker.get(
        requests_mock.ANY,
        [
            {"status_code": 502, "headers": {"Date": later}},
            {"text": "<html>", "headers": {"Date": later}},
            {"json": ONE, "headers": {"Date": DATE}},
            {"json": ONE, "headers": {"Date": later}},
        ],
    )
    for _ in range(2):
        client.upload(CALLS, 7, 5)
        assert client.now == datetime(2026, 1, 31, 22, 15, 30, tzinfo=UTC)


def test_an_error_of_the_api_itself_is_the_clock_too(
    mocker: requests_mock.Mocker, client: MetrikaClient
) -> None:
    mocker.get(
        requests_mock.ANY,
        status_code=403,
        json=error_body("access_denied"),
        headers={"Date": DATE},
    )
    with pytest.raises(errors.UnavailableError):
        client.upload(CALLS, 7, 5)
    assert client.now == datetime(2026, 1, 31, 22, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
def test_a_first_response_without_a_date_leaves_this_machines_clock(
    mocker: requests_mock.Mocker, client: MetrikaClient, headers: dict[str, str]
) -> None:
    with_date = {"json": ONE, "headers": {"Date": DATE}}
    mocker.get(requests_mock.ANY, [{"json": ONE, "headers": headers}, with_date])
    before = datetime.now(UTC)
    client.upload(CALLS, 7, 5)
    client.upload(CALLS, 7, 5)
    assert client.now == client.now, "it moves during the sync"
    assert before <= client.now <= datetime.now(UTC) + timedelta(seconds=1)


# Look-ahead.


def test_prefetch_makes_a_bounded_number_in_order() -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return 10 * item

    taken = prefetch(range(6), make, 3)
    assert made == [0, 1, 2], "not before it is iterated over"
    assert next(taken) == 0
    assert made == [0, 1, 2, 3]
    assert list(taken) == [10, 20, 30, 40, 50]
    assert made == list(range(6))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_prefetch_of_fewer_than_its_depth(count: int) -> None:
    assert list(prefetch(range(count), str, 3)) == [str(n) for n in range(count)]


def test_the_documented_limits() -> None:
    assert limits.REQUESTS_PER_SECOND == 30
    assert limits.PARALLEL_REQUESTS == 3
    assert limits.REQUESTS_PER_DAY == 5_000
    assert limits.UPLOADS_PER_PAGE == 10_000
    assert limits.MIN_UPLOADS_PER_PAGE == 1_000
    assert limits.MAX_BACKOFF == 60
