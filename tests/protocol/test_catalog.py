"""Records have the columns and types of the catalog, whatever the API sends."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from tests.support import CALLS, JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

BIG = 2**53 + 1  # no float has it
SPARSE: JSON = {
    "id": 3,
    "status": "PROCESSED",
    "source_quantity": 9,
    "line_quantity": 8,
    "client_id_type": "YCLID",
}
COLUMNS = [
    "counter_id",
    "id",
    "create_time",
    "source_quantity",
    "line_quantity",
    "static_calls_quantity",
    "dynamic_calls_quantity",
    "linked_quantity",
    "user_not_found_quantity",
    "goal_not_found_quantity",
    "comment",
    "client_id_type",
    "status",
    "type",
]


@pytest.fixture
def uploads(api: Sandbox) -> list[JSON]:
    """A sparse upload, a full one and one with a large ID, in counter 7."""
    api.add_counter(7)
    full: JSON = {name: 5 for name in COLUMNS if name.endswith("_quantity")}
    texts: JSON = {"comment": "Звонки", "client_id_type": "USER_ID", "type": "CALLS"}
    return [
        api.add_upload(7, create_time=None, **SPARSE),
        api.add_upload(7, id=4, **full, **texts),
        api.add_upload(7, id=BIG, comment="big"),
    ]


def typed(**schemas: t.Any) -> JSON:
    """A catalog in which these columns have a schema of their own, or None."""
    catalog = catalog_of(CALLS)
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] == CALLS:
            for name, schema in schemas.items():
                if schema is None:
                    del entry["schema"]["properties"][name]
                else:
                    entry["schema"]["properties"][name] = schema
    return catalog


def deselecting(*columns: str) -> JSON:
    """A catalog in which these columns are not selected."""
    catalog = catalog_of(CALLS)
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"] and metadata["breadcrumb"][1] in columns:
                metadata["metadata"]["selected"] = False
    return catalog


def schema_of(run: Run, stream: str = CALLS) -> JSON:
    (message,) = [m for m in run.of_type("SCHEMA") if m["stream"] == stream]
    schema: JSON = message["schema"]["properties"]
    return schema


@pytest.mark.parametrize(
    "types", [["string", "null"], ["string"], ["null", "string"], "string"]
)
@pytest.mark.parametrize("columns", [("id",), ("counter_id",), ("counter_id", "id")])
def test_a_key_may_be_text(
    api: Sandbox, uploads: list[JSON], types: object, columns: tuple[str, ...]
) -> None:
    catalog = typed(**{column: {"type": types} for column in columns})
    run = sync(config_for(api), None, catalog)
    assert (run.code, run.errors) == (0, [])
    expected = {(7, upload["id"]) for upload in uploads}
    assert {(int(n), int(key)) for n, key in run.keys} == expected
    for record in run.records():
        for key in ("counter_id", "id"):
            assert isinstance(record[key], str if key in columns else int)
    assert list(run.bookmarks) == [7]


def test_a_text_key_is_the_same_when_looked_up_by_id(
    api: Sandbox, uploads: list[JSON]
) -> None:
    assert len(uploads) == 3
    catalog = typed(id={"type": ["string", "null"]})
    ids = {"counter_id": 7, "uploading_ids": [BIG, 3], "lookup": "by_id"}
    run = sync(config_for(api, **ids), None, catalog)
    assert [record["id"] for record in run.records()] == [str(BIG), "3"]


@pytest.mark.parametrize("column", ["source_quantity", "linked_quantity"])
def test_a_quantity_may_be_text(api: Sandbox, uploads: list[JSON], column: str) -> None:
    catalog = typed(**{column: {"type": ["string", "null"]}})
    run = sync(config_for(api), None, catalog)
    values = {record["id"]: record[column] for record in run.records()}
    assert run.code == 0
    for upload in uploads:
        value = upload.get(column)
        assert values[upload["id"]] == (None if value is None else str(value))


@pytest.mark.parametrize(
    ("column", "types", "kind"),
    [
        ("id", ["integer", "string"], int),
        ("id", ["string", "integer"], int),
        ("id", ["integer", "null"], int),
        ("source_quantity", ["string", "integer", "null"], int),
        ("source_quantity", ["number", "null"], (int, float)),
        ("comment", ["string", "integer", "null"], str),
        ("create_time", ["string", "null"], str),
    ],
)
def test_a_type_that_fits_is_taken_as_it_is(
    api: Sandbox, uploads: list[JSON], column: str, types: list[str], kind: t.Any
) -> None:
    run = sync(config_for(api), None, typed(**{column: {"type": types}}))
    assert run.code == 0
    assert len(run.records()) == len(uploads)
    values = [record[column] for record in run.records()]
    assert all(isinstance(v, kind) for v in values if v is not None)
    assert any(v is not None for v in values)
    assert None not in [record["id"] for record in run.records()]


@pytest.mark.parametrize(
    ("column", "schema"),
    [
        ("comment", {"type": "string"}),
        ("comment", {"type": ["string"]}),
        ("source_quantity", {"type": "integer"}),
        ("comment", {"type": ["integer", "null"]}),
        ("comment", {"type": ["object", "null"]}),
        ("status", {"type": ["array", "null"]}),
        ("source_quantity", {"type": ["boolean", "null"]}),
        ("create_time", {"type": ["integer", "null"]}),
        ("create_time", {"type": ["string", "null"], "format": "date"}),
        ("comment", {"type": ["string", "null"], "format": "uuid"}),
        ("id", {"type": ["boolean"]}),
        ("id", {"type": "null"}),
        ("id", {"type": 5}),
        ("comment", {}),
    ],
)
def test_another_type_is_refused_at_the_start(
    api: Sandbox, uploads: list[JSON], column: str, schema: JSON
) -> None:
    assert uploads
    run = sync(config_for(api), None, typed(**{column: schema}))
    assert (run.code, run.records(), api.requests) == (1, [], [])
    (line,) = run.errors
    assert column in line
    assert CALLS in line


@pytest.mark.parametrize("lookup", [None, "by_id", "list"])
def test_records_are_rectangular(
    api: Sandbox, uploads: list[JSON], lookup: str | None
) -> None:
    ids = {"uploading_ids": [3, 4, BIG], "lookup": lookup} if lookup else {}
    run = sync(config_for(api, counter_id=7, **ids))
    assert run.code == 0
    assert sorted(schema_of(run)) == sorted(COLUMNS)
    assert [list(record) for record in run.records()] == [list(schema_of(run))] * 3
    for upload in uploads:
        (record,) = [r for r in run.records() if r["id"] == upload["id"]]
        nothing = dict.fromkeys(COLUMNS)
        assert record == {**nothing, "counter_id": 7, **upload}


@pytest.mark.parametrize(
    ("stream", "kind"),
    [("conversions_uploadings", "BASIC"), ("chats_uploadings", "CHATS")],
)
def test_the_sibling_streams_are_rectangular(
    api: Sandbox, stream: str, kind: str
) -> None:
    api.add_counter(7)
    api.add_upload(7, kind=kind, create_time=None, **SPARSE)
    api.add_upload(7, kind=kind, id=4, comment="c")
    run = sync(config_for(api), None, catalog_of(stream))
    assert (run.code, run.records()) == (0, [])
    columns = list(schema_of(run, stream))
    assert sorted(columns) == sorted(COLUMNS)
    assert [list(record) for record in run.records(stream)] == [columns] * 2


def test_counters_are_rectangular(api: Sandbox) -> None:
    rows = [{"id": 1}, {"id": 2, "name": "a", "site": "b", "favorite": 0}]
    body = json.dumps({"rows": 2, "counters": rows}).encode()
    api.answer(r"/counters\?", body)
    run = sync(config_for(api), None, catalog_of("counters"))
    assert run.code == 0
    columns = list(schema_of(run, "counters"))
    assert [list(record) for record in run.records("counters")] == [columns] * 2


def test_deselected_columns_are_in_no_record(api: Sandbox, uploads: list[JSON]) -> None:
    gone = ("comment", "source_quantity", "type")
    run = sync(config_for(api), None, deselecting(*gone))
    left = list(schema_of(run))
    assert set(left) == set(COLUMNS) - set(gone)
    assert [list(record) for record in run.records()] == [left] * len(uploads)


def test_keys_are_part_of_every_record(api: Sandbox, uploads: list[JSON]) -> None:
    run = sync(config_for(api), None, deselecting("id", "counter_id"))
    assert run.keys == {(7, upload["id"]) for upload in uploads}


def test_a_map_may_use_a_column_that_an_upload_lacks(
    api: Sandbox, uploads: list[JSON]
) -> None:
    maps = {"note": "comment or 'none'", "lost": "goal_not_found_quantity is None"}
    run = sync(config_for(api, stream_maps={CALLS: maps}))
    assert (run.code, run.errors) == (0, [])
    notes = {record["id"]: record["note"] for record in run.records()}
    assert notes == {u["id"]: u.get("comment") or "none" for u in uploads}


def test_a_column_that_a_saved_catalog_lacks_is_one_warning(
    api: Sandbox, uploads: list[JSON]
) -> None:
    run = sync(config_for(api), None, typed(linked_quantity=None, type=None))
    assert run.code == 0
    assert len(run.ids) == len(uploads)
    assert all("linked_quantity" not in record for record in run.records())
    (line,) = [line for line in run.warnings if "linked_quantity" in line]
    assert re.search(r"\btype\b", line)
    assert "catalog" in line


@pytest.mark.parametrize("column", ["counter_id", "id", "create_time"])
def test_a_saved_catalog_has_to_have_the_keys(api: Sandbox, column: str) -> None:
    run = sync(config_for(api), None, typed(**{column: None}))
    assert (run.code, run.lines) == (1, [])
    (line,) = run.errors
    assert f"'{CALLS}'" in line
    assert "Run discovery again" in line
    assert api.requests == []


@pytest.mark.parametrize("value", ["null", "8", '"7"', '{"a": 1}'])
@pytest.mark.parametrize("lookup", ["by_id", "list"])
def test_a_field_of_that_name_does_not_replace_the_counter(
    api: Sandbox, value: str, lookup: str
) -> None:
    upload = f'{{"id": 5, "counter_id": {value}, "status": "MATCHED"}}'
    api.answer("calls_uploading/5", f'{{"uploading": {upload}}}'.encode())
    api.answer("calls_uploadings", f'{{"uploadings": [{upload}]}}'.encode())
    run = sync(config_for(api, counter_id=7, uploading_ids=[5], lookup=lookup))
    assert (run.code, run.keys) == (0, {(7, 5)})


@pytest.mark.parametrize("value", [2**63, -(2**70), 10**400])
def test_a_number_is_no_text_however_large(api: Sandbox, value: int) -> None:
    api.add_counter(7)
    rows = f'[{{"id": 5, "comment": {value}, "status": "MATCHED"}}]'
    api.answer("counter/7/", f'{{"uploadings": {rows}}}'.encode())
    run = sync(config_for(api))
    assert [record["comment"] for record in run.records()] == [None]
    assert len([line for line in run.warnings if "comment" in line]) == 1


@pytest.mark.parametrize("method", ["LOG_BASED", "full_table", "FULL", 5])
@pytest.mark.parametrize("key", ["replication-method", "forced-replication-method"])
def test_an_unknown_replication_method_is_refused(
    api: Sandbox, uploads: list[JSON], method: object, key: str
) -> None:
    assert uploads
    run = sync(config_for(api), None, catalog_of(CALLS, **{key: method}))
    assert (run.code, run.records(), api.requests) == (1, [], [])
    (line,) = run.errors
    assert "replication" in line.lower()
    assert "FULL_TABLE" in line
    assert CALLS in line


def test_a_stream_of_another_name_in_the_catalog(
    api: Sandbox, uploads: list[JSON]
) -> None:
    catalog = catalog_of(CALLS)
    for entry in catalog["streams"]:
        entry["stream"] = f"renamed_{entry['stream']}"
    run = sync(config_for(api), None, catalog)
    assert "Unexpected" not in run.log
    if run.code == 0:
        assert len(run.of_type("RECORD")) == len(uploads)
    else:
        assert (run.code, len(run.errors)) == (1, 1)
        assert "catalog" in run.errors[0]


@pytest.mark.parametrize("metadata", [None, [], "of columns alone"])
def test_a_stream_without_metadata_of_its_own_is_selected(
    api: Sandbox, uploads: list[JSON], metadata: object
) -> None:
    catalog = catalog_of(CALLS)
    for entry in catalog["streams"]:
        columns = [each for each in entry.pop("metadata") if each["breadcrumb"]]
        if metadata is not None:
            entry["metadata"] = metadata if metadata == [] else columns
    catalog["streams"] = [
        entry for entry in catalog["streams"] if entry["tap_stream_id"] == CALLS
    ]
    run = sync(config_for(api, counter_id=7), None, catalog)
    assert (run.code, len(run.records())) == (0, len(uploads))
