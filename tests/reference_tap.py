"""The contract of a sync in as few lines as it takes, one request after the other.

It shows that the contract can be kept, and is what the faults that the simulation has
to catch are put into. It reads the model of the API directly, without HTTP.
"""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tests import simulation
from tests.simulation import CALLS, FINAL, JSON, TYPES, Api, Dropped, Output

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

COLUMNS = ("counter_id", "id", "create_time", "status", "source_quantity")
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ATTEMPTS = 8
BARREN_PAGES_OF_A_FAILURE = 4


class CounterError(Exception):
    """One counter cannot be read."""


class UnknownError(Exception):
    """The API does not know an upload."""


class StopError(Exception):
    """Nothing more can be had."""


class ReferenceTap:
    """A tap for one sync."""

    overlap = HOUR
    full_read_interval = timedelta(days=7)

    def __init__(self, api: Api, config: JSON, state: JSON) -> None:
        self.api = api
        self.config = config
        self.state = state
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.clock = NEVER

    @classmethod
    def run(
        cls, api: Api, config: JSON, state: JSON, streams: Mapping[str, str]
    ) -> Output:
        """Sync these streams, each by its replication method."""
        tap = cls(api, config, state)
        try:
            for stream, method in streams.items():
                tap.sync_stream(stream, is_full_table=method == "FULL_TABLE")
        except StopError as error:
            tap.errors.append(str(error))
        tap.write("STATE", value=tap.state)
        return Output(bool(tap.errors), tap.lines, tap.errors)

    def sync_stream(self, stream: str, *, is_full_table: bool) -> None:
        """Sync a stream, counter by counter."""
        columns = COLUMNS if stream in TYPES else ("id",)
        schema: JSON = {"properties": {column: {} for column in columns}}
        self.write("SCHEMA", stream=stream, schema=schema)
        if stream not in TYPES:
            for counter in self.counters():
                self.write("RECORD", stream=stream, record={"id": counter})
            return
        for counter, entries in self.selected().items():
            try:
                emitted = set()
                has_whole = any("uploading_ids" not in entry for entry in entries)
                if stream != CALLS or has_whole:
                    emitted = self.read_list(
                        (stream, counter), is_full_table=is_full_table
                    )
                if stream == CALLS:
                    ids = {i for e in entries for i in e.get("uploading_ids", ())}
                    self.read_ids(counter, ids - emitted)
            except CounterError as error:
                is_closed = str(error) == "access_denied"
                if not is_closed or self.config["on_unavailable"] == "fail":
                    self.errors.append(str(error))

    def selected(self) -> dict[int, list[JSON]]:
        """Return the configured entries of each counter."""
        if "counters" not in self.config:
            return {counter: [{}] for counter in self.counters()}
        selected: dict[int, list[JSON]] = {}
        for entry in self.config["counters"]:
            selected.setdefault(entry["counter_id"], []).append(entry)
        return selected

    def counters(self) -> list[int]:
        """Return the counters that the token has access to."""

        def fetch(offset: int, rows: int) -> list[JSON]:
            response = self.get("counters", offset=offset + 1, per_page=rows)
            return t.cast("list[JSON]", response["counters"])

        pages = self.pages(fetch, simulation.COUNTERS_PER_PAGE)
        return [row["id"] for page, _ in pages for row in page]

    def read_ids(self, counter: int, ids: set[int]) -> None:
        """Emit the configured uploads."""
        for upload_id in sorted(ids):
            try:
                self.emit((CALLS, counter), self.by_id((CALLS, counter), upload_id))
            except UnknownError:
                if self.config["on_unavailable"] == "fail":
                    self.errors.append(f"unknown upload ID {upload_id}")

    def read_list(self, key: tuple[str, int], *, is_full_table: bool) -> set[int]:
        """Emit what is new, in flight or undated, and commit that."""
        start_date = parse(self.config.get("start_date"))
        old = {} if is_full_table else self.partition(key)
        if start_date < parse(old.get("start_date")):
            old = {}
        bookmark = parse(old.get("replication_key_value"))
        emitted: dict[int, JSON] = {}
        times: list[datetime | None] = []
        full_read = old.get("full_read")
        is_complete = True
        for page, is_enough in self.read_pages(key, old, emitted, start_date):
            times += map(created, page)
            is_complete = not is_enough
        newest = max([bookmark, *filter(None, times)])
        if is_complete:
            is_long = len(times) >= simulation.LONG_LIST_ROWS
            at, value = form(self.clock), form(min(newest, self.clock))
            is_known = is_long and self.is_in_order(times)
            full_read = {"at": at, "bookmark": value} if is_known else None
        for upload_id in sorted(set(old.get("in_flight", ())) - emitted.keys()):
            try:
                emitted[upload_id] = self.by_id(key, upload_id)
            except UnknownError:
                continue
            self.emit(key, emitted[upload_id])
        if (times or emitted) and newest > NEVER and not is_full_table:
            is_moved = start_date > bookmark - self.overlap
            held = start_date if is_moved else parse(old.get("start_date"))
            partition = {
                "context": {"counter_id": key[1]},
                "replication_key": "create_time",
                "replication_key_value": form(min(newest, self.clock)),
                "in_flight": self.in_flight(emitted.values()),
                "start_date": form(held) if held > NEVER else None,
                "full_read": full_read,
            }
            self.commit(key, {k: v for k, v in partition.items() if v is not None})
        return set(emitted)

    def read_pages(
        self,
        key: tuple[str, int],
        old: JSON,
        emitted: dict[int, JSON],
        start_date: datetime,
    ) -> Iterator[tuple[list[JSON], bool]]:
        """Emit what of a list is new or in flight.

        Yields:
            Each page, and whether what follows it is known.
        """
        bookmark = parse(old.get("replication_key_value"))
        pending, full_read = set(old.get("in_flight", ())), old.get("full_read")
        floor = long_ago = bookmark - self.overlap
        rows = simulation.PAGE_ROWS
        if full_read is not None:
            rows = simulation.QUIET_PAGE_ROWS
            long_ago = parse(full_read["bookmark"]) - self.overlap
        may_stop = True
        for page, _ in self.pages(self.fetch_list(key), rows):
            times = [created(row) for row in page]
            is_due = full_read is None or self.is_due(full_read)
            may_stop = may_stop and not is_due and self.is_in_order(times)
            for row, time in zip(page, times, strict=True):
                oldest = max(floor if may_stop else long_ago, start_date)
                if time is None or time >= oldest or row["id"] in pending:
                    emitted[row["id"]] = row
                    self.emit(key, row)
            is_reached = may_stop and any(
                time and time < bookmark - 2 * HOUR for time in times
            )
            is_few = len(pending - emitted.keys()) <= simulation.MAX_PENDING_BY_ID
            yield page, is_reached and is_few
            if is_reached and is_few:
                return
            may_stop = may_stop and not is_reached

    def is_due(self, full_read: JSON) -> bool:
        """Return whether the list has to be read whole."""
        return self.clock - parse(full_read["at"]) >= self.full_read_interval

    def is_in_order(self, times: list[datetime | None]) -> bool:
        """Return whether times come newest first, give or take an hour."""
        earliest = None
        for time in times:
            if time is None or (earliest is not None and time - HOUR > earliest):
                return False
            earliest = min(earliest or time, time)
        return True

    def in_flight(self, rows: t.Iterable[JSON]) -> list[int]:
        """Return the IDs to be tracked."""
        limit = timedelta(days=self.config["in_flight_days"])
        return [
            row["id"]
            for row in rows
            if row["status"] not in FINAL
            and (time := created(row)) is not None
            and self.clock - time < limit
        ]

    def partition(self, key: tuple[str, int]) -> JSON:
        """Return what the last sync left of a counter."""
        stream_state = self.state.get("bookmarks", {}).get(key[0], {})
        for partition in stream_state.get("partitions", ()):
            if partition["context"]["counter_id"] == key[1]:
                return t.cast("JSON", partition)
        return {}

    def commit(self, key: tuple[str, int], partition: JSON) -> None:
        """Keep what the next sync has to know, and tell the target."""
        bookmarks = self.state.setdefault("bookmarks", {})
        partitions = bookmarks.setdefault(key[0], {}).setdefault("partitions", [])
        partitions[:] = [p for p in partitions if p["context"]["counter_id"] != key[1]]
        partitions.append(partition)
        self.write("STATE", value=self.state)

    def pages(
        self, fetch: Callable[[int, int], list[JSON]], rows: int
    ) -> Iterator[tuple[list[JSON], bool]]:
        """Page with an overlap of one row.

        Yields:
            The new rows of a page, and whether it is the last.
        """
        seen: set[int] = set()
        offset = barren = step = 0
        while barren < BARREN_PAGES_OF_A_FAILURE:
            page = fetch(offset, rows)
            is_valid = offset == 0 or (bool(page) and page[0]["id"] in seen)
            fresh = [row for row in page if row["id"] not in seen and is_valid]
            is_last = is_valid and self.is_last(len(page), rows)
            barren = 0 if fresh else barren + 1
            seen.update(row["id"] for row in fresh)
            if fresh or is_last:
                yield fresh, is_last
            if is_last:
                return
            step = max(1, len(page) - 1) if page else step
            offset = offset + step if is_valid else max(0, offset - step)
            rows = max(rows, simulation.PAGE_ROWS)
        msg = "the list moves too much"
        raise CounterError(msg)

    def is_last(self, received: int, requested: int) -> bool:
        """Return whether a valid page ends its list."""
        return received < min(requested, simulation.LAST_PAGE_ROWS)

    def fetch_list(self, key: tuple[str, int]) -> Callable[[int, int], list[JSON]]:
        """Return how a page of a list of uploads is requested."""
        stream, counter = key
        name = "calls_uploadings" if stream == CALLS else "uploadings"
        path = f"counter/{counter}/offline_conversions/{name}"

        def fetch(offset: int, limit: int) -> list[JSON]:
            response = self.get(path, type=TYPES[stream], offset=offset, limit=limit)
            return t.cast("list[JSON]", response["uploadings"])

        return fetch

    def by_id(self, key: tuple[str, int], upload_id: int) -> JSON:
        """Request one upload."""
        stream, counter = key
        name = "calls_uploading" if stream == CALLS else "uploading"
        path = f"counter/{counter}/offline_conversions/{name}/{upload_id}"
        return t.cast("JSON", self.get(path)["uploading"])

    def get(self, path: str, **query: str | int) -> JSON:
        """Send a request until it is answered."""
        for attempt in range(1, ATTEMPTS + 1):
            values = {name: str(value) for name, value in query.items()}
            try:
                status, headers, body = self.api.respond(path, values)
            except Dropped:
                continue
            response: JSON = json.loads(body)
            errors = response.get("errors", [{}])
            if self.clock == NEVER and (status == 200 or errors[0]):
                self.clock = parsedate_to_datetime(headers["Date"])
            kind = errors[0].get("error_type")
            if kind == "quota_requests_by_uid":
                raise StopError(kind)
            if kind == "not_found":
                raise UnknownError
            if kind not in {None, "backend_error"}:
                raise CounterError(kind)
            if status == 200:
                return response
            if status == 504 and attempt > 1 and "limit" in query:
                half = int(query["limit"]) // 2
                query["limit"] = max(half, simulation.SMALLEST_PAGE_ROWS)
        raise CounterError(path)

    def emit(self, key: tuple[str, int], row: JSON) -> None:
        """Write a record."""
        time = created(row)
        record = {
            "counter_id": key[1],
            "id": row["id"],
            "create_time": form(time) if time else None,
            "status": row["status"],
            "source_quantity": row.get("source_quantity"),
        }
        self.write("RECORD", stream=key[0], record=record)

    def write(self, kind: str, **message: t.Any) -> None:
        """Write a message."""
        self.lines.append(json.dumps({"type": kind, **message}))


def parse(value: object) -> datetime:
    """Read a time; of nothing, `NEVER`."""
    return datetime.fromisoformat(str(value)).astimezone(UTC) if value else NEVER


def form(time: datetime) -> str:
    """Write a time."""
    return time.isoformat().replace("+00:00", "Z")


def created(row: JSON) -> datetime | None:
    """Return when an upload was created."""
    return parse(row["create_time"]) if "create_time" in row else None
