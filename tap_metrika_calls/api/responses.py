"""What a response means: its objects, or which error.

Only a JSON body with `errors` is the API's own word about a failure: proxies and front
servers respond too, in plain text or HTML.
"""

from __future__ import annotations

import codecs
import re
import typing as t
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from urllib.parse import urlsplit

import msgspec
import urllib3

from tap_metrika_calls.api import errors, limits
from tap_metrika_calls.timestamps import to_utc

if t.TYPE_CHECKING:
    from collections.abc import Mapping

_Body = t.TypeVar("_Body")

PIECE_BYTES = 2**16
SLOW_CODES = frozenset({408, 499, 504})
PASSING = "4(08|20|25|29|99)|[125].."

BAD_AUTH = (
    "The API rejected the token ({http}). Get a new token with the scope metrika:read "
    "and set oauth_token."
)
DAY = (
    "Daily API quota exceeded ({http}). {reset} Synced data is kept; the next run "
    "resumes from the saved state."
)
DAY_OF_COUNTER = "daily API quota of the counter exceeded ({http}). {reset}"
NO_ACCESS = (
    "inaccessible ({http}): the account needs access to the counter, and the token the "
    "scope metrika:read"
)
NOT_JSON = "{http} without the expected JSON"
PROXY = "A proxy demands a login ({http}): check HTTPS_PROXY and HTTP_PROXY."
REDIRECT = (
    "The API redirects to {host} ({http}); the token is not sent there. Check the "
    "setting api_url."
)
FRONT_SERVER = (
    "{http} without the API's error body: the response comes from a proxy or front "
    "server. Check api_url and the network"
)
REJECTED = (errors.RejectedError, "the API rejected {parameter} ({http})")
UNKNOWN = (errors.UnknownUploadError, "unknown ({http})")
# What the API's own words mean: an `error_type`, or else the HTTP code. As documented
# and as recorded by public clients; English pages say 420 for 429.
MEANINGS: tuple[tuple[str, type[errors.MetrikaError], str], ...] = (
    ("invalid_token|unauthorized|401", errors.FatalError, BAD_AUTH),
    ("quota_requests_by_uid", errors.FatalError, DAY),
    ("quota_requests_by_counter_id", errors.RejectedError, DAY_OF_COUNTER),
    ("access_denied|403", errors.UnavailableError, NO_ACCESS),
    ("not_found|404", *UNKNOWN),
    ("invalid_parameter", *REJECTED),
    ("timeout", errors.SlowError, "{http}"),
    ("backend_error|quota_requests_by_ip", errors.TransientError, "{http}"),
    (f"quota_parallel_requests.*|{PASSING}", errors.TransientError, "{http}"),
    (".*", *REJECTED),
)
# What the code of a response means that is not the API's own.
FOREIGN: tuple[tuple[str, type[errors.MetrikaError], str], ...] = (
    (PASSING, errors.TransientError, NOT_JSON),
    ("407", errors.FatalError, PROXY),
    ("3..", errors.FatalError, REDIRECT),
    (".*", errors.OutageError, FRONT_SERVER),
)


class UploadBody(msgspec.Struct):
    """Body of the response about one upload."""

    uploading: msgspec.Raw

    def __post_init__(self) -> None:
        """Check that there is an upload: an empty one would overwrite a good row."""
        if not re.match(rb'\s*\{\s*"', bytes(self.uploading)):
            raise ValueError


class UploadsBody(msgspec.Struct):
    """Body of a page of uploads, decoded later; `null` is an empty list."""

    uploadings: list[msgspec.Raw] | None


class CountersBody(msgspec.Struct):
    """Body of a page of the counters that the token has access to."""

    counters: list[msgspec.Raw] | None


class _Error(msgspec.Struct):
    error_type: str
    message: t.Any = ""
    location: t.Any = ""


class _ErrorBody(msgspec.Struct):
    errors: t.Annotated[list[_Error], msgspec.Meta(min_length=1)]


@dataclass(frozen=True)
class Response:
    """A whole response: HTTP code, headers found in any case, decompressed body."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray

    @property
    def date(self) -> datetime | None:
        """The time of the server in UTC, from the header `Date`."""
        try:
            return to_utc(parsedate_to_datetime(self.headers.get("Date", "")))
        except (ValueError, OverflowError):
            return None

    @cached_property
    def errors(self) -> list[_Error]:
        """The API's own words about a failure; empty if there are none."""
        if b'"errors"' not in self.body:  # many times faster than decoding
            return []
        try:
            return _ERROR_BODY.decode(self.body).errors
        except (ValueError, RecursionError):
            return []


# Made at import: msgspec crashes if threads are the first to decode a type.
_ERROR_BODY = msgspec.json.Decoder(_ErrorBody)
UPLOAD = msgspec.json.Decoder(UploadBody)
UPLOADS = msgspec.json.Decoder(UploadsBody)
COUNTERS = msgspec.json.Decoder(CountersBody)


def decode(response: Response, decoder: msgspec.json.Decoder[_Body]) -> _Body:
    """Return the body of a response.

    Raises:
        MetrikaError: Of the class that says what a sync has to do about it.
    """
    if response.errors or response.status != 200:  # noqa: PLR2004
        raise _error(response)
    body = response.body.removeprefix(codecs.BOM_UTF8)
    try:
        # msgspec does not look into what it leaves raw. A page as one text would take
        # twice its memory.
        utf8 = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(body), PIECE_BYTES):
            utf8.decode(body[start : start + PIECE_BYTES])
        try:
            return decoder.decode(body)
        except msgspec.DecodeError:
            return decoder.decode(replace_surrogates(body))
    except (ValueError, RecursionError):
        msg = f"HTTP 200 with {len(body)} bytes that are not the expected JSON"
        raise errors.TransientError(msg) from None


def replace_surrogates(body: bytes | bytearray) -> bytes:
    """Return JSON with U+FFFD for half a surrogate pair, which UTF-8 cannot express."""
    return _ESCAPE.sub(lambda m: rb"\ufffd" if m[2] else m[0], body)


def _error(response: Response) -> errors.MetrikaError:
    """Return what a failure means; a known `error_type` decides before the code."""
    types = [e.error_type for e in response.errors if _NAME.fullmatch(e.error_type)]
    table = MEANINGS if response.errors else FOREIGN
    pairs = [(word, meaning) for word in types for meaning in MEANINGS[:-1]]
    pairs += [(str(response.status), meaning) for meaning in table]
    found = (pair for pair in pairs if re.fullmatch(pair[1][0], pair[0]))
    word, (_, kind, template) = next(found)  # the last pattern takes any code
    parameter = _invalid_parameter(response.errors)
    if word == "invalid_parameter" and parameter is None:
        kind, template = UNKNOWN
    if kind is errors.TransientError and response.status in SLOW_CODES:
        kind = errors.SlowError
    error = kind(
        template.format(
            http=" ".join((f"HTTP {response.status}", *types)),
            parameter=parameter or "the request",
            reset=_reset(response),
            host=_host(response),
        )
    )
    if isinstance(error, errors.TransientError):
        error.retry_after = _retry_after(response)
    return error


def _invalid_parameter(items: list[_Error]) -> str | None:
    """Return the parameter that is invalid, unless it is an ID or not named.

    Recorded responses name it in `location`, in quotes in the message, or not at all.
    """
    for item in items:
        for name in (str(item.location or ""), *_QUOTED.findall(str(item.message))):
            if name and not name.lower().endswith("id"):
                return name if _NAME.fullmatch(name) else "a parameter"
    return None


def _reset(response: Response) -> str:
    now = response.date or datetime.now(UTC)
    minutes = 24 * 60 - now.hour * 60 - now.minute - (now.second > 0)
    return f"It resets at 00:00 GMT, in {minutes // 60} h {minutes % 60:02} min."


def _retry_after(response: Response) -> float:
    value = response.headers.get("Retry-After", "")
    try:
        seconds = urllib3.Retry().parse_retry_after(value)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0
    return min(seconds, limits.MAX_RETRY_AFTER)


def _host(response: Response) -> str:
    try:
        host = urlsplit(response.headers.get("Location", "")).hostname
    except ValueError:
        host = None
    return host or "an address without a host"


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
_QUOTED = re.compile(r"['\"`«]([A-Za-z]\w*)['\"`»]")
_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(
    rb"\\(?:(%b\\%b)|(%b|%b)|.)" % (_HIGH, _LOW, _HIGH, _LOW), re.DOTALL
)
