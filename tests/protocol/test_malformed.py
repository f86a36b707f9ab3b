"""Responses that no documentation foresees, over real HTTP."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00Z", "1969-12-31T23:30:00Z"])
def test_a_time_before_all_others_leaves_a_usable_bookmark(
    api: Sandbox, created: str
) -> None:
    first = listed(api, json.dumps(GOOD | {"create_time": created}))
    assert first.records()[0]["create_time"] == created
    again = sync(config_for(api), first.state)
    assert (first.code, again.code) == (0, 0)
    damaged = first.state
    (partition,) = damaged["bookmarks"]["calls_uploadings"]["partitions"]
    partition["replication_key_value"] = created
    partition["full_read"] = {"at": "9999-12-31T23:59:59Z", "bookmark": created}
    assert sync(config_for(api), damaged).code == 0


@pytest.mark.parametrize(
    "uploading",
    [
        "{}",
        "null",
        "5",
        '{"id": null}',
        '{"id": "12"}',
        '{"id": true}',
        '{"id": 9223372036854775808}',
        '{"id": 1e400}',
    ],
)
def test_an_upload_without_a_valid_id_fails_its_counter(
    api: Sandbox, uploading: str
) -> None:
    run = listed(api, json.dumps(GOOD), uploading)
    assert (run.code, run.ids) == (1, [1])
    assert re.match("Counter 7: 1 uploads? without a valid ID", run.errors[0])
    assert run.bookmarks == {}


def test_values_of_other_types_become_null_with_one_line(api: Sandbox) -> None:
    odd = {**GOOD, "source_quantity": "5", "comment": 5, "create_time": "yesterday"}
    run = listed(api, *(json.dumps({**odd, "id": n}) for n in (1, 2, 3)))
    assert (run.code, run.ids) == (0, [1, 2, 3])
    for record in run.records():
        for column in ("source_quantity", "comment", "create_time"):
            assert record[column] is None
    (line,) = [line for line in run.warnings if "replaced with null" in line]
    for column in ("source_quantity", "comment", "create_time"):
        assert f"{column} (first in 1)" in line


@pytest.mark.parametrize(
    ("escaped", "emitted"),
    [
        (r"\u0000", "\0"),
        (r"\ud83d\ude00", "😀"),
        (r"cut \ud83d", "cut \ufffd"),
        (r"\\ud83d", "\\ud83d"),
        ("\u202eright to left\u202c", "\u202eright to left\u202c"),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
def test_comments_arrive_as_they_are(api: Sandbox, escaped: str, emitted: str) -> None:
    run = listed(api, f'{{"id": 1, "comment": "{escaped}"}}')
    assert run.code == 0
    assert [record["comment"] for record in run.records()] == [emitted]
    by_id = f'{{"uploading": {{"comment": "{escaped}"}}}}'.encode()
    api.answer("counter/8/", by_id)
    run = sync(config_for(api, counter_id=8, uploading_ids=[5]))
    assert [record["comment"] for record in run.records()] == [emitted]
    assert run.keys == {(8, 5)}


def test_ten_thousand_undocumented_fields_are_one_line(api: Sandbox) -> None:
    fields = {f"field_{number}": number for number in range(10_000)}
    run = listed(api, json.dumps({**GOOD, **fields}))
    assert run.ids == [1]
    (line,) = run.warnings
    assert line.endswith("and 9980 more")


@pytest.mark.parametrize(
    "body",
    [
        b'{"uploadings": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"uploadings": [{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b'{"uploading": {}}',
        b"null",
        b"\xff\xfe",
        b'{"uploadings": [{"id": 1, "comment": "\xff"}]}',
    ],
)
def test_a_body_that_is_not_the_expected_json_fails_its_counter(
    api: Sandbox, body: bytes
) -> None:
    api.answer("counter/7/", body)
    run = sync(config_for(api, counter_id=7, max_attempts=2))
    assert (run.code, run.ids, len(run.errors)) == (1, [], 1)
    assert "2 attempts" in run.errors[0]
    assert "not the expected JSON" in run.errors[0]
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("uploading", "code"),
    [
        ('{"id": 5, "status": "MATCHED"}', 0),
        ('{"status": "MATCHED"}', 0),
        ('{"id": null, "status": "MATCHED"}', 0),
        ('{"id": "5", "status": "MATCHED"}', 0),
        ('{"id": 6, "status": "MATCHED"}', 1),
    ],
)
def test_a_response_by_id(api: Sandbox, uploading: str, code: int) -> None:
    api.answer("counter/7/", f'{{"uploading": {uploading}}}'.encode())
    settings = {"counter_id": 7, "uploading_ids": [5], "max_attempts": 2}
    run = sync(config_for(api, **settings))
    assert run.code == code
    found = [(r["counter_id"], r["id"], r["status"]) for r in run.records()]
    assert found == ([] if code else [(7, 5, "MATCHED")])


@pytest.mark.parametrize("counter", ["{}", "null", '{"id": "8"}', '{"id": [8]}'])
def test_a_counter_without_a_valid_id_leaves_the_others_alone(
    api: Sandbox, counter: str
) -> None:
    api.add_counter(7, uploads=2)
    api.answer(r"/counters\?", f'{{"counters": [{counter}, {{"id": 7}}]}}'.encode())
    run = sync(config_for(api, max_attempts=2))
    assert (run.code, len(run.errors)) == (1, 1)
    assert "counters without a valid ID" in run.errors[0]
    assert len(run.ids) == 2
