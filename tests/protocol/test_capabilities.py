"""What the SDK adds: stream maps, flattening, selection, versions."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from tests.end_to_end.meltano import examples
from tests.protocol.test_sync import DOCUMENTED, assert_fits
from tests.support import CALLS, JSON, catalog_of, config_for, sync

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


def test_a_map_renames_removes_and_makes_fields(api: Sandbox, documented: JSON) -> None:
    maps = {
        "comment": "__NULL__",
        "rejected": "int(source_quantity) - int(line_quantity)",
        "__alias__": "calls",
    }
    run = sync(config_for(api, stream_maps={CALLS: maps}))
    del documented["comment"]
    assert run.records("calls") == [{**documented, "rejected": 1}]
    assert list(run.bookmarks) == [7]


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("record['x']", "KeyError"),
        ("nope", "MapExpressionError: Failed to evaluate simpleeval expressions nope"),
    ],
)
def test_a_map_that_fails_stops_the_sync(
    api: Sandbox, documented: JSON, expression: str, error: str
) -> None:
    api.add_counter(8)
    api.add_upload(8, id=3, comment="CANARY")
    maps = {"x": f"{expression} if counter_id == 8 else '1'"}
    run = sync(config_for(api, stream_maps={CALLS: maps}))
    assert run.code == 1
    (line,) = run.errors
    where = f"A stream map failed on {CALLS} with counter_id 8, id 3 ({error}"
    assert line.startswith(where)
    assert line.endswith("). Check the setting stream_maps.")
    assert "CANARY" not in run.log
    assert run.records() == [documented | {"x": "1"}]
    assert list(run.bookmarks) == [7]
    assert run.messages[-1]["type"] == "STATE"


def test_a_map_that_fails_leaves_the_place_to_begin(
    api: Sandbox, documented: JSON
) -> None:
    for number in (8, 9):
        api.add_counter(number, uploads=1)
    partitions = [{"context": {"counter_id": 7}}]
    state = {"bookmarks": {CALLS: {"partitions": partitions, "resume_from": 8}}}
    maps = {"x": "record['x']"}
    run = sync(config_for(api, stream_maps={CALLS: maps}), state)
    assert documented["counter_id"] == 7
    assert (run.code, len(run.errors)) == (1, 1)
    assert run.state["bookmarks"][CALLS]["resume_from"] == 8
    assert "not tried" not in run.log


def test_the_recipe_for_failed_uploads(api: Sandbox, documented: JSON) -> None:
    api.add_upload(7, id=13, status="LINKAGE_FAILURE")
    api.add_upload(7, id=14, status=None)
    run = sync(config_for(api, **recipe("### Only failed uploads")))
    assert documented["id"] == 12
    assert [(r["id"], r["status"]) for r in run.records()] == [(13, "LINKAGE_FAILURE")]
    assert_fits(run)


def test_the_recipe_for_nul_characters(api: Sandbox) -> None:
    api.add_counter(7)
    api.add_upload(7, id=1, comment="a\0b")
    api.add_upload(7, id=2)
    run = sync(config_for(api, **recipe("### In the target")))
    comments = {record["id"]: record.get("comment") for record in run.records()}
    assert comments == {1: "ab", 2: None}


def test_flattening_changes_nothing_that_is_flat(
    api: Sandbox, documented: JSON
) -> None:
    settings = {"flattening_enabled": True, "flattening_max_depth": 2}
    run = sync(config_for(api, **settings))
    assert run.records() == [documented]
    assert_fits(run)


@pytest.mark.parametrize("method", ["FULL_TABLE", "INCREMENTAL"])
def test_versions_come_with_a_full_table_alone(
    api: Sandbox, documented: JSON, method: str
) -> None:
    run = sync(
        config_for(api, emit_activate_version_messages=True),
        None,
        catalog_of(CALLS, **{"replication-method": method}),
    )
    assert run.records() == [documented]
    versions = run.of_type("ACTIVATE_VERSION")
    if method == "INCREMENTAL":
        assert versions == []
        return
    assert {version["stream"] for version in versions} == {CALLS}
    (record,) = run.of_type("RECORD")
    assert {version["version"] for version in versions} == {record["version"]}
    types = [message["type"] for message in run.messages]
    first = types.index("ACTIVATE_VERSION")
    assert set(types[first:]) == {"ACTIVATE_VERSION", "STATE"}
    assert types[-1] == "STATE"


def test_an_alias_gets_the_version_too(api: Sandbox, documented: JSON) -> None:
    assert documented
    maps = {CALLS: {"__alias__": "calls"}}
    run = sync(
        config_for(api, emit_activate_version_messages=True, stream_maps=maps),
        None,
        catalog_of(CALLS, **{"replication-method": "FULL_TABLE"}),
    )
    assert {m["stream"] for m in run.of_type("ACTIVATE_VERSION")} == {"calls"}
