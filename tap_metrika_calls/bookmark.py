"""How far the bookmark of a counter may move.

An upload changes for hours after it was created and carries no time of its last
change. So the bookmark waits for it: everything created before the bookmark is known
to have been emitted in its final status, and everything else is emitted again.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from tap_metrika_calls.settings import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

FINAL = frozenset({"PROCESSED", "LINKAGE_FAILURE"})
STATUSES = FINAL | {"PREPARED", "UPLOADED", "EXPORTED", "MATCHED"}


@dataclass(slots=True)
class Bookmark:
    """The bookmark of one counter during one sync.

    All times are in UTC.

    Attributes:
        now: When the sync began; the bookmark never passes it.
        unsettled: How long an unfinished upload holds the bookmark back.
        start: Uploads created before it are left out; None leaves out none.
        floor: The `start_date` that held when the counter was read from its start.
        stuck: IDs of unfinished uploads too old to hold the bookmark back.
    """

    now: datetime
    unsettled: timedelta
    start: datetime | None = None
    floor: datetime | None = None
    stuck: list[int] = field(default_factory=list)
    _newest: datetime | None = None
    _oldest_in_flight: datetime | None = None

    @classmethod
    def resume(
        cls,
        state: Mapping[str, t.Any],
        start_date: datetime | None,
        now: datetime,
        unsettled: timedelta,
    ) -> Bookmark:
        """Go on from what the last sync left; not from a bookmark in the future.

        Args:
            state: State of the counter's partition, empty for a new counter.
            start_date: The setting.
            now: When the sync began.
            unsettled: How long an unfinished upload holds the bookmark back.
        """
        value = parse_time(state.get("replication_key_value"))
        if value is not None and value > now:
            value = None
        floor = parse_time(state.get("start_date"))
        moved_back = floor is not None and (start_date is None or start_date < floor)
        moved_on = start_date is not None and (value is None or start_date > value)
        if value is None or moved_back or moved_on:
            return cls(now, unsettled, start_date, start_date)
        return cls(now, unsettled, value, floor)

    def wants(self, created: datetime | None) -> bool:
        """Whether an upload created then is to be emitted."""
        return created is None or self.start is None or created >= self.start

    def saw(
        self, uploading_id: int, created: datetime | None, status: str | None
    ) -> None:
        """Take note of an upload that is emitted."""
        if created is None:
            return
        if self._newest is None or created > self._newest:
            self._newest = created
        if status in FINAL:
            return
        if self.now - created >= self.unsettled:
            self.stuck.append(uploading_id)
        elif self._oldest_in_flight is None or created < self._oldest_in_flight:
            self._oldest_in_flight = created

    def state(self) -> dict[str, str]:
        """What the next sync has to know; empty where the last state still holds."""
        if self._newest is None:
            return {}
        value = min(self._oldest_in_flight or self._newest, self.now)
        state = {
            "replication_key": "create_time",
            "replication_key_value": normal_form(value),
        }
        if self.floor is not None:
            state["start_date"] = normal_form(self.floor)
        return state


def normal_form(instant: datetime) -> str:
    """Write an instant in UTC as `2026-01-31T00:00:00Z`."""
    return instant.isoformat().replace("+00:00", "Z")
