"""Which uploads of a counter a sync emits, and what the next sync has to know.

An upload changes for hours after its creation and carries no time of its last change,
and it may become visible late. So a sync emits what was created since the bookmark less
one hour, and what was in flight in the last sync.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import timedelta

from tap_metrika_calls.output.lines import listed
from tap_metrika_calls.sync.state import FullRead, Partition
from tap_metrika_calls.timestamps import format_time, parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tap_metrika_calls.sync.records import UploadRow

FINAL_STATUSES = frozenset({"PROCESSED", "LINKAGE_FAILURE"})
STATUSES = FINAL_STATUSES | {"PREPARED", "UPLOADED", "EXPORTED", "MATCHED"}

LATE_VISIBILITY = timedelta(hours=1)
ORDER_TOLERANCE = timedelta(hours=1)
STOP_MARGIN = LATE_VISIBILITY + ORDER_TOLERANCE
FULL_READ_INTERVAL = timedelta(days=7)
LONG_LIST_ROWS = 100  # only of longer lists is it worth knowing the order
MAX_IN_FLIGHT = 40_000  # IDs in the state of a counter: some 0.8 MB


@dataclass(slots=True)
class Bookmark:
    """The bookmark of one whole counter during one sync; all times are in UTC.

    Attributes:
        now: The clock of the sync, which the bookmark never passes.
        in_flight_days: How many days after creation an upload in flight is tracked.
        start_date: Uploads created before it are not emitted.
        value: The bookmark of the last sync; None to read from the start.
        recorded_start: The start date that held when it was read from its start.
        floor: Uploads created since then are emitted; None for all.
        may_stop_early: Whether the list may be left at what is already known.
        is_in_future: Whether the last bookmark was ignored for lying in the future.
        expired: IDs still in flight that are no longer tracked.
        is_held: Whether more is in flight than a state can hold.
    """

    now: datetime
    in_flight_days: int
    start_date: datetime | None
    value: datetime | None = None
    recorded_start: datetime | None = None
    floor: datetime | None = None
    may_stop_early: bool = False
    is_in_future: bool = False
    expired: list[int] = field(default_factory=list)
    is_held: bool = False
    _tracked: frozenset[int] = frozenset()
    _full_read: FullRead | None = None
    _newest: datetime | None = None
    _in_flight: dict[int, datetime] = field(default_factory=dict)
    _rows: int = 0
    _has_received: bool = False
    _earliest: datetime | None = None
    _is_newest_first: bool = True

    @classmethod
    def resume(
        cls,
        last: Partition,
        *,
        now: datetime,
        start_date: datetime | None,
        in_flight_days: int,
    ) -> Bookmark:
        """Continue from the state of the last sync.

        The counter is read from its start if there is no bookmark, if the bookmark lies
        in the future, or if the start date was moved before the one it was read from,
        or past the bookmark.
        """
        value = parse_time(last.replication_key_value)
        recorded = parse_time(last.start_date)
        bookmark = cls(now, in_flight_days, start_date)
        bookmark._tracked = frozenset(last.in_flight)
        bookmark.is_in_future = value is not None and value > now
        moved_back = recorded and (start_date is None or start_date < recorded)
        moved_on = False
        if value is not None and start_date is not None and start_date != recorded:
            moved_on = start_date > value - LATE_VISIBILITY
        if value is None or bookmark.is_in_future or moved_back or moved_on:
            bookmark.recorded_start = bookmark.floor = start_date
            return bookmark
        bookmark.value, bookmark.recorded_start = value, recorded
        bookmark._lower_floor(value)
        bookmark._full_read = last.full_read
        if last.full_read is not None:
            read_at = parse_time(last.full_read.at)
            bookmark.may_stop_early = True
            if read_at is None or not read_at <= now < read_at + FULL_READ_INTERVAL:
                bookmark.require_full_read()
        return bookmark

    def require_full_read(self) -> None:
        """Read the list to its end, and emit all since the last time it was.

        What was passed so far is newer than either floor.
        """
        if self.may_stop_early and self._full_read is not None:
            self._lower_floor(parse_time(self._full_read.bookmark))
        self.may_stop_early = False

    def observe_page(self, rows: Iterable[UploadRow]) -> bool:
        """Note the order of a page; call it before `includes` for its rows.

        Returns:
            Whether all that follows in the list was created long before the bookmark.
        """
        oldest = self._earliest
        for row in rows:
            created = row.create_time
            self._rows += 1
            if created is None:
                self._is_newest_first = False
                continue
            if self._newest is None or created > self._newest:
                self._newest = created
            if oldest is None or created < oldest:
                oldest = created
            elif created - oldest > ORDER_TOLERANCE:
                self._is_newest_first = False
        self._earliest = oldest
        if not self._is_newest_first:
            self.require_full_read()
        if not self.may_stop_early or self.value is None or oldest is None:
            return False
        return oldest < self.value - STOP_MARGIN

    def includes(self, row: UploadRow) -> bool:
        """Return whether an upload is emitted for its creation time."""
        created = row.create_time
        return created is None or self.floor is None or created >= self.floor

    def track(self, row: UploadRow) -> None:
        """Note the status of an upload that is emitted."""
        self._has_received = True
        created = row.create_time
        if row.status in FINAL_STATUSES or created is None or row.id is None:
            return
        if self.now - created < timedelta(days=self.in_flight_days):
            self._in_flight[row.id] = created
        elif row.id in self._tracked or self.value is None or created > self.value:
            self.expired.append(row.id)

    def partition(self, last: Partition, *, is_complete: bool) -> Partition:
        """Return the state of the counter after this sync.

        Args:
            last: The state after the last sync, kept where nothing was received.
            is_complete: Whether the list was read to its end.
        """
        newest = self._newest or self.value
        if newest is None or not (self._rows or self._has_received):
            return last
        value = min(max(newest, self.value or newest), self.now)
        self.is_held = len(self._in_flight) > MAX_IN_FLIGHT
        if self.is_held:
            value = min(value, *self._in_flight.values())
        full_read = self._full_read
        if is_complete:
            full_read = FullRead(format_time(self.now), format_time(value))
            if self._rows < LONG_LIST_ROWS or not self._is_newest_first:
                full_read = None
        start = self.recorded_start
        return Partition(
            context=last.context,
            replication_key="create_time",
            replication_key_value=format_time(value),
            start_date=format_time(start) if start else None,
            in_flight=[] if self.is_held else list(self._in_flight),
            full_read=full_read,
        )

    def lines(self) -> Iterator[str]:
        """Yield what users should know about the counter."""
        if self.is_in_future:
            yield (
                "the bookmark lies in the future, so the counter was read from its "
                "start"
            )
        if self.expired:
            many = len(self.expired) > 1
            yield (
                f"{len(self.expired)} {'uploads are' if many else 'upload is'} still "
                f"in flight after {self.in_flight_days} days and no longer tracked: "
                f"{listed(self.expired)}"
            )
        if self.is_held:
            yield (
                f"{len(self._in_flight)} uploads are in flight, more than the state "
                "holds: the bookmark stays at the oldest of them"
            )

    def _lower_floor(self, value: datetime | None) -> None:
        if value is not None:
            floor = value - LATE_VISIBILITY
            self.floor = max(floor, self.start_date or floor)
