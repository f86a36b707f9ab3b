"""A model of the API, and random steps through which no upload may be lost.

`Api` answers like the real one, from uploads that arrive late, change their status,
get deleted or stay in flight for ever; its clock is virtual. `Simulation` is the state
machine that moves it, runs a tap between the moves, and compares what the target
holds with what the contract promises. Each step that changes something is a rule of
its own, so that hypothesis can leave it out when it looks for the shortest scenario
that loses an upload.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import sys
import tempfile
import typing as t
from collections import Counter, defaultdict, deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import requests_mock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from typing_extensions import override

from tests.support import PREFIX, invoke

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

JSON: t.TypeAlias = dict[str, t.Any]
ListKey: t.TypeAlias = tuple[str, int]  # a stream, a counter
Key: t.TypeAlias = tuple[str, int, int]  # a stream, a counter, an upload

# Small, so that a few uploads fill several pages. In the order of the real ones.
PAGE_ROWS = 6
SMALLEST_PAGE_ROWS = 3
QUIET_PAGE_ROWS = 3
LONG_LIST_ROWS = 3
LAST_PAGE_ROWS = 2
COUNTERS_PER_PAGE = 2
MAX_IDS_BY_ID = 2
MAX_PENDING_BY_ID = 2
LIMITS = {
    "tap_metrika_calls.api.limits.UPLOADS_PER_PAGE": PAGE_ROWS,
    "tap_metrika_calls.api.limits.MIN_UPLOADS_PER_PAGE": SMALLEST_PAGE_ROWS,
    "tap_metrika_calls.api.limits.QUIET_PAGE_ROWS": QUIET_PAGE_ROWS,
    "tap_metrika_calls.api.limits.LAST_PAGE_ROWS": LAST_PAGE_ROWS,
    "tap_metrika_calls.api.limits.COUNTERS_PER_PAGE": COUNTERS_PER_PAGE,
    "tap_metrika_calls.api.limits.MAX_BACKOFF": 0.001,
    "tap_metrika_calls.sync.bookmark.LONG_LIST_ROWS": LONG_LIST_ROWS,
    "tap_metrika_calls.sync.selection.MAX_IDS_BY_ID": MAX_IDS_BY_ID,
    "tap_metrika_calls.sync.reader.MAX_PENDING_BY_ID": MAX_PENDING_BY_ID,
}

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
OVERLAP = HOUR
FULL_READ_INTERVAL = timedelta(days=7)
FINAL = frozenset({"PROCESSED", "LINKAGE_FAILURE"})
TYPES = {
    "calls_uploadings": "CALLS",
    "conversions_uploadings": "BASIC",
    "chats_uploadings": "CHATS",
}
STREAMS = tuple(TYPES)
CALLS = STREAMS[0]
COUNTERS = (1, 2, 3)
UNKNOWN_ID = 999_999
ORDERS = ("newest", "arrival", "oldest", "shuffled")
ZONES = {
    "+03:00": timezone(timedelta(hours=3)),
    "-05:30": timezone(-timedelta(hours=5.5)),
}
PAGE_EVENTS = st.tuples(
    st.sampled_from(
        [
            "insert",
            "insert_late",
            "delete",
            "delete_two",
            "reorder",
            "empty",
        ]
    ),
    st.integers(0, 3),
)
EVENTS = st.tuples(
    st.sampled_from(
        [
            "error",
            "drop",
            "empty",
            "insert",
            "pass_two_hours",
            "exhaust_login",
            "exhaust_counter",
            "remove_counter",
        ]
    ),
    st.integers(0, 9),
)
# Two of them, on pages so small, may make four pages in a row that bring nothing.
DISTURBANCES = frozenset({"insert", "insert_late", "delete", "delete_two", "empty"})


@dataclass(eq=False)
class Upload:
    """One upload: when it is seen, and what it is when.

    Attributes:
        arrived: When the API shows it first.
        settles: When it gets its final status; never if that is `datetime.max`.
        shown_as: How `create_time` is sent: "Z", a zone, "fraction", or "" for not.
    """

    stream: str
    counter: int
    id: int
    arrived: datetime
    created: datetime
    settles: datetime
    shown_as: str = "Z"
    is_deleted: bool = False

    @property
    def is_late(self) -> bool:
        """Whether it was shown later than the contract allows for."""
        return self.arrived - self.created > OVERLAP

    def status(self, now: datetime) -> str:
        """Return the status at a time."""
        if now >= self.settles:
            return "LINKAGE_FAILURE" if self.id % 3 == 0 else "PROCESSED"
        return "UPLOADED" if now < self.arrived + 2 * HOUR else "EXPORTED"

    def row(self, now: datetime) -> JSON:
        """Return what the API sends."""
        row: JSON = {"id": self.id, "status": self.status(now)}
        if self.id % 2:
            row["source_quantity"] = self.id
        if self.shown_as:
            created = self.created.astimezone(ZONES.get(self.shown_as, UTC))
            row["create_time"] = created.isoformat().replace("+00:00", "Z")
        return row

    def __str__(self) -> str:
        return f"upload {self.id} of {self.stream} of counter {self.counter}"


@dataclass
class Traffic:
    """What the API was asked in one sync, and what happened meanwhile."""

    times: list[datetime] = field(default_factory=list)
    clock: datetime | None = None
    later_pages: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    reordered: set[ListKey] = field(default_factory=set)
    paged: set[ListKey] = field(default_factory=set)
    emptied: set[ListKey] = field(default_factory=set)


class Dropped(Exception):  # noqa: N818
    """The connection is dropped instead of a response."""


Response: t.TypeAlias = tuple[int, dict[str, str], bytes]


class Api:
    """The API: what it holds, how it misbehaves, and its responses.

    Attributes:
        now: The virtual time; each request takes a second.
        plan: What happens in the next sync, before the n-th request or later page.
        was_long: Lists that a sync may have found long enough to trust their order.
        reordered_at: When the order of a list changed for the last time.
    """

    def __init__(self) -> None:
        self.now = BEGAN
        self.uploads: list[Upload] = []
        self.counters = list(COUNTERS)
        self.orders: dict[ListKey, str] = defaultdict(lambda: "newest")
        self.page_cap: int | None = None
        self.large_pages_fail = False
        self.failing: int | None = None
        self.plan: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.traffic = Traffic()
        self.most_requests = 1_000
        self.was_long: set[ListKey] = set()
        self.reordered_at: dict[ListKey, datetime] = {}
        self._exhausted: set[int | None] = set()  # None: the login

    def begin(self) -> None:
        """Begin a sync: quotas are full again, and the plan counts from here."""
        self.traffic = Traffic()
        self._exhausted.clear()

    def end(self) -> None:
        """End a sync: what was planned for it and did not happen never does."""
        self.plan.clear()

    def add(self, stream: str, counter: int, **changes: t.Any) -> Upload:
        """Add an upload that arrives now."""
        ids = [u.id for u in self.uploads if u.counter == counter]
        number = len(ids) + 1
        upload = Upload(
            stream,
            counter,
            # Neither growing nor falling, and the same ones in other counters.
            id=(number * 37) % 101 + 101 * (number // 101) + 1,
            arrived=self.now,
            created=self.now,
            settles=self.now,
        )
        for name, value in changes.items():
            setattr(upload, name, value)
        self.uploads.append(upload)
        return upload

    def rows(self, key: ListKey) -> list[Upload]:
        """Return the uploads of a list, in its order of today."""
        rows = [
            u for u in self.uploads if (u.stream, u.counter) == key and not u.is_deleted
        ]
        order = self.orders[key]
        if order == "shuffled":
            return sorted(rows, key=lambda u: u.id * 2_654_435_761 % 2**32)
        if order == "arrival":
            return rows[::-1]
        return sorted(rows, key=lambda u: u.created, reverse=order == "newest")

    def reorder(self, key: ListKey) -> None:
        """Change the order of a list."""
        order = self.orders[key]
        self.orders[key] = "newest" if order == "oldest" else "oldest"
        self.reordered_at[key] = self.now
        if key in self.traffic.paged:
            self.traffic.reordered.add(key)

    def respond(self, path: str, query: Mapping[str, str]) -> Response:
        """Answer a request.

        Raises:
            Dropped: If the connection is dropped instead.
        """
        number = len(self.traffic.times)
        assert number < self.most_requests, "requests without end"
        is_later_page = "limit" in query and query["offset"] != "0"
        parts = path.removeprefix("/management/v1/").split("/")
        counter = int(parts[1]) if parts[0] == "counter" else None
        kind, *upload_id = parts[3:] or [""]
        stream = _stream(kind, query)
        events = [*self.plan.pop(("request", number), ())]
        if is_later_page:
            events += self.plan.pop(("later page", self.traffic.later_pages), ())
            self.traffic.later_pages += 1
        for event in events:
            self.fire(event, (stream, counter or self.counters[0]))
        self.traffic.times.append(self.now)
        status, body = self._body(counter, stream, upload_id, query, events)
        is_own = "drop" not in events and (status == HTTPStatus.OK or "errors" in body)
        if is_own and self.traffic.clock is None:
            self.traffic.clock = self.now
        headers = {"Date": format_datetime(self.now, usegmt=True)}
        self.now += SECOND
        if "drop" in events:
            raise Dropped
        return status, headers, json.dumps(body).encode()

    def _body(
        self,
        counter: int | None,
        stream: str,
        upload_id: list[str],
        query: Mapping[str, str],
        events: Iterable[str],
    ) -> tuple[int, JSON]:
        if "error" in events:
            return 502, {}
        if refusal := self._refusal(counter):
            return self._error(*refusal)
        if counter is None:
            offset, limit = int(query["offset"]) - 1, int(query["per_page"])
            page = self.counters[offset : offset + min(limit, self.page_cap or limit)]
            return 200, {"counters": [{"id": c, "name": f"{c}"} for c in page]}
        if upload_id:
            return self._upload(counter, stream, int(upload_id[0]))
        return self._page((stream, counter), query, events)

    def _refusal(self, counter: int | None) -> tuple[int, str] | None:
        if None in self._exhausted:
            return 429, "quota_requests_by_uid"
        if counter is None:
            return None
        if counter in self._exhausted:
            return 429, "quota_requests_by_counter_id"
        if counter == self.failing:
            return 503, "backend_error"
        return None if counter in self.counters else (403, "access_denied")

    def _upload(self, counter: int, stream: str, upload_id: int) -> tuple[int, JSON]:
        for u in self.uploads:
            if (u.counter, u.id, u.is_deleted) == (counter, upload_id, False) and (
                stream != CALLS or u.stream == stream
            ):
                return 200, {"uploading": u.row(self.now)}
        return self._error(404, "not_found")

    def _page(
        self, key: ListKey, query: Mapping[str, str], events: Iterable[str]
    ) -> tuple[int, JSON]:
        offset, limit = int(query["offset"]), int(query["limit"])
        if self.large_pages_fail and limit > SMALLEST_PAGE_ROWS:
            return 504, {}
        rows = self.rows(key)
        if len(rows) >= LONG_LIST_ROWS:
            self.was_long.add(key)
        self.traffic.paged.add(key)
        if "empty" in events:
            if not offset:
                self.traffic.emptied.add(key)
            return 200, {"uploadings": []}
        if offset and not rows:  # which is like an empty response
            self.traffic.fired["all_deleted"] += 1
        page = rows[offset : offset + min(limit, self.page_cap or limit)]
        return 200, {"uploadings": [u.row(self.now) for u in page]}

    def _error(self, status: int, error_type: str) -> tuple[int, JSON]:
        self.traffic.errors[error_type] += 1
        message = "Something else each time."
        errors = [{"error_type": error_type, "message": message}]
        return status, {"errors": errors, "code": status, "message": message}

    def fire(self, event: str, key: ListKey) -> None:
        """Let an event happen to a list, or its counter."""
        self.traffic.fired[event] += 1
        match event:
            case "insert":
                self.add(*key)
            case "insert_late":
                self.add(*key, created=self.now - timedelta(minutes=50))
            case "delete":
                self._delete(key, 1)
            case "delete_two":
                self._delete(key, 2)
            case "reorder":
                self.reorder(key)
            case "pass_two_hours":
                self.now += 2 * HOUR
            case "exhaust_login":
                self._exhausted.add(None)
            case "exhaust_counter":
                self._exhausted.add(key[1])
            case "remove_counter" if len(self.counters) > 1:
                self.counters = [c for c in self.counters if c != key[1]]

    def _delete(self, key: ListKey, count: int) -> None:
        for upload in self.rows(key)[:count]:
            upload.is_deleted = True


def _stream(kind: str, query: Mapping[str, str]) -> str:
    if kind.startswith("calls_"):
        return CALLS
    wanted = query.get("type", "BASIC")
    return next(name for name, value in TYPES.items() if value == wanted)


@dataclass
class Output:
    """What one sync wrote.

    Attributes:
        code: Exit code.
        lines: Standard output.
        errors: Lines of standard error at ERROR.
    """

    code: int
    lines: list[str]
    errors: list[str]


Tap: t.TypeAlias = "Callable[[Api, JSON, JSON, Mapping[str, str]], Output]"


def run_tap(api: Api, config: JSON, state: JSON, streams: Mapping[str, str]) -> Output:
    """Run the command of the tap in this process.

    Args:
        api: What responds.
        config: The configuration.
        state: The state.
        streams: The selected streams, with their replication methods.
    """

    def respond(request: t.Any, context: t.Any) -> bytes:
        url = urlsplit(request.url)
        query = {name: value for name, (value,) in parse_qs(url.query).items()}
        try:
            context.status_code, context.headers, body = api.respond(url.path, query)
        except Dropped as error:
            raise requests.ConnectionError from error
        return body

    catalog = json.loads(_catalog())
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                method = streams.get(stream["tap_stream_id"])
                entry["metadata"]["selected"] = method is not None
                if method and stream["tap_stream_id"] in TYPES:
                    entry["metadata"]["replication-method"] = method
    with tempfile.TemporaryDirectory() as folder, requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, content=respond)
        arguments = []
        files = {"config": config, "state": state, "catalog": catalog}
        for name, content in files.items():
            path = Path(folder, name)
            path.write_text(json.dumps(content), encoding="utf-8")
            arguments.append(f"--{name}={path}")
        return _command(*arguments)


QUIET = {f"{PREFIX}LOGLEVEL": "ERROR", f"{PREFIX}OAUTH_TOKEN": "x"}


def _command(*arguments: str) -> Output:
    run = invoke(*arguments, env=QUIET)
    return Output(run.code, run.lines, run.errors)


@functools.cache
def _catalog() -> str:
    return "\n".join(_command("--discover", "--config=ENV").lines)


class Sent(Future[t.Any]):
    """A request in the background: all that are submitted are sent at the next wait.

    So those ahead go out early, and the same steps always give the same scenario.
    """

    def __init__(self, queue: deque[tuple[Sent, Callable[[], object]]]) -> None:
        super().__init__()
        self._queue = queue

    @override
    def result(self, timeout: float | None = None) -> t.Any:
        while self._queue:
            future, send = self._queue.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(send())
                except BaseException as error:  # noqa: BLE001
                    future.set_exception(error)
        return super().result(timeout)


def submit(
    pool: Executor, send: Callable[..., object], *args: object, **kwargs: object
) -> Sent:
    """Submit a request to a pool without threads."""
    queue = vars(pool).setdefault("sent", deque())
    sent = Sent(queue)
    queue.append((sent, functools.partial(send, *args, **kwargs)))
    return sent


@contextlib.contextmanager
def small_and_repeatable() -> Iterator[None]:
    """Make the package's limits small, and its requests one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setattr(name, value)
        patch.setattr(ThreadPoolExecutor, "submit", submit)
        # The SDK reads its own and the tap's package metadata in every run.
        version = functools.cache(importlib.metadata.version)
        patch.setattr(importlib.metadata, "version", version)
        yield


@dataclass(frozen=True)
class Selection:
    """What one sync is configured to read.

    Attributes:
        modes: For each counter "whole", "ids" or "both"; empty for all counters.
        picks: Which uploads of a counter are configured, by their place among all.
        method: The replication method of all streams.
    """

    modes: Mapping[int, str] = field(default_factory=dict)
    picks: tuple[int, ...] = ()
    lookup: str = "auto"
    on_unavailable: str = "skip"
    streams: tuple[str, ...] = (CALLS,)
    method: str = "INCREMENTAL"


SELECTIONS = st.builds(
    Selection,
    modes=st.dictionaries(
        st.sampled_from(COUNTERS), st.sampled_from(["whole", "ids", "both"])
    ),
    picks=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    lookup=st.sampled_from(["auto", "by_id", "list"]),
    on_unavailable=st.sampled_from(["skip", "fail"]),
    streams=st.sampled_from([(CALLS,), STREAMS, ("counters", CALLS), STREAMS[1:]]),
    method=st.sampled_from([*["INCREMENTAL"] * 4, "FULL_TABLE"]),
)
EVERYTHING = Selection(streams=STREAMS)
MOSTLY_1 = st.sampled_from([*[1] * 4, 2, 3])
MOSTLY_CALLS = st.sampled_from([*[CALLS] * 4, *STREAMS[1:]])


class Simulation(RuleBasedStateMachine):
    """Random steps of the API, the target and the configuration, and syncs between.

    Attributes:
        counts: Syncs, crashes and requests of all scenarios.
        table: The status that the target holds for each upload.
        excused: Uploads that the contract allows to be passed over for good: they
            were in a list whose order changed while it was paged.
    """

    def __init__(self, tap: Tap, counts: Counter[str]) -> None:
        super().__init__()
        self.run = tap
        self.counts = counts
        self.api = Api()
        self.state: JSON = {}
        self.table: dict[Key, str | None] = {}
        self.excused: set[Upload] = set()
        self.start_date: datetime | None = None
        self.in_flight = timedelta(days=3)
        self.counts["scenarios"] += 1

    # The API moves

    @initialize(
        order=st.sampled_from(ORDERS),
        in_flight_days=st.sampled_from([3, 21]),
        uploads=st.integers(0, 14),
        has_start_date=st.sampled_from([False, False, True]),
    )
    def begin(
        self, *, order: str, in_flight_days: int, uploads: int, has_start_date: bool
    ) -> None:
        self.api.orders = defaultdict(lambda: order)
        self.in_flight = timedelta(days=in_flight_days)
        self.start_date = BEGAN + HOUR if has_start_date else None
        for number in range(1, uploads + 1):
            settles = self.api.now + (0 if number % 3 else 30) * HOUR
            self.api.add(CALLS, 1, settles=settles)
            # Three of the same time: no order can be told from a page of them.
            self.api.now += timedelta() if number % 3 else 5 * HOUR

    @rule(
        counter=MOSTLY_1,
        stream=MOSTLY_CALLS,
        hours_to_settle=st.sampled_from([0, 2, 30, 24 * 5, None]),
        count=st.integers(1, 6),
    )
    def upload(
        self, counter: int, stream: str, hours_to_settle: float | None, count: int
    ) -> None:
        for _ in range(count):
            settles = datetime.max.replace(tzinfo=UTC)
            if hours_to_settle is not None:
                settles = self.api.now + hours_to_settle * HOUR
            self.api.add(stream, counter, settles=settles)
            self.api.now += HOUR

    @rule(
        counter=MOSTLY_1,
        stream=MOSTLY_CALLS,
        minutes_late=st.sampled_from([0, 59, 60, 150, -3 * 24 * 60]),
        shown_as=st.sampled_from(["Z", "", "fraction", *ZONES]),
        hours_to_settle=st.sampled_from([0, 2, 30]),
    )
    def upload_oddly(
        self,
        counter: int,
        stream: str,
        minutes_late: int,
        shown_as: str,
        hours_to_settle: float,
    ) -> None:
        created = self.api.now - timedelta(minutes=minutes_late)
        if shown_as == "fraction":
            created += timedelta(milliseconds=250)
        settles = self.api.now + hours_to_settle * HOUR
        self.api.add(
            stream, counter, created=created, shown_as=shown_as, settles=settles
        )

    @rule(hours=st.sampled_from([0.5, 3, 25, 100, 7.5 * 24]))
    def wait(self, hours: float) -> None:
        self.api.now += hours * HOUR

    @rule(
        page_cap=st.sampled_from([None, 2, 3]),
        large_pages_fail=st.booleans(),
        failing=st.sampled_from([None, None, *COUNTERS]),
    )
    def misbehave(
        self, *, page_cap: int | None, large_pages_fail: bool, failing: int | None
    ) -> None:
        self.api.page_cap = page_cap
        self.api.large_pages_fail = large_pages_fail
        self.api.failing = failing

    @rule(counter=MOSTLY_1)
    def reorder(self, counter: int) -> None:
        self._change("reorder", counter)

    @rule(counter=MOSTLY_1, count=st.sampled_from(["delete", "delete_two"]))
    def delete(self, counter: int, count: str) -> None:
        self._change(count, counter)

    def _change(self, event: str, counter: int) -> None:
        self.api.begin()
        for stream in STREAMS:
            self.api.fire(event, (stream, counter))

    @rule(counter=MOSTLY_1)
    def close_or_open(self, counter: int) -> None:
        """Take a counter from the token, or give it back."""
        others = [c for c in self.api.counters if c != counter]
        if others == self.api.counters:
            self.api.counters = sorted([*others, counter])
        elif others:
            self.api.counters = others

    # The user moves

    @rule(hours_ago=st.sampled_from([None, 0, 0.5, 4, 30, 200]))
    def set_start_date(self, hours_ago: float | None) -> None:
        self.start_date = None
        if hours_ago is not None:
            self.start_date = self.api.now - hours_ago * HOUR

    @rule()
    def forget_state(self) -> None:
        self.state = {}
        self._forgive()

    @rule()
    def sync_with_the_version_before(self) -> None:
        """Sync completely, and leave a state as the version before did."""
        stream, now = CALLS, self.api.now
        partitions = []
        for counter in self.api.counters:
            rows = self.api.rows((stream, counter))
            read = [u for u in rows if self._is_from_start_date(u)]
            for upload in read:
                self.table[stream, counter, upload.id] = upload.status(now)
            holding = [u.created for u in read if u.shown_as]
            if not holding:
                continue
            in_flight = [
                u.created
                for u in read
                if u.shown_as
                and u.status(now) not in FINAL
                and now - u.created < self.in_flight
            ]
            value = min([*in_flight, max(holding), now])
            partitions.append(
                {
                    "context": {"counter_id": counter},
                    "replication_key": "create_time",
                    "replication_key_value": value.isoformat().replace("+00:00", "Z"),
                }
            )
            if self.start_date is not None:
                floor = self.start_date.isoformat().replace("+00:00", "Z")
                partitions[-1]["start_date"] = floor
        self.state = {"bookmarks": {stream: {"partitions": partitions}}}
        self._forgive()

    def _forgive(self) -> None:
        """Promise everything anew: all will be read from its start."""
        self.excused.clear()
        self.api.was_long.clear()
        self.api.reordered_at.clear()

    # The syncs

    @rule()
    def sync(self) -> None:
        self._sync()

    @rule(events=st.lists(PAGE_EVENTS, min_size=1, max_size=3))
    def sync_while_lists_move(self, events: list[tuple[str, int]]) -> None:
        """Let things happen before these pages that are not the first of their list."""
        for event, number in events:
            self.api.plan["later page", number].append(event)
        self._sync()

    @rule(
        events=st.lists(EVENTS, min_size=1, max_size=3),
        selection=st.just(Selection()) | SELECTIONS,
    )
    def sync_in_trouble(
        self, events: list[tuple[str, int]], selection: Selection
    ) -> None:
        """Let things happen before these requests."""
        for event, number in events:
            self.api.plan["request", number].append(event)
        self._sync(selection)

    @rule(selection=SELECTIONS)
    def sync_selection(self, selection: Selection) -> None:
        self._sync(selection)

    @rule(received=st.integers(0, 12))
    def sync_into_a_crash(self, received: int) -> None:
        """Let the target receive no more than so many lines."""
        self._sync(received=received)

    @rule()
    def sync_twice(self) -> None:
        """Sync again at once: that costs what changed, which is nothing."""
        self.api.plan.clear()
        if self.api.failing or self.api.page_cap or self.api.large_pages_fail:
            return
        began = self.api.now
        self._sync(EVERYTHING)
        before = dict(self.table)
        self._sync(EVERYTHING)
        for upload in self._emitted:
            key = upload.stream, upload.counter, upload.id
            is_new = upload.created >= self._newest(key[:2], began) - OVERLAP
            is_in_flight = before.get(key) not in FINAL
            is_undated = not upload.shown_as
            if key[:2] not in self.api.reordered_at:
                assert is_new or is_in_flight or is_undated, (
                    f"{upload} came for nothing"
                )

    def _newest(self, key: tuple[str, int], clock: datetime) -> datetime:
        times = (u.created for u in self.api.rows(key) if u.shown_as)
        return min(max(times, default=clock), clock)

    def teardown(self) -> None:
        """Let all settle, and check that nothing is lost or stale."""
        if sys.exc_info()[0] is not None:
            return  # a step failed, or hypothesis ended the scenario
        self.api.plan.clear()
        self.misbehave(page_cap=None, large_pages_fail=False, failing=None)
        self.api.counters = list(COUNTERS)
        self.api.now += self.in_flight + FULL_READ_INTERVAL
        self._sync(EVERYTHING)

    def _sync(
        self, selection: Selection = Selection(), received: int | None = None
    ) -> None:
        config, ids, whole = self._configure(selection)
        api = self.api
        api.begin()
        api.most_requests = self._most_requests(ids)
        state = json.loads(json.dumps(self.state))
        streams = dict.fromkeys(selection.streams, selection.method)
        output = self.run(api, config, state, streams)
        api.end()
        times = api.traffic.times
        self.counts.update(syncs=1, requests=len(times), crashes=received is not None)
        assert len(times) < api.most_requests, "requests without end"
        emptied = api.traffic.emptied & api.reordered_at.keys()
        for key in api.traffic.reordered | emptied:
            self.excused.update(api.rows(key))
        self._emitted = list(self._check_messages(output, times, ids, whole))
        self._load(output.lines[:received])
        self._check_code(output, selection, ids, whole)
        if not output.code and received is None:
            self._check_complete(selection, ids, whole)

    def _check_complete(
        self,
        selection: Selection,
        ids: Mapping[int, set[int]],
        whole: Mapping[str, list[int]],
    ) -> None:
        """Check that a sync that claims to be complete is."""
        api = self.api
        began = api.traffic.times[0] if api.traffic.times else api.now
        for stream in TYPES.keys() & selection.streams:
            for counter in set(whole[stream]).intersection(api.counters):
                if (stream, counter) not in api.traffic.emptied:
                    is_full = selection.method == "FULL_TABLE"
                    self._check_list((stream, counter), began, is_full=is_full)
        if CALLS not in selection.streams:
            return
        for upload in api.uploads:
            is_open = upload.stream == CALLS and upload.counter in api.counters
            is_configured = upload.id in ids.get(upload.counter, ())
            if is_open and is_configured and self._is_stable(upload, began):
                assert upload in self._emitted, f"configured {upload} did not come"

    def _configure(
        self, selection: Selection
    ) -> tuple[JSON, dict[int, set[int]], dict[str, list[int]]]:
        """Return the configuration, configured IDs, and counters read whole."""
        config: JSON = {
            "oauth_token": "x",
            "requests_per_second": 10_000,
            "in_flight_days": self.in_flight.days,
            "lookup": selection.lookup,
            "on_unavailable": selection.on_unavailable,
        }
        if self.start_date is not None:
            config["start_date"] = self.start_date.isoformat()
        ids: dict[int, set[int]] = {}
        whole = []
        entries: list[JSON] = []
        for counter, mode in selection.modes.items():
            if mode != "ids":
                whole.append(counter)
                entries.append({"counter_id": counter})
            if mode != "whole":
                known = [
                    u.id
                    for u in self.api.uploads
                    if (u.stream, u.counter) == (CALLS, counter)
                ]
                picked = {
                    known[pick % len(known)] if known and pick >= 0 else UNKNOWN_ID
                    for pick in selection.picks
                }
                if picked:
                    ids[counter] = picked
                    entries.append(
                        {
                            "counter_id": counter,
                            "uploading_ids": sorted(picked),
                        }
                    )
        if entries:
            config["counters"] = entries
            # Only of calls are uploads read by their IDs.
            others = [*{entry["counter_id"]: 0 for entry in entries}]
        else:
            whole = others = list(self.api.counters)
        return config, ids, {s: whole if s == CALLS else others for s in STREAMS}

    def _most_requests(self, ids: Mapping[int, set[int]]) -> int:
        most = 20 + 6 * len(COUNTERS) * len(TYPES)
        most += 4 * len(self.api.uploads) + 3 * sum(map(len, ids.values()))
        most += 12 * sum(map(len, self.api.plan.values()))
        if self.api.failing:
            most += 8 * 3 * 4 * len(TYPES)
        if self.api.large_pages_fail:
            most *= 3
        return most

    def _check_messages(
        self,
        output: Output,
        times: list[datetime],
        ids: Mapping[int, set[int]],
        whole: Mapping[str, list[int]],
    ) -> Iterator[Upload]:
        """Check every message on its own.

        Yields:
            The uploads that were emitted.
        """
        uploads = {(u.stream, u.counter, u.id): u for u in self.api.uploads}
        columns: dict[str, list[str]] = {}
        seen = set()
        message: JSON = {}
        for line in output.lines:
            message = json.loads(line)
            stream = message.get("stream", "")
            if message["type"] == "SCHEMA":
                columns[stream] = list(message["schema"]["properties"])
            elif message["type"] == "STATE":
                self._check_state(message["value"], times)
            elif message["type"] == "RECORD":
                record = message["record"]
                assert list(record) == columns[stream], f"uneven record {record}"
                key = (stream, record.get("counter_id", 0), record["id"])
                assert key not in seen, f"{key} came twice in one sync"
                seen.add(key)
                if stream in TYPES:
                    self._check_record(record, uploads[key], times)
                    is_configured = stream == CALLS and record["id"] in ids.get(
                        key[1], ()
                    )
                    may_come = is_configured or self._may_come(uploads[key], whole)
                    assert may_come, f"{uploads[key]} was not to be read"
                    yield uploads[key]
        assert message.get("type") == "STATE", "the last message is no STATE"

    def _may_come(self, upload: Upload, whole: Mapping[str, list[int]]) -> bool:
        """Whether an upload belongs to what is read: tracked ones to their end."""
        is_known = (upload.stream, upload.counter, upload.id) in self.table
        is_dated_well = is_known or self._is_from_start_date(upload)
        return upload.counter in whole[upload.stream] and is_dated_well

    def _check_record(
        self, record: JSON, upload: Upload, times: list[datetime]
    ) -> None:
        row = upload.row(self.api.now)
        created = record["create_time"]
        if upload.shown_as:
            assert created.endswith("Z")
            assert datetime.fromisoformat(created) == upload.created
        else:
            assert created is None
        assert record["source_quantity"] == row.get("source_quantity")
        assert record["status"] in self._statuses(upload, times)

    def _statuses(self, upload: Upload, times: Iterable[datetime]) -> set[str]:
        return {upload.status(time) for time in (*times, self.api.now)}

    def _check_state(self, state: JSON, times: list[datetime]) -> None:
        clock = times[0] if times else self.api.now
        for stream, stream_state in state.get("bookmarks", {}).items():
            seen = set()
            for partition in stream_state.get("partitions", ()):
                counter = partition["context"]["counter_id"]
                assert counter not in seen, f"two partitions of counter {counter}"
                seen.add(counter)
                if "replication_key_value" in partition:
                    assert partition["replication_key"] == "create_time"
                    value = datetime.fromisoformat(partition["replication_key_value"])
                    assert value <= max(clock, self.api.now), f"{stream}: {partition}"

    def _check_code(
        self,
        output: Output,
        selection: Selection,
        ids: Mapping[int, set[int]],
        whole: Mapping[str, list[int]],
    ) -> None:
        """Check that the sync fails if it has to, and only then."""
        api, traffic = self.api, self.api.traffic
        if CALLS not in selection.streams:
            ids = {}
        selected = set(ids).union(*(whole.get(s, ()) for s in selection.streams))
        assert bool(output.errors) == bool(output.code), (output.code, output.errors)
        if traffic.fired["remove_counter"]:
            return
        closed = selected - set(api.counters)
        calls = {
            (u.counter, u.id)
            for u in api.uploads
            if u.stream == CALLS and not u.is_deleted
        }
        configured = {(counter, one) for counter in ids for one in ids[counter]}
        has_unknown = bool(configured - calls)
        is_strict = selection.on_unavailable == "fail"
        disturbances = sum(traffic.fired[event] for event in DISTURBANCES)
        if api.failing in selected - closed or (
            is_strict and (closed or has_unknown) and not disturbances
        ):
            assert output.code == 1, "a failed sync exits 0"
        is_rough = bool(api.page_cap or api.large_pages_fail)
        may_fail = (
            api.failing in selected
            or (is_strict and (closed or has_unknown))
            or (closed and not self._emitted)
            or any(name.startswith("quota") for name in traffic.errors)
            or traffic.fired["reorder"]
            or traffic.fired["all_deleted"]
            or disturbances + is_rough > 1
        )
        if not may_fail:
            assert output.code == 0, output.errors

    def _load(self, lines: list[str]) -> None:
        """Let the target take these lines."""
        for line in lines:
            message = json.loads(line)
            if message["type"] == "STATE":
                self.state = message["value"]
            elif message["type"] == "RECORD" and message["stream"] in TYPES:
                record = message["record"]
                key = (message["stream"], record["counter_id"], record["id"])
                self.table[key] = record["status"]

    def _check_list(self, key: ListKey, began: datetime, *, is_full: bool) -> None:
        """Check that the target holds what the contract promises of a list."""
        if is_full:
            if key in self.api.traffic.reordered:
                return
            emitted = set(self._emitted)
        elif self._is_passed_over(key, began):
            return
        for upload in self.api.rows(key):
            if not self._is_stable(upload, began) or not self._is_from_start_date(
                upload
            ):
                continue
            if is_full:
                assert upload in emitted, f"{upload} is not in a full table"
            elif upload not in self.excused and not upload.is_late:
                self._check_upload(upload, began)

    def _check_upload(self, upload: Upload, began: datetime) -> None:
        key = (upload.stream, upload.counter, upload.id)
        assert key in self.table, f"{upload} is lost"
        expires = upload.created + self.in_flight
        clock = self.api.traffic.clock or began
        is_expired = upload.shown_as and upload.settles > expires and clock >= expires
        if not is_expired:
            allowed = self._statuses(upload, [began])
            assert self.table[key] in allowed, f"{upload} is stale: {self.table[key]}"

    def _is_passed_over(self, key: ListKey, began: datetime) -> bool:
        """Whether the order changed, and no full read is due since."""
        reordered = self.api.reordered_at.get(key)
        return (
            key in self.api.was_long
            and reordered is not None
            and began < reordered + FULL_READ_INTERVAL
        )

    def _is_stable(self, upload: Upload, began: datetime) -> bool:
        """Whether the API showed it during the whole sync."""
        return upload.arrived <= began and not upload.is_deleted

    def _is_from_start_date(self, upload: Upload) -> bool:
        start_date = self.start_date
        return not upload.shown_as or start_date is None or upload.created >= start_date
