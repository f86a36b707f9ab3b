"""Uploads by the million: processed, and computed instead of kept."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Iterable

NEWEST_AGE = timedelta(minutes=3)
SHUFFLE_STEP = 1_000_003  # prime, and no divisor of a realistic number of uploads
ENCODED_MINUTES = tuple(
    f"T{m // 60:02}:{m % 60:02}:00Z".encode() for m in range(24 * 60)
)
FRAGMENT = (
    b'{"id":%%d,"create_time":"%%b%%b","source_quantity":10,"line_quantity":9,'
    b'"comment":"' + "звонки за неделю".encode() + b'","client_id_type":"CLIENT_ID",'
    b'"status":"PROCESSED",%b"type":"%b","linked_quantity":6,'
    b'"user_not_found_quantity":2,"goal_not_found_quantity":0}'
)
CALLS = b'"static_calls_quantity":1,"dynamic_calls_quantity":8,'


@dataclass
class Bulk:
    """Computed uploads of one kind, one created each minute.

    Attributes:
        first_id: The ID of the oldest.
        kind: Their `type`.
        epoch: The newest was created `NEWEST_AGE` before.
        size: How many there are, with the deleted ones.
    """

    first_id: int
    kind: str
    epoch: datetime
    size: int = 0
    _deleted: set[int] = field(default_factory=set)

    def __contains__(self, upload_id: int) -> bool:
        """Whether an ID is that of a computed upload."""
        index = upload_id - self.first_id
        return 0 <= index < self.size and index not in self._deleted

    def delete(self, upload_id: int) -> None:
        """Delete an upload."""
        self._deleted.add(upload_id - self.first_id)

    def __len__(self) -> int:
        """Return how many are left."""
        return self.size - len(self._deleted)

    def page(self, order: str, start: int, stop: int) -> list[bytes]:
        """Return some of them as JSON; deleting one does not change the order."""
        places = range(self.size)
        if order == "newest":
            places = places[::-1]
        if not self._deleted:
            return self._encoded(self._ordered(places[start:stop], order))
        left = (i for i in self._ordered(places, order) if i not in self._deleted)
        return self._encoded(islice(left, start, stop))

    def decoded(self, upload_id: int) -> dict[str, t.Any]:
        """Return one upload."""
        (encoded,) = self._encoded((upload_id - self.first_id,))
        upload: dict[str, t.Any] = msgspec.json.decode(encoded)
        return upload

    def _ordered(self, places: Iterable[int], order: str) -> Iterable[int]:
        if order == "shuffled":
            return (place * SHUFFLE_STEP % self.size for place in places)
        return places

    def _encoded(self, indices: Iterable[int]) -> list[bytes]:
        calls = CALLS if self.kind == "CALLS" else b""
        fragment = FRAGMENT % (calls, self.kind.encode())
        newest = (self.epoch - NEWEST_AGE).replace(second=0, microsecond=0)
        first_minute = int(newest.timestamp()) // 60 - self.size + 1
        days: dict[int, bytes] = {}
        encoded = []
        for index in indices:
            day, minute = divmod(first_minute + index, len(ENCODED_MINUTES))
            if day not in days:
                date = datetime.fromtimestamp(day * 86_400, UTC)
                days[day] = date.date().isoformat().encode()
            encoded.append(
                fragment % (self.first_id + index, days[day], ENCODED_MINUTES[minute])
            )
        return encoded
