"""How the API is spoken to: what is asked, retries, answers."""

from __future__ import annotations

import threading
import typing as t
from collections import Counter
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus

import tenacity

from tap_metrika_calls import errors
from tap_metrika_calls.answers import (
    CountersBody,
    Fields,
    ListBody,
    UploadingBody,
    fields,
    read_body,
    usable_id,
)
from tap_metrika_calls.connection import fault, in_time, new_session

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Mapping

    import msgspec


_T = t.TypeVar("_T")
_P = t.ParamSpec("_P")

UPLOADINGS_LIMIT = 10_000  # the documented default; no maximum is documented
COUNTERS_PER_PAGE = 1_000
LONGEST_PAUSE = 60.0
# Seconds. A signal just before a wait begins is not seen until the wait ends.
LONGEST_WAIT = 0.5
GRACE = 2  # waits for an answer that is under way when the sync has to stop


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the API.

    Attributes:
        kind: For the count of requests: "uploading", "list" or "counters".
        path: Path below `/management/v1/`.
        wanted: What is asked for, in words, for logs and errors.
        params: Query parameters.
    """

    kind: str
    path: str
    wanted: str
    params: dict[str, int] = field(default_factory=dict)


class MetrikaClient:
    """The management API of Yandex Metrica, within its quotas.

    Attributes:
        requests: How many requests were sent, by kind; retries are among them.
        retries: How many of them were retries.
        failure: Why nothing more is asked, once there is a reason.
        parallel: Most requests in flight at once.
    """

    def __init__(
        self,
        config: Mapping[str, t.Any],
        logger: logging.Logger,
        before_waiting: Callable[[], object] = lambda: None,
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.retries = 0
        self.failure: errors.MetrikaError | None = None
        self.parallel: int = config["max_parallel_requests"]
        self._base = config["api_url"].rstrip("/") + "/management/v1/"
        self._login = {"ulogin": config["ulogin"]} if config.get("ulogin") else {}
        self._timeout: int = config["request_timeout"]
        self._max_attempts: int = config["max_attempts"]
        self._logger = logger
        self._before_waiting = before_waiting
        self._session = new_session(config)
        self._pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="metrika")
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._backoff = tenacity.wait_exponential_jitter(
            multiplier=0.5, max=LONGEST_PAUSE
        )
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.TransientError),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._pause,
            sleep=tenacity.sleep_using_event(self._closed),
            before_sleep=self._log_pause,
            reraise=True,
        )

    def submit(
        self, ask: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Ask in the background, at most `parallel` questions at once."""
        return self._pool.submit(ask, *args, **kwargs)

    def wait(self, answer: Future[_T]) -> _T:
        """Take an answer; what there is to do meanwhile is done first.

        Raises:
            MetrikaError: If the question failed, or was not asked because the sync
                has to stop: then it says why that is.
        """
        if not answer.done():
            self._before_waiting()
        waits = 0
        while True:
            try:
                return answer.result(timeout=LONGEST_WAIT)
            except CancelledError:
                raise self.failure or _stopped() from None
            except TimeoutError:
                waits += self.failure is not None
                if self.failure and waits >= GRACE:
                    raise self.failure from None

    def close(self) -> None:
        """Ask nothing more; pauses between retries end at once."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def uploading(self, counter_id: int, uploading_id: int) -> Fields:
        """Ask for one upload.

        Returns:
            The upload, with the `id` asked for where the answer has no integer there.

        Raises:
            UploadingUnknownError: If the API does not know it.
            CounterError: If the counter is closed to the token.
            MetrikaError: If the sync has to stop.
        """
        path = f"{_folder(counter_id)}/calls_uploading/{uploading_id}"
        wanted = f"counter {counter_id}: upload {uploading_id}"

        def read(body: bytes) -> Fields:
            uploading = fields(read_body(body, UploadingBody).uploading)
            if not uploading:
                raise ValueError
            if type(uploading.get("id")) is not int:
                uploading["id"] = uploading_id
            if uploading["id"] != uploading_id:
                msg = "the answer is about another upload"
                raise errors.TransientError(msg)
            return uploading

        try:
            return self._get(Request("uploading", path, wanted), read)
        except errors.CounterError as error:
            raise _counter_error(counter_id, str(error)) from None

    def uploadings(self, counter_id: int, offset: int) -> list[msgspec.Raw]:
        """Ask for one page of a counter's uploads, in the order of the API.

        Args:
            counter_id: The counter.
            offset: How many uploads to pass over, 0 for the first page.

        Raises:
            CounterError: If the counter is closed to the token, or unknown.
            MetrikaError: If the sync has to stop.
        """
        path = f"{_folder(counter_id)}/calls_uploadings"
        wanted = f"counter {counter_id}: list of uploads from {offset}"
        params = {"limit": UPLOADINGS_LIMIT, "offset": offset}

        def read(body: bytes) -> list[msgspec.Raw]:
            return read_body(body, ListBody).uploadings

        try:
            return self._get(Request("list", path, wanted, params), read)
        except (errors.CounterError, errors.UploadingUnknownError) as error:
            raise _counter_error(counter_id, str(error)) from None

    def all_counters(self) -> Iterator[Fields]:
        """Ask for every counter that the token sees, page by page, each once.

        The API's `rows` is not trusted: the end is a page that brings nothing new.
        """
        seen: set[int] = set()
        while True:
            page, rows = self.wait(self.submit(self.counters, len(seen) + 1))
            fresh = page.keys() - seen
            yield from (page[counter_id] for counter_id in page if counter_id in fresh)
            seen |= fresh
            if not fresh or (len(seen) >= rows and len(page) < COUNTERS_PER_PAGE):
                return

    def counters(self, offset: int) -> tuple[dict[int, Fields], int]:
        """Ask for one page of the counters that the token sees.

        Args:
            offset: The first counter wanted, 1 for the first of all.

        Returns:
            The counters by ID, and how many there are in all as the API says.

        Raises:
            MetrikaError: If the sync has to stop.
        """
        params = {"per_page": COUNTERS_PER_PAGE, "offset": offset}
        wanted = f"list of counters from {offset}"

        def read(body: bytes) -> tuple[dict[int, Fields], int]:
            answer = read_body(body, CountersBody)
            page = {usable_id(one): one for one in map(fields, answer.counters)}
            if None in page:
                raise ValueError
            rows = answer.rows if isinstance(answer.rows, int) else 0
            return t.cast("dict[int, Fields]", page), rows

        try:
            return self._get(Request("counters", "counters", wanted, params), read)
        except (errors.CounterError, errors.UploadingUnknownError) as error:
            msg = f"The list of counters cannot be read ({error}). Look at ulogin too."
            raise errors.MetrikaError(msg) from None

    def _get(self, request: Request, read: Callable[[bytes], _T]) -> _T:
        try:
            return t.cast("_T", self._retrying(self._attempt, request, read))
        except (errors.CounterError, errors.UploadingUnknownError):
            raise
        except errors.TransientError as error:
            msg = (
                f"The API does not answer as it should ({request.wanted}: {error}), "
                f"attempts: {self._max_attempts}. What was loaded is kept: run the "
                "sync again later."
            )
            raise self._stop(errors.MetrikaError(msg)) from None
        except errors.MetrikaError as error:
            raise self._stop(error) from None

    def _stop(self, error: errors.MetrikaError) -> errors.MetrikaError:
        """Send nothing more after an error that no other request can escape."""
        with self._lock:
            self.failure = self.failure or error
        self._closed.set()
        return self.failure

    def _attempt(self, request: Request, read: Callable[[bytes], _T]) -> _T:
        if self._closed.is_set():
            raise self.failure or _stopped()
        with self._lock:
            self.requests[request.kind] += 1
        try:
            with (
                self._session.get(
                    self._base + request.path,
                    params={**request.params, **self._login},
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response,
                in_time(self._timeout, response.raw.shutdown),
            ):
                body = response.content
        except OSError as e:
            raise fault(e, request.wanted) from None
        if response.status_code != HTTPStatus.OK:
            raise errors.from_response(
                response.status_code, response.headers, body, request.wanted
            )
        try:
            return read(body)
        except (ValueError, RecursionError):
            msg = f"HTTP 200 with a body of {len(body)} bytes that is not as documented"
            raise errors.TransientError(msg) from None

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        return self._backoff(state) if asked is None else min(asked, LONGEST_PAUSE)

    def _log_pause(self, state: tenacity.RetryCallState) -> None:
        with self._lock:
            self.retries += 1
        request: Request = state.args[0]
        self._logger.warning(
            "%s: %s; attempt %d of %d, the next in %.1f s",
            request.wanted,
            state.outcome.exception() if state.outcome else None,
            state.attempt_number,
            self._max_attempts,
            state.next_action.sleep if state.next_action else 0,
        )


def _folder(counter_id: int) -> str:
    return f"counter/{counter_id}/offline_conversions"


def _stopped() -> errors.MetrikaError:
    return errors.MetrikaError("The sync was stopped.")


def _counter_error(counter_id: int, told: str) -> errors.CounterError:
    return errors.CounterError(f"Counter {counter_id} cannot be read ({told}).")
