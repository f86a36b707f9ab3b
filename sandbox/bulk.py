"""Uploads by the million: finished long ago, and computed instead of kept."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
MINUTES = tuple(f"T{m // 60:02}:{m % 60:02}:00Z".encode() for m in range(24 * 60))
FRAGMENT = (
    b'{"id":%d,"create_time":"%b%b","source_quantity":10,"line_quantity":9,'
    b'"comment":"' + "звонки за неделю".encode() + b'","client_id_type":"CLIENT_ID",'
    b'"status":"PROCESSED","static_calls_quantity":1,"dynamic_calls_quantity":8,'
    b'"type":"CALLS","linked_quantity":6,"user_not_found_quantity":2,'
    b'"goal_not_found_quantity":0}'
)


def bulk_id(counter_id: int, index: int) -> int:
    """The ID of a computed upload."""
    return counter_id * 10_000_000 + index


def bulk_upload(counter_id: int, index: int) -> dict[str, t.Any]:
    """One computed upload."""
    (encoded,) = encoded_uploads(counter_id, (index,))
    upload: dict[str, t.Any] = msgspec.json.decode(encoded)
    return upload


def encoded_uploads(counter_id: int, indices: Iterable[int]) -> list[bytes]:
    """Computed uploads as JSON, one created each minute."""
    first = bulk_id(counter_id, 0)
    days: dict[int, bytes] = {}
    encoded = []
    for index in indices:
        day, minute = divmod(index, len(MINUTES))
        if day not in days:
            date = FIRST_DAY + timedelta(days=day)
            days[day] = date.date().isoformat().encode()
        encoded.append(FRAGMENT % (first + index, days[day], MINUTES[minute]))
    return encoded
