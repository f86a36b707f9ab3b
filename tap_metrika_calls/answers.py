"""Bodies of the API's answers."""

from __future__ import annotations

import contextlib
import re
import typing as t

import msgspec

INT64 = range(-(2**63), 2**63)

Fields: t.TypeAlias = dict[str, t.Any]
"""An object as the API sends it: an upload, or a counter."""


class UploadingBody(msgspec.Struct):
    """Body of the answer on one upload."""

    uploading: msgspec.Raw


class ListBody(msgspec.Struct):
    """Body of one page of a counter's uploads, each read only when its turn comes."""

    uploadings: list[msgspec.Raw]


class CountersBody(msgspec.Struct):
    """Body of one page of the counters that the token sees."""

    counters: list[msgspec.Raw]
    rows: t.Any = 0


_Body = t.TypeVar("_Body", UploadingBody, ListBody, CountersBody)


def read_body(body: bytes, kind: type[_Body]) -> _Body:
    """Read a body.

    Half of a surrogate pair has no form in UTF-8, so it becomes U+FFFD.

    Raises:
        ValueError: If the body is not as documented.
        RecursionError: If it is nested too deep to be read.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError:
        return msgspec.json.decode(_ESCAPE.sub(_mend, body), type=kind)


def fields(raw: msgspec.Raw) -> Fields:
    """Read one object; empty where there is none that can be read.

    Numbers that no target can store are given as strings, which fit no number's
    property.
    """
    with contextlib.suppress(msgspec.ValidationError, UnicodeDecodeError):
        return _quick.decode(raw)
    try:
        odd = _any.decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return {}
    return {
        name: str(value) if isinstance(value, int) and value not in INT64 else value
        for name, value in odd.items()
    }


def usable_id(source: Fields) -> int | None:
    """The ID of an object, or None if it is not the integer that a key has to be."""
    value = source.get("id")
    return value if type(value) is int else None


_Int64 = t.Annotated[int, msgspec.Meta(ge=INT64.start, le=INT64.stop - 1)]
_Value = _Int64 | str | float | bool | list[t.Any] | Fields | None
_quick = msgspec.json.Decoder(dict[str, _Value])
_any = msgspec.json.Decoder(Fields, float_hook=str)

_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(
    rb"\\(?:(%b\\%b)|(%b|%b)|.)" % (_HIGH, _LOW, _HIGH, _LOW), re.DOTALL
)


def _mend(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[2] else escape[0]
