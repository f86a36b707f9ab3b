"""What an error of the API means for a sync."""

from __future__ import annotations

import re
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec
from singer_sdk.exceptions import FatalSyncError

if t.TYPE_CHECKING:
    from collections.abc import Mapping

# English pages of the documentation say 420, the Russian ones 429.
THROTTLED = (420, HTTPStatus.TOO_MANY_REQUESTS)
ADVICE = {
    403: "the account has to have access to it, and the token the scope metrika:read",
    404: "check its number",
    0: "run the sync again later, and report it if it stays so",
}
DAY_QUOTAS = frozenset({"quota_requests_by_uid", "quota_requests_by_counter_id"})


class MetrikaError(FatalSyncError):
    """The sync has to stop; the message is one line for the user."""


class TransientError(MetrikaError):
    """The same request may well succeed a little later.

    Attributes:
        retry_after: Seconds that the API asked to wait, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CounterError(MetrikaError):
    """One counter cannot be read; the others can."""


class UploadingUnknownError(MetrikaError):
    """The API does not know one uploading ID; it may know the others."""


class SyncFailedError(FatalSyncError):
    """All that went wrong in a sync, a line each.

    Attributes:
        lines: One line for each failure.
    """

    def __init__(self, lines: t.Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    wanted: str,
    now: datetime | None = None,
) -> MetrikaError:
    """Tell what an answer other than 200 means.

    The messages of the API vary and may echo what was sent, so only the HTTP code
    and the `error_type` decide, and only they are shown.

    Args:
        status: HTTP code.
        headers: Headers of the answer.
        body: Body of the answer, of any content.
        wanted: What was asked for, for the message: "counter 1: list of uploads".
        now: The time of the answer, in UTC.

    Returns:
        An error of the class that fits.
    """
    now = now or datetime.now(UTC)
    types = error_types(body)
    told = " ".join((f"HTTP {status}", *types))
    if status in THROTTLED and DAY_QUOTAS.intersection(types):
        return MetrikaError(_quota_used_up(told, wanted, now))
    if status in THROTTLED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(told, retry_after(headers.get("Retry-After"), now))
    if status == HTTPStatus.UNAUTHORIZED or "invalid_token" in types:
        return MetrikaError(
            f"The API refused the token ({told}; {wanted}). Get a new token with "
            "the scope metrika:read and put it into the setting oauth_token."
        )
    if status == HTTPStatus.NOT_FOUND or "invalid_parameter" in types:
        return UploadingUnknownError(f"{told}: {ADVICE[404]}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        host = _host(headers.get("Location", ""))
        return MetrikaError(
            f"The API answered with a redirect to {host} (HTTP {status}; {wanted}). "
            "The token is not sent there: check the setting api_url."
        )
    return CounterError(f"{told}: {ADVICE.get(status, ADVICE[0])}")


def error_types(body: bytes) -> tuple[str, ...]:
    """The `error_type`s of the documented error body; none of any other body."""
    try:
        errors = msgspec.json.decode(body, type=_ErrorBody).errors
    except (ValueError, RecursionError):
        return ()
    types = (error.get("error_type") for error in errors)
    return tuple(
        kind for kind in types if isinstance(kind, str) and _NAME.fullmatch(kind)
    )


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, which holds seconds or a date.

    Returns:
        Seconds from `now`, not negative; None where there is nothing readable.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


class _ErrorBody(msgspec.Struct):
    errors: list[dict[str, t.Any]]


_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _quota_used_up(told: str, wanted: str, now: datetime) -> str:
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    minutes = int((midnight - now).total_seconds()) // 60
    return (
        f"The API's quota of the day is used up ({told}; {wanted}). It resets at "
        f"00:00 GMT, in {minutes // 60} h {minutes % 60:02} min. What was loaded is "
        "kept: the next run goes on from the state."
    )


def _host(location: str) -> str:
    try:
        return urlsplit(location).hostname or "an address without a host"
    except ValueError:
        return "an address that is not readable"
