"""The endpoints of the API: retries, look-ahead, one pool for all requests."""

from __future__ import annotations

import signal
import threading
import typing as t
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import tenacity

from tap_metrika_calls.api import errors, limits, responses
from tap_metrika_calls.api.rate_limit import RateLimit
from tap_metrika_calls.api.transport import Transport

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    import msgspec

    from tap_metrika_calls.api.endpoints import UploadKind

_T = t.TypeVar("_T")
_P = t.ParamSpec("_P")

POLL_INTERVAL = 0.2  # seconds between two looks at what may end a wait
GRACE_POLLS = 5  # for responses under way when nothing more can be had


@dataclass(slots=True)
class _Request:
    """One request with its retries; `limit` may become smaller."""

    kind: str
    path: str
    target: str
    params: dict[str, t.Any] = field(default_factory=dict)
    limit: int = 0
    slow_in_a_row: int = 0


class Page(t.NamedTuple):
    """One page of a list.

    Attributes:
        rows: The objects as sent, in the API's order.
        limit: How many were requested.
        is_smaller: Whether more were requested first, and the response came too late.
    """

    rows: list[msgspec.Raw]
    limit: int
    is_smaller: bool = False


class MetrikaClient:
    """The management API of Yandex Metrica, within its quotas.

    After an error that no request can escape, `failure` holds it: nothing more is sent,
    and each request fails with it at once.

    Attributes:
        requests: Number of requests sent, by kind, with retries.
        retries: How many of them were retries.
        failure: Why nothing more is sent, once there is a reason.
        parallel: Maximum number of concurrent requests.
    """

    def __init__(
        self,
        config: Mapping[str, t.Any],
        logger: logging.Logger,
        while_waiting: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            config: Settings of the tap.
            logger: Logs retries.
            while_waiting: Called again and again during each wait for a response; what
                it raises ends the wait.
        """
        self.requests: Counter[str] = Counter()
        self.retries = 0
        self.failure: errors.MetrikaError | None = None
        self.parallel: int = config["max_parallel_requests"]
        self._params = {"ulogin": config["ulogin"]} if "ulogin" in config else {}
        self._max_attempts: int = config["max_attempts"]
        self._logger = logger
        self._while_waiting = while_waiting
        self._server_time: datetime | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._rate_limit = RateLimit(config["requests_per_second"], self._stopped)
        self._transport = Transport(config)
        self._pool = ThreadPoolExecutor(self.parallel, initializer=_block_signals)

    @property
    def now(self) -> datetime:
        """The time of the first response of the API; before it, of this machine."""
        return self._server_time or datetime.now(UTC)

    def submit(
        self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Run a function in the pool, at most `parallel` at once.

        Raises:
            FatalError: If no thread can be started.
        """
        try:
            return self._pool.submit(function, *args, **kwargs)
        except RuntimeError:
            msg = "No thread can be started: give the process more memory."
            raise self.failure or errors.FatalError(msg) from None

    def wait(self, future: Future[_T]) -> _T:
        """Return the result of a future.

        Raises:
            MetrikaError: If the request failed, or was not sent because of `failure`.
        """
        polls = 0
        while True:
            if not future.done():
                self._while_waiting()
            try:
                return future.result(timeout=POLL_INTERVAL)
            except TimeoutError:
                polls += self.failure is not None
                if self.failure and polls >= GRACE_POLLS:
                    raise self.failure from None

    def stop(self, error: errors.MetrikaError) -> None:
        """Send nothing more; pauses end at once."""
        with self._lock:
            self.failure = self.failure or error
        self._stopped.set()

    def close(self) -> None:
        """Stop, and drop what is not sent yet."""
        self.stop(errors.FatalError("The sync stopped."))
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    def upload(self, kind: UploadKind, counter_id: int, upload_id: int) -> msgspec.Raw:
        """Request one upload.

        Raises:
            UnknownUploadError: If the API says that it is unknown.
            MetrikaError: If the request failed otherwise.
        """
        path = f"counter/{counter_id}/offline_conversions/{kind.one}/{upload_id}"
        request = _Request("upload", path, f"counter {counter_id}, upload {upload_id}")
        return self._get(request, responses.UPLOAD).uploading

    def uploads(
        self, kind: UploadKind, counter_id: int, offset: int, limit: int
    ) -> Page:
        """Request one page of a counter's uploads, of fewer rows if it times out.

        Raises:
            MetrikaError: If the request failed.
        """
        path = f"counter/{counter_id}/offline_conversions/{kind.many}"
        target = f"counter {counter_id}, uploads from offset {offset}"
        params = {**kind.params, "offset": offset}
        request = _Request("list", path, target, params, limit)
        body = self._get(request, responses.UPLOADS)
        return Page(body.uploadings or [], request.limit, request.limit < limit)

    def counters(self, offset: int, limit: int) -> Page:
        """Request one page of the counters that the token has access to.

        Raises:
            FatalError: If the request failed.
        """
        params = {"per_page": limit, "offset": offset + 1}
        target = f"list of counters from offset {offset}"
        request = _Request("counters", "counters", target, params)
        try:
            body = self._get(request, responses.COUNTERS)
        except errors.FatalError:
            raise
        except errors.MetrikaError as error:
            msg = f"The list of counters cannot be read: {str(error).rstrip('.')}."
            raise errors.FatalError(msg) from None
        return Page(body.counters or [], limit)

    def _get(self, request: _Request, decoder: msgspec.json.Decoder[_T]) -> _T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.TransientError),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=_pause,
            sleep=tenacity.sleep_using_event(self._stopped),
            before_sleep=self._prepare_retry,
            reraise=True,
        )
        try:
            return t.cast("_T", retrying(self._attempt, request, decoder))
        except errors.TransientError as error:
            times = "attempt" if self._max_attempts == 1 else "attempts"
            msg = f"Request failed after {self._max_attempts} {times}: {error}"
            raise errors.OutageError(msg) from None
        except errors.FatalError as error:
            self.stop(errors.FatalError(f"{error} Request: {request.target}."))
            raise t.cast("errors.MetrikaError", self.failure) from None

    def _attempt(self, request: _Request, decoder: msgspec.json.Decoder[_T]) -> _T:
        sent_at = self._rate_limit.acquire()
        try:
            if self.failure is not None:
                raise self.failure
            with self._lock:
                self.requests[request.kind] += 1
            limit = {"limit": request.limit} if request.limit else {}
            params = request.params | limit | self._params
            response = self._transport.get(request.path, params)
            if response.errors:
                self._note_time(response)
            body = responses.decode(response, decoder)
            self._note_time(response)
        finally:
            self._rate_limit.release(sent_at)
        return body

    def _note_time(self, response: responses.Response) -> None:
        self._server_time = self._server_time or response.date or self.now

    def _prepare_retry(self, state: tenacity.RetryCallState) -> None:
        request: _Request = state.args[0]
        error = state.outcome.exception() if state.outcome else None
        is_slow = isinstance(error, errors.SlowError)
        request.slow_in_a_row = request.slow_in_a_row + 1 if is_slow else 0
        if request.slow_in_a_row > 1 and request.limit > limits.MIN_UPLOADS_PER_PAGE:
            request.limit = max(limits.MIN_UPLOADS_PER_PAGE, request.limit // 2)
        with self._lock:
            self.retries += 1
        attempt = f"attempt {state.attempt_number} of {self._max_attempts}"
        pause = state.upcoming_sleep
        line = "%s: %s; %s, next in %.1f s"
        self._logger.warning(line, request.target, error, attempt, pause)


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the longer one of our own pause and the API's."""
    backoff = tenacity.wait_exponential_jitter(
        multiplier=limits.FIRST_BACKOFF, max=limits.MAX_BACKOFF
    )
    error = state.outcome.exception() if state.outcome else None
    return max(backoff(state), getattr(error, "retry_after", 0))


def _block_signals() -> None:
    """Leave signals to the main thread: it may be blocked in a write."""
    stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
