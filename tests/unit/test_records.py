"""Objects of the API as records that fit the schema."""

from __future__ import annotations

import json
import typing as t

import msgspec
import pytest

from tap_metrika_calls.api import responses
from tap_metrika_calls.api.responses import Response
from tap_metrika_calls.output.lines import GroupedLines
from tap_metrika_calls.sync.records import RecordDecoder

if t.TYPE_CHECKING:
    from tests.support import JSON

TYPES = {
    "counter_id": "integer",
    "id": "integer",
    "create_time": "date-time",
    "quantity": "integer",
    "comment": "string",
    "status": "string",
}
NULLS: JSON = dict.fromkeys(TYPES)
CONSTANTS: JSON = {"counter_id": 7}
GOOD: JSON = {
    "id": 1,
    "create_time": "2026-01-01T00:00:00Z",
    "quantity": 5,
    "comment": "c",
    "status": "PROCESSED",
}


class Decoded(t.NamedTuple):
    records: list[JSON]
    warnings: list[str]


def decode(
    *objects: str, types: t.Mapping[str, str] = TYPES, **columns: t.Any
) -> Decoded:
    """Decode objects, given as JSON."""
    warnings = GroupedLines()
    constants = {"constants": ("counter_id",)} if "counter_id" in types else {}
    decoder = RecordDecoder(types, warnings, **constants | columns)
    rows = [decoder.decode(msgspec.Raw(text.encode())) for text in objects]
    values = CONSTANTS if constants else {}
    records = [decoder.record(row, values) for row in rows]
    return Decoded(records, warnings.lines())


def column(kind: str, value: str) -> tuple[t.Any, bool]:
    """How a value is emitted in a column of a kind, and whether a warning tells."""
    types = {**TYPES, "quantity": kind}
    decoded = decode(f'{{"id": 1, "quantity": {value}}}', types=types)
    return decoded.records[0]["quantity"], bool(decoded.warnings)


# Columns.


def test_a_whole_object() -> None:
    records, warnings = decode(json.dumps(GOOD))
    assert records == [CONSTANTS | GOOD]
    assert warnings == []


@pytest.mark.parametrize(
    "upload", [{}, {"id": 1}, {"status": "X", "id": 1}, dict.fromkeys(GOOD)]
)
def test_every_record_has_every_column_in_one_order(upload: JSON) -> None:
    records, warnings = decode(json.dumps(upload))
    assert records == [NULLS | CONSTANTS | upload]
    assert list(records[0]) == list(TYPES)
    assert warnings == []


def test_columns_that_are_not_selected_stay_away() -> None:
    records, _ = decode(json.dumps(GOOD), dropped=("comment", "create_time"))
    assert list(records[0]) == ["counter_id", "id", "quantity", "status"]
    odd = json.dumps({**GOOD, "quantity": "x", "comment": 5, "surprise": 1})
    records, _ = decode(odd, dropped=("comment", "create_time"))
    assert list(records[0]) == ["counter_id", "id", "quantity", "status"]


@pytest.mark.parametrize("value", [None, 8, "7", {"a": 1}])
def test_no_field_replaces_a_constant(value: object) -> None:
    records, _ = decode(json.dumps({**GOOD, "counter_id": value}))
    assert records == [CONSTANTS | GOOD]
    assert list(records[0]) == list(TYPES)


def test_undocumented_fields_are_dropped_and_reported_once() -> None:
    odd = [json.dumps({**GOOD, "id": n, "surprise": [n], "other": 1}) for n in (1, 2)]
    records, warnings = decode(json.dumps(GOOD), *odd)
    assert records == [CONSTANTS | GOOD | {"id": n} for n in (1, 1, 2)]
    (line,) = warnings
    assert line.startswith("Undocumented fields were dropped: ")
    for name in ("surprise", "other"):
        assert line.count(f"{name} (first in 1)") == 1


def test_undocumented_fields_may_be_no_news() -> None:
    odd = json.dumps({**GOOD, "surprise": 1})
    records, warnings = decode(odd, reports_others=False)
    assert (records, warnings) == ([CONSTANTS | GOOD], [])
    odd = json.dumps({**GOOD, "surprise": 1, "quantity": "x"})
    _, warnings = decode(odd, reports_others=False)
    assert len(warnings) == 1
    assert "surprise" not in warnings[0]


def test_ten_thousand_undocumented_fields_are_one_short_line() -> None:
    odd = {f"field_{number}": number for number in range(10_000)}
    _, warnings = decode(json.dumps({**GOOD, **odd}))
    (line,) = warnings
    assert line.endswith(" and 9980 more")
    assert len(line) < 2_000


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    records, _ = decode('{"id": 1, "comment": "a", "comment": "b"}')
    assert records[0]["comment"] == "b"
    records, _ = decode('{"id": 1, "comment": "a", "comment": "b", "quantity": "x"}')
    assert records[0]["comment"] == "b"


# Values.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantity", '{"value": 5}'),
        ("quantity", '"5"'),
        ("quantity", "5.5"),
        ("quantity", "true"),
        ("quantity", "9223372036854775808"),
        ("quantity", "1e400"),
        ("comment", "5"),
        ("comment", '["a"]'),
        ("comment", "9" * 400),
        ("status", '{"a": 1}'),
        ("create_time", "1767225600"),
        ("create_time", '"yesterday"'),
        ("create_time", '"10000-01-01T00:00:00Z"'),
        ("create_time", '"2026-06-30T23:59:60Z"'),
        ("create_time", '"0001-01-01T00:00:00+14:00"'),
    ],
)
def test_a_value_of_another_type_becomes_null_and_is_reported_once(
    name: str, value: str
) -> None:
    rest = ", ".join(
        f'"{other}": {json.dumps(known)}'
        for other, known in GOOD.items()
        if other not in {name, "id"}
    )
    odd = [f'{{"id": {n}, "{name}": {value}, {rest}}}' for n in (11, 12)]
    records, warnings = decode(json.dumps(GOOD), *odd)
    expected = [CONSTANTS | GOOD | {"id": n, name: None} for n in (11, 12)]
    assert records == [CONSTANTS | GOOD, *expected]
    assert warnings == [
        f"Values of an unexpected type were replaced with null: {name} (first in 11)"
    ]


@pytest.mark.parametrize(
    "value",
    [
        "null",
        '"12"',
        "12.5",
        "true",
        '{"value": 1}',
        "9223372036854775808",
        "-9223372036854775809",
        "1e400",
    ],
)
def test_an_id_that_is_none(value: str) -> None:
    decoder = RecordDecoder(TYPES, GroupedLines())
    row = decoder.decode(msgspec.Raw(f'{{"id": {value}, "status": "X"}}'.encode()))
    assert (row.id, row.status) == (None, "X")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, 0])
def test_an_id_is_exact(number: int) -> None:
    records, _ = decode(f'{{"id": {number}}}')
    assert records[0]["id"] == number


@pytest.mark.parametrize(
    "raw", ["null", "5", '"x"', "[]", "true", '{"id": 1, "x": ' + "[" * 100_000]
)
def test_what_is_no_object_has_no_values(raw: str) -> None:
    decoder = RecordDecoder(TYPES, GroupedLines())
    row = decoder.decode(msgspec.Raw(raw.encode()))
    assert msgspec.to_builtins(row) == NULLS


@pytest.mark.parametrize(
    ("sent", "emitted"),
    [
        ("2026-01-31T02:00:00Z", "2026-01-31T02:00:00Z"),
        ("2026-01-31T02:00:00+03:00", "2026-01-30T23:00:00Z"),
        ("2026-01-31T02:00:00", "2026-01-31T02:00:00Z"),
        ("2026-01-31T02:00:00.25+00:00", "2026-01-31T02:00:00.250000Z"),
        ("2026-01-31T02:00:00+0300", "2026-01-30T23:00:00Z"),
        ("2026-01-31 02:00:00", "2026-01-31T02:00:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
    ],
)
def test_a_time_has_one_form(sent: str, emitted: str) -> None:
    for more in ({}, {"surprise": 1}, {"quantity": "x"}):
        records, warnings = decode(json.dumps({"id": 1, "create_time": sent, **more}))
        assert records[0]["create_time"] == emitted
        assert not any("create_time" in line for line in warnings)


TEXTS = [
    (r"\u0000", "\0"),
    (r"\ud83d\ude00", "😀"),
    (r"cut \ud83d", "cut \ufffd"),
    (r"\ude00 cut", "\ufffd cut"),
    (r"\ud83d\ud83d\ude00", "\ufffd😀"),
    (r"\uD83D\uDE00\uDE00", "😀\ufffd"),
    (r"\\ud83d", "\\ud83d"),
    (r"\\\ud83d", "\\\ufffd"),
    (r"\"\/\b\f\n\r\t", '"/\b\f\n\r\t'),
    ("\u202eright to left\u202c", "\u202eright to left\u202c"),
    ("x" * 300_000, "x" * 300_000),
]


@pytest.mark.parametrize(("sent", "emitted"), TEXTS)
@pytest.mark.parametrize("more", ["", ', "surprise": 1', ', "quantity": "x"'])
def test_texts_are_kept_to_the_byte(sent: str, emitted: str, more: str) -> None:
    body = f'{{"uploading": {{"id": 1, "comment": "{sent}"{more}}}}}'.encode()
    raw = responses.decode(Response(200, {}, body), responses.UPLOAD).uploading
    records, _ = decode(bytes(raw).decode())
    assert records[0]["comment"] == emitted


# Types of a catalog.


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "5"),
        ("-5", "-5"),
        ("0", "0"),
        (str(2**53 + 1), str(2**53 + 1)),
        (str(2**63), str(2**63)),
        ("9" * 400, "9" * 400),
        ('"as it is"', "as it is"),
        ('"007"', "007"),
        ("null", None),
    ],
)
def test_the_exact_text_of_a_number(value: str, text: str | None) -> None:
    assert column("text", value) == (text, False)


@pytest.mark.parametrize("value", ["5.5", "1e5", "true", "[1]", '{"a": 1}'])
def test_what_has_no_exact_text(value: str) -> None:
    assert column("text", value) == (None, True)


@pytest.mark.parametrize(
    ("value", "number"),
    [("5", 5), ("5.5", 5.5), ("null", None), (str(2**53 + 1), 2**53 + 1)],
)
def test_a_quantity_as_a_number(value: str, number: object) -> None:
    assert column("number", value) == (number, False)
    emitted, _ = column("number", value)
    assert type(emitted) is type(number)


def test_a_key_as_text() -> None:
    types = {**TYPES, "id": "text"}
    records, _ = decode(f'{{"id": {2**53 + 1}}}', types=types)
    assert records[0]["id"] == str(2**53 + 1)
