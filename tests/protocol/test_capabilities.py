"""What the SDK adds: stream maps, flattening, selection, batches, versions."""

from __future__ import annotations

import gzip
import json
import typing as t
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import yaml

from tests.end_to_end.meltano import examples
from tests.protocol.test_sync import DOCUMENTED, assert_fits
from tests.support import JSON, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox


@pytest.fixture
def documented(api: Sandbox) -> JSON:
    """One upload with each documented field, as it is emitted."""
    api.add_counter(7)
    api.add_upload(7, **DOCUMENTED)
    return {"counter_id": 7, **DOCUMENTED}


def recipe(heading: str) -> JSON:
    """The settings of a recipe of the README."""
    (block,) = examples("README.md", heading, "yaml")
    config: JSON = yaml.safe_load(block)["config"]
    return config


def without(field: str) -> JSON:
    """A catalog with a field deselected."""
    catalog = catalog_of("calls_uploadings")
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if tuple(entry["breadcrumb"]) == ("properties", field):
                entry["metadata"]["selected"] = False
    return catalog


def test_a_deselected_field_stays_away(api: Sandbox, documented: JSON) -> None:
    run = sync(config_for(api), catalog=without("comment"))
    del documented["comment"]
    assert run.records() == [documented]
    schema = run.messages[0]["schema"]["properties"]
    assert set(schema) == set(documented)
    assert_fits(run)


@pytest.mark.parametrize("field", ["id", "counter_id", "create_time"])
def test_keys_cannot_be_deselected(api: Sandbox, documented: JSON, field: str) -> None:
    assert sync(config_for(api), catalog=without(field)).records() == [documented]


def test_a_map_renames_removes_and_makes_fields(api: Sandbox, documented: JSON) -> None:
    maps = {
        "comment": "__NULL__",
        "rejected": "int(source_quantity) - int(line_quantity)",
        "__alias__": "calls",
    }
    run = sync(config_for(api, stream_maps={"calls_uploadings": maps}))
    del documented["comment"]
    assert run.records("calls") == [{**documented, "rejected": 1}]
    assert list(run.bookmarks) == [7]
    assert_fits(run)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("record['x']", "(KeyError): "),
        ("nope", "(MapExpressionError: Failed to evaluate simpleeval expressions nope"),
    ],
)
def test_a_map_that_fails_stops_the_sync(
    api: Sandbox, documented: JSON, expression: str, told: str
) -> None:
    api.add_counter(8)
    api.add_upload(8, id=3)
    maps = {"x": f"{expression} if counter_id == 8 else '1'"}
    run = sync(config_for(api, stream_maps={"calls_uploadings": maps}))
    assert run.code == 1
    (line,) = run.errors
    where = "A stream map failed on calls_uploadings with counter_id 8, id 3 "
    assert line.startswith(where + told)
    assert line.endswith("): check the setting stream_maps.")
    assert run.records() == [documented | {"x": "1"}]
    assert list(run.bookmarks) == [7]


def test_a_property_retyped_in_the_catalog(api: Sandbox, documented: JSON) -> None:
    catalog = catalog_of("calls_uploadings")
    for stream in catalog["streams"]:
        for name, retyped in (("linked_quantity", "number"), ("create_time", "string")):
            stream["schema"]["properties"][name] = {"type": [retyped, "null"]}
    run = sync(config_for(api), catalog=catalog)
    assert run.records() == [documented]
    assert_fits(run)


def test_the_recipe_for_failed_uploads(api: Sandbox, documented: JSON) -> None:
    failed = api.add_upload(7, id=13, status="LINKAGE_FAILURE")
    api.add_upload(7, id=14, status=None)
    run = sync(config_for(api, **recipe("### Only failed uploads")))
    assert documented["id"] == 12
    assert run.records() == [{"counter_id": 7, **failed}]
    assert_fits(run)


def test_the_recipe_for_nul_characters(api: Sandbox) -> None:
    api.add_counter(7)
    api.add_upload(7, id=1, comment="a\0b")
    api.add_upload(7, id=2)
    run = sync(config_for(api, **recipe("### In the target")))
    comments = {record["id"]: record.get("comment") for record in run.records()}
    assert comments == {1: "ab", 2: None}
    assert_fits(run)


def test_flattening_changes_nothing_that_is_flat(
    api: Sandbox, documented: JSON
) -> None:
    settings = {"flattening_enabled": True, "flattening_max_depth": 2}
    run = sync(config_for(api, **settings))
    assert run.records() == [documented]
    assert_fits(run)


def batch_of(message: JSON) -> list[JSON]:
    """The records of a BATCH message."""
    paths = [url2pathname(urlsplit(uri).path) for uri in message["manifest"]]
    lines = b"".join(gzip.decompress(Path(path).read_bytes()) for path in paths)
    return [json.loads(line) for line in lines.splitlines()]


def test_no_state_covers_what_is_in_no_batch_yet(
    api: Sandbox, documented: JSON, tmp_path: Path
) -> None:
    for number in range(8, 11):
        api.add_counter(number, uploads=5)
    batches = {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": tmp_path.as_uri(), "prefix": "calls-"},
        "batch_size": 4,
    }
    run = sync(config_for(api, batch_config=batches))
    records: list[JSON] = []
    for message in run.messages:
        if message["type"] == "BATCH":
            records += batch_of(message)
        elif message["type"] == "STATE":
            stream_state = message["value"]["bookmarks"].get("calls_uploadings", {})
            covered = [p["context"]["counter_id"] for p in stream_state["partitions"]]
            loaded = Counter(record["counter_id"] for record in records)
            assert all(loaded[key] == (1 if key == 7 else 5) for key in covered)
        else:
            assert message["type"] == "SCHEMA"
    assert records[0] == documented
    assert len(records) == 16
    assert run.messages[-1]["type"] == "STATE"
    assert sorted(run.bookmarks) == [7, 8, 9, 10]


@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL"])
def test_versions_are_told_of_a_full_table_alone(
    api: Sandbox, documented: JSON, method: str
) -> None:
    run = sync(
        config_for(api, emit_activate_version_messages=True),
        catalog=catalog_of("calls_uploadings", **{"replication-method": method}),
    )
    assert run.records() == [documented]
    versions = [m for m in run.messages if m["type"] == "ACTIVATE_VERSION"]
    if method == "INCREMENTAL":
        assert versions == []
        return
    assert {version["stream"] for version in versions} == {"calls_uploadings"}
    record = next(m for m in run.messages if m["type"] == "RECORD")
    assert {version["version"] for version in versions} == {record["version"]}
    kinds = [message["type"] for message in run.messages]
    assert "ACTIVATE_VERSION" in kinds[kinds.index("RECORD") :]
