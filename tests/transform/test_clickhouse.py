"""What only ClickHouse's engine can get wrong: `make test-clickhouse`."""

from __future__ import annotations

import re
import typing as t

import pytest

from tests.end_to_end.warehouse import (
    FINAL,
    assert_same,
    lively_api,
    selection,
    uploads_now,
)
from tests.support import config_for, sync
from tests.transform.cases import COLUMNS
from tests.transform.conftest import carried_out, clickhouse_front

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.transform.conftest import Builds

pytestmark = [pytest.mark.clickhouse, pytest.mark.timeout(600)]

# What tells when the page was built, and how long after the uploads.
TIMES = re.compile(r"<title>|.*<dt>(Built|Отчёт построен)</dt>|<p>(Of|Загрузок:) \d")
LATER = "2026-01-02 12:00:00"
EARLIER = "2026-01-02 11:00:00"


@pytest.mark.parametrize("suffix", ["", ".ru"])
def test_the_page_is_that_of_duckdb(clickhouse: Builds, suffix: str) -> None:
    assert clickhouse.results["report"]["error"] is None
    page, same = (
        (clickhouse.folder / f"{name}{suffix}.html").read_text("utf-8").splitlines()
        for name in ("page", "same")
    )
    assert len(page) > 500
    different = [pair for pair in zip(page, same, strict=True) if pair[0] != pair[1]]
    assert [pair for pair in different if not TIMES.match(pair[0])] == []


def test_a_database_without_uploads_is_one_line(clickhouse: Builds) -> None:
    assert clickhouse.results["nothing loaded"]["error"] == (
        "No table calls_uploadings in the schema default: load the uploads first,"
        " or name the schema in metrika_calls_schema."
    )
    assert list(clickhouse.folder.glob("bad*")) == []


def test_text_and_versions_give_the_right_rows(clickhouse: Builds) -> None:
    world = clickhouse.main.world
    assert clickhouse.results["odd report"]["error"] is None
    common = {"created_at": world.ago(days=2), "comment": None}
    assert clickhouse.results["odd uploads"] == [
        {**common, "upload_id": 2, "line_quantity": 9, "extracted_at": None},
        {
            **common,
            "upload_id": 2**63 - 1,
            "line_quantity": 10,
            "extracted_at": world.ago(hours=30),
        },
    ]


def test_an_empty_table_gives_a_page_that_says_so(clickhouse: Builds) -> None:
    assert clickhouse.results["empty report"]["error"] is None
    page = (clickhouse.folder / "empty.html").read_text("utf-8")
    assert "The table of uploads is empty" in page


def test_old_data_is_not_fresh(clickhouse: Builds) -> None:
    told = clickhouse.results["odd freshness"]["status"]
    assert told.pop("calls_uploadings") == "warn"
    # Where the time is not recorded, or there is no table, nothing is known.
    assert set(told.values()) == {"pass"}
    assert set(clickhouse.results["freshness"]["status"].values()) == {"pass"}


def test_what_the_tap_reads_is_what_the_models_hold(
    clickhouse_python: Path, tmp_path: Path
) -> None:
    """Two syncs, appended as target-clickhouse does unless it is told otherwise."""
    with lively_api() as api:
        config = config_for(api, counters=selection(api))
        first = sync(config)
        api.advance(3600)
        second = sync(config, first.state)
        uploads = uploads_now(api)
    assert len(second.records()) > 0
    rows = [
        [*(record[name] for name in COLUMNS), at]
        for run, at in ((first, EARLIER), (second, LATER))
        for record in run.records()
    ]
    columns = {**COLUMNS, "_sdc_extracted_at": "timestamp"}
    query = "select * from metrika_calls__uploads"
    with clickhouse_front(clickhouse_python, tmp_path / "data") as front:
        variables = {"METRIKA_CALLS_TARGET": "clickhouse", **front}
        (results,) = carried_out(
            clickhouse_python,
            tmp_path,
            {
                "server": ["environment", variables],
                "loaded": ["load", "clickhouse", "calls_uploadings", columns, rows],
                "build": ["dbt", "build"],
                "uploads": ["ask", "clickhouse", query],
            },
        )
    assert results["build"]["success"], results["build"]["messages"]
    found = results["uploads"]
    assert_same(
        [
            {**row, "id": row["upload_id"], "create_time": row["created_at"]}
            for row in found
        ],
        {
            key: {name: value for name, value in upload.items() if name != "type"}
            for key, upload in uploads.items()
        },
    )
    for row in found:
        assert row["is_final"] == (row["status"] in FINAL)
    assert {row["extracted_at"] for row in found} == {EARLIER, LATER}
