"""Objects of the API as records that fit the schema exactly.

The schema is the decoder: a struct with its fields checks types and reads times in C.
What does not fit is decoded value by value, and each oddity is reported once per sync.
"""

from __future__ import annotations

import re
import typing as t
from datetime import UTC, datetime
from functools import partial

import msgspec

from tap_metrika_calls.timestamps import parse_time, to_utc

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_metrika_calls.output.lines import GroupedLines

INT64 = range(-(2**63), 2**63)
UNDOCUMENTED = "Undocumented fields were dropped: {}"
MISFIT = "Values of an unexpected type were replaced with null: {}"

Record: t.TypeAlias = dict[str, t.Any]


class Row(t.Protocol):
    """An upload or a counter: an attribute for each documented field."""

    id: int | None
    create_time: datetime | None


class UploadRow(Row, t.Protocol):
    """An upload."""

    status: str | None
    type: str | None


_Int64 = t.Annotated[int, msgspec.Meta(ge=INT64.start, le=INT64.stop - 1)]
# By the name of a column's type: how it is decoded. "text" is a number's exact text.
_DECODED: dict[str, t.Any] = {
    "integer": _Int64 | None,
    "text": _Int64 | None,
    "number": _Int64 | float | None,
    "string": str | None,
    "date-time": datetime | None,
}


class RecordDecoder:
    """Decodes the objects of one stream."""

    def __init__(
        self,
        types: Mapping[str, str],
        warnings: GroupedLines,
        *,
        dropped: Iterable[str] = (),
        constants: Iterable[str] = (),
        reports_others: bool = True,
    ) -> None:
        """Make decoders of the columns.

        Args:
            types: The type of each column: a key of the table above.
            warnings: Takes a line for what does not fit.
            dropped: Columns that are not selected.
            constants: Columns that the API does not send.
            reports_others: Whether fields that are no columns are worth a warning.
        """
        self._warnings = warnings
        self._dropped = tuple(dropped)
        self._reports_others = reports_others
        self._texts = [name for name, kind in types.items() if kind == "text"]
        self._types = {k: v for k, v in types.items() if k not in constants}
        fields = [(name, _DECODED[kind], None) for name, kind in self._types.items()]
        # Rows have no cycles, so nobody need look for them.
        make = partial(msgspec.defstruct, "Row", fields, gc=False)
        self._struct = make()
        strict = make(forbid_unknown_fields=reports_others)
        self._strict = msgspec.json.Decoder(strict)
        self._lenient: msgspec.json.Decoder[t.Any] = msgspec.json.Decoder(self._struct)

    def decode(self, raw: msgspec.Raw) -> t.Any:  # noqa: ANN401
        """Return an object as a row; what does not fit is null, and reported."""
        row: t.Any
        try:
            row = self._strict.decode(raw)
        except (ValueError, RecursionError):
            row = self._decode_odd(bytes(raw))
        created = row.create_time
        if created is not None and created.tzinfo is not UTC:
            try:
                row.create_time = to_utc(created)
            except OverflowError:
                row.create_time = None
                self._warnings.add(MISFIT, "create_time", row.id)
        return row

    def record(self, row: Row, constants: Record) -> Record:
        """Return a record with every selected column, in the order of the schema.

        Args:
            row: What `decode` returned.
            constants: Columns that the API does not send, which come first.
        """
        record: Record = {**constants, **msgspec.to_builtins(row)}
        for name in self._texts:
            if record[name] is not None:
                record[name] = str(record[name])
        for name in self._dropped:
            del record[name]
        return record

    def _decode_odd(self, raw: bytes) -> t.Any:  # noqa: ANN401
        try:
            values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except (ValueError, RecursionError):
            return self._struct()
        shown = bytes(values.get("id", b"?"))[:24].decode("ascii", "replace")
        if self._reports_others:
            for name in values.keys() - self._types.keys():
                self._warnings.add(UNDOCUMENTED, name, shown)
        try:
            return self._lenient.decode(raw)
        except (ValueError, RecursionError):
            row = self._struct()
        for name, kind in self._types.items():
            if name in values:
                try:
                    setattr(row, name, _value(values[name], kind))
                except (ValueError, RecursionError):
                    self._warnings.add(MISFIT, name, shown)
        return row


def _value(raw: msgspec.Raw, kind: str) -> t.Any:  # noqa: ANN401
    """Return a value as the column takes it.

    Raises:
        ValueError: If it does not fit.
    """
    text = bytes(raw)
    if kind == "text" and _INTEGER.fullmatch(text):
        return text.decode()
    if kind not in ("text", "date-time"):
        return msgspec.json.decode(text, type=_DECODED[kind])
    value = msgspec.json.decode(text, type=str | None)
    if kind == "text" or value is None:
        return value
    if (created := parse_time(value)) is None:
        raise ValueError
    return created


_INTEGER = re.compile(rb"-?\d+")
