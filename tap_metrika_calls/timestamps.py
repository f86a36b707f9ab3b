"""Instants: how they are read and written."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(value: object) -> datetime | None:
    """Return the instant that an ISO 8601 text names, in UTC.

    A text without a time zone is taken as UTC. Returns None for anything else.
    """
    if not isinstance(value, str):
        return None
    try:
        return to_utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return None


def to_utc(instant: datetime) -> datetime:
    """Return an instant in UTC; one without a time zone is taken as UTC.

    Raises:
        OverflowError: If the instant lies outside of the years 1 to 9999 in UTC.
    """
    if instant.tzinfo is None:
        return instant.replace(tzinfo=UTC)
    return instant.astimezone(UTC)


def format_time(instant: datetime) -> str:
    """Return the one form in which times are emitted: `2026-01-31T00:00:00Z`."""
    return to_utc(instant).isoformat().replace("+00:00", "Z")
