"""Instants: how they are read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tap_metrika_calls.timestamps import format_time, parse_time, to_utc

WEST = timezone(timedelta(hours=-5, minutes=-30))


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T03:00:00+03:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-02-31", None),
        ("10000-01-01", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:00:00-14:00", None),
        ("", None),
        ("soon", None),
        (20260131, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_parse_time(value: object, instant: datetime | None) -> None:
    parsed = parse_time(value)
    assert parsed == instant
    assert parsed is None or parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00Z"),
        (datetime(2026, 1, 31, 1, 2, 3, 40, tzinfo=UTC), "2026-01-31T01:02:03.000040Z"),
        (datetime(2026, 1, 31, tzinfo=WEST), "2026-01-31T05:30:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_format_time(instant: datetime, text: str) -> None:
    assert format_time(instant) == text
    assert parse_time(text) == instant


def test_without_a_zone_a_time_is_utc() -> None:
    naive = datetime(2026, 1, 31)  # noqa: DTZ001
    assert to_utc(naive) == datetime(2026, 1, 31, tzinfo=UTC)
    with pytest.raises(OverflowError):
        to_utc(datetime(9999, 12, 31, 23, tzinfo=WEST))
