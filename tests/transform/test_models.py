"""The marts, on each engine, from the same uploads."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.transform.cases import (
    FALLEN,
    FINAL,
    FIRST_FLIGHT,
    NAME,
    SECOND_FLIGHT,
    SILENT,
)
from tests.transform.conftest import recipes

if t.TYPE_CHECKING:
    from tests.transform.cases import JSON, Case
    from tests.transform.conftest import Builds, Warehouse

pytestmark = pytest.mark.timeout(280)

ENGINES = (
    "duckdb",
    "postgres",
    pytest.param("clickhouse", marks=pytest.mark.clickhouse),
)
PASSED_ON = (
    "counter_id",
    "status",
    "client_id_type",
    "comment",
    "source_quantity",
    "line_quantity",
    "static_calls_quantity",
    "dynamic_calls_quantity",
    "linked_quantity",
    "user_not_found_quantity",
    "goal_not_found_quantity",
)


@pytest.fixture(scope="session", params=ENGINES)
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """What was built on each engine."""
    if request.param == "postgres":
        return t.cast("Warehouse", request.getfixturevalue("postgres"))
    fixture = "builds" if request.param == "duckdb" else request.param
    return t.cast("Builds", request.getfixturevalue(fixture)).main


def key_of(case: Case) -> str:
    """The key that an upload has to have."""
    return f"{case.stream}-{case.fields['counter_id']}-{case.fields['id']}"


def key(case: Case) -> tuple[int, int]:
    """The counter and the ID of an upload."""
    return case.fields["counter_id"], case.fields["id"]


def test_uploads_are_as_loaded_and_judged(warehouse: Warehouse) -> None:
    rows = {row["upload_key"]: row for row in warehouse["uploads"]}
    assert len(rows) == len(warehouse["uploads"])
    assert rows.keys() == {key_of(case) for case in warehouse.world.everything}
    for case in warehouse.world.everything:
        row, loaded = rows[key_of(case)], case.fields
        assert {name: row[name] for name in PASSED_ON} == {
            name: loaded.get(name) for name in PASSED_ON
        }
        assert row["upload_type"] == case.stream
        assert row["upload_id"] == loaded["id"]
        assert row["created_at"] == loaded.get("create_time")
        assert row["is_final"] == (loaded.get("status") in FINAL)
        assert row["is_stuck"] == case.stuck, row
        assert row["attention_reason"] == case.attention, row
        assert row["linked_rate"] == pytest.approx(case.rate), row
        assert row["extracted_at"] is None


def test_days_sum_up_in_the_time_zone(warehouse: Warehouse) -> None:
    expected: Counter[tuple[t.Any, ...]] = Counter()
    lines: Counter[tuple[t.Any, ...]] = Counter()
    for case in warehouse.world.everything:
        at = case.fields.get("create_time")
        moscow = at and datetime.fromisoformat(at) + timedelta(hours=3)
        key = (
            case.stream,
            case.fields["counter_id"],
            moscow and str(moscow.date()),
            case.fields.get("client_id_type"),
        )
        expected[key] += 1
        lines[key] += case.fields.get("line_quantity") or 0
    names = ("upload_type", "counter_id", "created_on", "client_id_type")
    rows = {tuple(row[name] for name in names): row for row in warehouse["daily"]}
    assert len(rows) == len(warehouse["daily"])
    assert {key: row["uploads"] for key, row in rows.items()} == expected
    assert {key: row["line_quantity"] or 0 for key, row in rows.items()} == lines
    fallen = [row for row in warehouse["daily"] if row["counter_id"] == 30]
    assert sorted(row["linked_rate"] for row in fallen) == [0.3, 0.8, 0.8]


def test_silent_and_fallen_counters_are_found(warehouse: Warehouse) -> None:
    rows = {row["counter_id"]: row for row in warehouse["counters"]}
    world = warehouse.world
    assert rows.keys() == {case.fields["counter_id"] for case in world.everything}
    assert {counter for counter, row in rows.items() if row["is_silent"]} == SILENT
    fallen = {c for c, row in rows.items() if row["is_linked_rate_fallen"]}
    assert fallen == FALLEN
    assert rows[20]["median_interval_hours"] == 24
    assert rows[21]["median_interval_hours"] == pytest.approx(7 * 24, rel=0.01)
    assert rows[20]["last_created_at"] == world.ago(days=6)
    assert rows[30]["linked_rate_recent"] == pytest.approx(0.3)
    assert rows[30]["linked_rate_before"] == pytest.approx(0.8)
    assert [rows[20]["counter_name"], rows[7]["counter_name"]] == [NAME, None]
    assert rows[7]["attention_uploads"] == sum(
        case.attention is not None
        for case in world.everything
        if case.fields["counter_id"] == 7
    )


def test_the_recipes_of_the_readme_find_what_they_look_for(
    warehouse: Warehouse,
) -> None:
    unwell = [case for case in warehouse.world.everything if case.attention]
    wanted = [
        {key(case) for case in unwell},
        {key(case) for case in unwell if case.attention != "stuck"},
        {key(case) for case in unwell if case.attention == "stuck"},
        {(counter, None) for counter in SILENT},
    ]
    found = [
        {(row["counter_id"], row.get("upload_id")) for row in warehouse[recipe]}
        for recipe in recipes()
    ]
    assert found == wanted


def test_history_keeps_what_uploads_went_through(warehouse: Warehouse) -> None:
    versions: dict[str, list[JSON]] = {}
    for row in warehouse["history"]:
        versions.setdefault(row["upload_key"], []).append(row)
    assert versions.keys() == {key_of(case) for case in warehouse.world.everything}
    for upload in (FIRST_FLIGHT, SECOND_FLIGHT):
        before, after = sorted(versions.pop(f"calls-7-{upload}"), key=seen)
        assert [before["is_final"], after["is_final"]] == [False, True]
        assert after["status"] == "PROCESSED"
        assert seen(before) < seen(after)
        # In UTC, whatever the time zone of the machine and of the database is.
        for row in (before, after):
            lag = datetime.fromisoformat(seen(row)) - warehouse.world.now
            assert timedelta(0) <= lag < timedelta(hours=1)
    assert {len(rows) for rows in versions.values()} == {1}


def seen(row: JSON) -> str:
    """When a version was first seen."""
    return str(row["seen_at"])


def test_a_build_warns_of_uploads_and_names_them(warehouse: Warehouse) -> None:
    build = warehouse["build"]
    assert build["success"], build["messages"]
    alert = "metrika_calls__uploads_need_attention"
    unwell = [c for c in warehouse.world.everything if c.attention]
    assert build["status"].pop(alert) == "warn"
    assert set(build["status"].values()) == {"success", "pass"}
    assert f"Got {len(unwell)} results" in build["messages"][alert]
    assert len(build["logged"]) == len(unwell)
    assert any(
        "stuck: counter 7, upload 1, MATCHED" in line for line in build["logged"]
    )
    tests = {"stuck", "all_rows_rejected", "not_linked", "rows_rejected", "linked_rate"}
    assert tests < build["status"].keys()
    assert warehouse["report"]["error"] is None
