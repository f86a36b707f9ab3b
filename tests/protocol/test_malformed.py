"""Answers that no documentation foresees; `docs/answers.md` tells what is decided."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.protocol.test_sync import assert_fits
from tests.support import JSON, Run, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

GOOD: JSON = {"id": 1, "create_time": "2026-01-01T00:00:00Z", "status": "PROCESSED"}


def listed(api: Sandbox, *uploadings: str, **settings: object) -> Run:
    """Sync a counter whose list holds these uploads, given as JSON."""
    api.add_counter(7)
    body = f'{{"uploadings": [{", ".join(uploadings)}]}}'
    api.answer("counter/7/", body.encode("utf-8", "surrogateescape"))
    run = sync(config_for(api, counter_id=7, max_attempts=2, **settings))
    assert_fits(run)
    return run


@pytest.mark.parametrize(
    "uploading",
    [
        "{}",
        "null",
        "5",
        '{"id": null}',
        '{"id": "12"}',
        '{"id": 12.0}',
        '{"id": true}',
        '{"id": {"value": 1}}',
        '{"id": 9223372036854775808}',
        '{"id": -9223372036854775809}',
        '{"id": 1e400}',
        '{"id": 1, "comment": "\udcff"}',
    ],
)
def test_an_upload_without_a_usable_id_fails_its_counter(
    api: Sandbox, uploading: str
) -> None:
    run = listed(api, json.dumps(GOOD), uploading)
    assert (run.code, run.ids) == (1, [1])
    assert run.errors[0].startswith("Counter 7: 1 uploads came without a usable ID")
    assert run.bookmarks == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source_quantity", '{"value": 5}'),
        ("source_quantity", '"5"'),
        ("source_quantity", "5.5"),
        ("source_quantity", "true"),
        ("source_quantity", "9223372036854775808"),
        ("source_quantity", "1e400"),
        ("comment", "5"),
        ("comment", '["a"]'),
        ("status", "[1]"),
        ("status", '{"a": 1}'),
        ("create_time", "1767225600"),
        ("create_time", '"10000-01-01T00:00:00Z"'),
        ("create_time", '"2026-06-30T23:59:60Z"'),
        ("create_time", '"yesterday"'),
        ("create_time", '"0001-01-01T00:00:00+14:00"'),
    ],
)
def test_a_value_of_another_type_becomes_null(
    api: Sandbox, field: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    rest = ", ".join(
        f'"{name}": {json.dumps(known)}'
        for name, known in {**GOOD, "source_quantity": 5, "comment": "c"}.items()
        if name not in {field, "id"}
    )
    good = {**GOOD, "id": 3, "source_quantity": 5, "comment": "c"}
    odd = [f'{{"id": {n}, "{field}": {value}, {rest}}}' for n in (1, 2)]
    run = listed(api, json.dumps(good), *odd)
    assert (run.code, run.ids) == (0, [3, 1, 2])
    assert [record[field] for record in run.records()] == [good[field], None, None]
    told = [r.message for r in caplog.records if "loaded as null" in r.message]
    assert len(told) == 1
    assert f"{field} (first in 1)" in told[0]


@pytest.mark.parametrize(
    ("escaped", "emitted"),
    [
        (r"\u0000", "\0"),
        (r"\ud83d\ude00", "😀"),
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\\ud83d", "\\ud83d"),
        ("\u202eright to left\u202c", "\u202eright to left\u202c"),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
def test_comments_arrive_as_they_are(api: Sandbox, escaped: str, emitted: str) -> None:
    run = listed(api, f'{{"id": 1, "comment": "{escaped}"}}')
    assert run.code == 0
    assert run.records() == [{"counter_id": 7, "id": 1, "comment": emitted}]
    by_id = f'{{"uploading": {{"comment": "{escaped}"}}}}'.encode()
    api.answer("counter/8/", by_id)
    run = sync(config_for(api, counter_id=8, uploading_ids=[5]))
    assert run.records() == [{"counter_id": 8, "id": 5, "comment": emitted}]


def test_ten_thousand_unknown_fields_are_one_line(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {f"field_{number}": number for number in range(10_000)}
    run = listed(api, json.dumps({**GOOD, **fields}))
    assert run.records() == [{"counter_id": 7, **GOOD}]
    told = [r.message for r in caplog.records if "field_0 " in r.message]
    assert len(told) == 1
    assert told[0].endswith("and 9980 more")


def test_of_a_field_that_comes_twice_the_last_counts(api: Sandbox) -> None:
    run = listed(api, '{"id": 1, "comment": "a", "comment": "b"}')
    assert run.records() == [{"counter_id": 7, "id": 1, "comment": "b"}]


@pytest.mark.parametrize(
    "body",
    [
        b'{"uploadings": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"uploadings": [{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"uploadings": {}}',
        b'{"uploading": {}}',
        b'{"uploadings": null}',
        b"{}",
        b"null",
        b"[]",
        b"",
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_not_as_documented_stops_the_sync(
    api: Sandbox, body: bytes
) -> None:
    api.answer("counter/7/", body)
    run = sync(config_for(api, counter_id=7, max_attempts=2))
    assert (run.code, run.ids, len(run.errors)) == (1, [], 1)
    assert "not as documented" in run.errors[0]
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("uploading", "code"),
    [
        ('{"id": 5, "status": "MATCHED"}', 0),
        ('{"status": "MATCHED"}', 0),
        ('{"id": null, "status": "MATCHED"}', 0),
        ('{"id": "5", "status": "MATCHED"}', 0),
        ('{"id": 6, "status": "MATCHED"}', 1),
        ("null", 1),
        ("{}", 1),
    ],
)
def test_an_answer_by_id(api: Sandbox, uploading: str, code: int) -> None:
    api.answer("counter/7/", f'{{"uploading": {uploading}}}'.encode())
    settings = {"counter_id": 7, "uploading_ids": [5], "max_attempts": 2}
    run = sync(config_for(api, **settings))
    assert run.code == code
    expected = {"counter_id": 7, "id": 5, "status": "MATCHED"}
    assert run.records() == ([] if code else [expected])


@pytest.mark.parametrize("counter", ["{}", "null", '{"id": "7"}', '{"id": [7]}'])
def test_a_counter_without_a_usable_id_stops_the_sync(
    api: Sandbox, counter: str
) -> None:
    api.answer(r"/counters\?", f'{{"counters": [{counter}]}}'.encode())
    run = sync(config_for(api, max_attempts=2))
    assert (run.code, len(run.errors)) == (1, 1)
    assert "list of counters from 1" in run.errors[0]
