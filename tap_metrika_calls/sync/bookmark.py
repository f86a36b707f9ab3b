"""Which uploads of a counter a sync emits, and what the next sync has to know.

An upload changes for hours after its creation and carries no time of its last change,
and it may become visible late. So a sync emits what was created since the bookmark less
one hour, and what was in flight in the last sync.
"""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import sub

from tap_metrika_calls.output.lines import counted, listed
from tap_metrika_calls.sync.state import FullRead, Partition
from tap_metrika_calls.timestamps import format_time, parse_time

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_metrika_calls.sync.records import UploadRow

FINAL_STATUSES = frozenset({"PROCESSED", "LINKAGE_FAILURE"})
STATUSES = FINAL_STATUSES | {"PREPARED", "UPLOADED", "EXPORTED", "MATCHED"}

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # no bookmark is older
LATE_VISIBILITY = timedelta(hours=1)
ORDER_TOLERANCE = timedelta(hours=1)
STOP_MARGIN = LATE_VISIBILITY + ORDER_TOLERANCE
FULL_READ_INTERVAL = timedelta(days=7)
LONG_LIST_ROWS = 100  # only of longer lists is it worth knowing the order
MAX_IN_FLIGHT = 40_000  # IDs in the state of a counter: some 0.8 MB

IN_FUTURE = "the bookmark lies in the future, so the counter was read from its start"
EXPIRED = "{} still in flight after {} days and no longer tracked: {}"
HELD = "{} uploads in flight, too many for the state: the bookmark stays at the oldest"


class Bookmark:
    """The bookmark of one whole counter during one sync; all times are in UTC.

    Attributes:
        floor: Uploads created since then are emitted.
        may_stop_early: Whether the list may be left at what is already known.
        lines: What users should know about the counter.
    """

    def __init__(
        self,
        last: Partition,
        *,
        now: datetime,
        start_date: datetime | None,
        in_flight_days: int,
    ) -> None:
        """Continue from the state of the last sync.

        The counter is read from its start if there is no bookmark, if the bookmark lies
        in the future, or if the start date was moved before the one it was read from,
        or past the bookmark.
        """
        self._last, self._now, self._start_date = last, now, start_date
        self._in_flight_days = in_flight_days
        self._tracked = frozenset(last.in_flight)
        self._full_read = last.full_read
        self._value = _bookmark_time(last.replication_key_value)
        self._recorded_start = parse_time(last.start_date)
        is_in_future = self._value > now
        self.lines = [IN_FUTURE] if is_in_future else []
        if is_in_future or self._value == FIRST or self._is_start_moved():
            self._value, self._full_read = FIRST, None
            self._recorded_start = start_date
        self.floor = self._floor(self._value)
        self._expired: list[int] = []
        self._in_flight: dict[int, datetime] = {}
        self._rows = 0
        self._newest, self._oldest = FIRST, LAST
        self._is_newest_first = True
        self.may_stop_early = self._full_read is not None
        read_at = self._full_read and parse_time(self._full_read.at)
        if read_at and not read_at <= now < read_at + FULL_READ_INTERVAL:
            self.require_full_read()

    def require_full_read(self) -> None:
        """Read the list to its end, and emit all since the last time it was.

        What was passed so far is newer than either floor.
        """
        if self._full_read is not None:
            self.floor = self._floor(_bookmark_time(self._full_read.bookmark))
        self.may_stop_early = False

    def observe_page(self, rows: Sequence[UploadRow]) -> bool:
        """Note the order of a page; call it before `includes` for its rows.

        Returns:
            Whether all that follows in the list was created long before the bookmark.
        """
        times = [row.create_time for row in rows if row.create_time is not None]
        oldest_before = accumulate(times, min, initial=self._oldest)
        delays = map(sub, times, oldest_before)
        if len(times) < len(rows) or any(delay > ORDER_TOLERANCE for delay in delays):
            self._is_newest_first = False
        self._rows += len(rows)
        self._newest = max([self._newest, *times])
        self._oldest = min([self._oldest, *times])
        if not self._is_newest_first:
            self.require_full_read()
        return self.may_stop_early and self._oldest < self._value - STOP_MARGIN

    def includes(self, row: UploadRow) -> bool:
        """Return whether an upload is emitted for its creation time."""
        return row.create_time is None or row.create_time >= self.floor

    def track(self, row: UploadRow) -> None:
        """Note the status of an upload that is emitted."""
        created = row.create_time
        if row.status in FINAL_STATUSES or created is None or row.id is None:
            return
        if self._now - created < timedelta(days=self._in_flight_days):
            self._in_flight[row.id] = created
        elif created > self._value or row.id in self._tracked:
            self._expired.append(row.id)

    def partition(self, *, is_complete: bool) -> Partition:
        """Return the state of the counter after this sync; add the last `lines`.

        It stays as it was if nothing was received.

        Args:
            is_complete: Whether the list was read to its end.
        """
        if self._expired:
            uploads = counted(len(self._expired), "upload")
            uploads += " is" if len(self._expired) == 1 else " are"
            ids = listed(self._expired)
            self.lines.append(EXPIRED.format(uploads, self._in_flight_days, ids))
        has_no_time = self._oldest == LAST and self._value == FIRST
        if not self._rows or has_no_time:
            return self._last
        value = max(min(max(self._newest, self._value), self._now), EPOCH)
        in_flight = list(self._in_flight)
        if len(in_flight) > MAX_IN_FLIGHT:
            self.lines.append(HELD.format(len(in_flight)))
            value, in_flight = min(value, *self._in_flight.values()), []
        full_read = self._full_read
        if is_complete:
            is_long = self._rows >= LONG_LIST_ROWS
            full_read = FullRead(format_time(self._now), format_time(value))
            full_read = full_read if is_long and self._is_newest_first else None
        start = self._recorded_start
        return Partition(
            context=self._last.context,
            replication_key="create_time",
            replication_key_value=format_time(value),
            start_date=format_time(start) if start else None,
            in_flight=in_flight,
            full_read=full_read,
        )

    def _is_start_moved(self) -> bool:
        """Return whether more, or less, is wanted than the bookmarks stand for."""
        start, recorded = self._start_date, self._recorded_start
        if start is None or start == recorded:
            return start != recorded
        # What a full read will recover must not be passed over either.
        full_read = self._full_read
        value = _bookmark_time(full_read.bookmark) if full_read else self._value
        is_earlier = recorded is not None and start < recorded
        return is_earlier or start > value - LATE_VISIBILITY

    def _floor(self, value: datetime) -> datetime:
        floor = value if value == FIRST else value - LATE_VISIBILITY
        return max(floor, self._start_date or floor)


def _bookmark_time(text: str | None) -> datetime:
    """Return a bookmark from which hours can be subtracted; FIRST if there is none."""
    value = parse_time(text)
    return max(value, EPOCH) if value else FIRST
