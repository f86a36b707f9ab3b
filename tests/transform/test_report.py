"""What a report is built from, and what is said where it cannot be built."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from tests.transform.conftest import Builds, Warehouse

pytestmark = pytest.mark.timeout(280)

LINES = {
    "no table": "nothing.duckdb has no table calls_uploadings: load the uploads first",
    "no file": "there is no file none.duckdb",
    "quoted report": "dbt cannot open it's.duckdb: rename it, without quotes",
    "newer report": "is of a newer DuckDB than 1.1.3, which target-duckdb uses",
    "garbage report": "conftest.py is not a file of DuckDB",
    "locked report": "another process has locked.duckdb open: close it, and try again",
    "zone": "metrika_calls_time_zone: there is no time zone 'x'",
    "variables": "the variables have to be a JSON object, not {x",
}


@pytest.mark.parametrize("step", LINES)
def test_what_cannot_be_reported_on_is_one_line(builds: Builds, step: str) -> None:
    error = builds.results[step]["error"]
    assert error.endswith(LINES[step])
    assert "\n" not in error
    assert list(builds.folder.glob("bad*")) == []


def test_a_server_without_uploads_is_one_line(postgres: Warehouse) -> None:
    assert postgres["nothing loaded"]["error"] == (
        "No table calls_uploadings in the schema public: load the uploads first,"
        " or name the schema in metrika_calls_schema."
    )
    assert postgres["report"]["error"] is None


def test_odd_columns_and_versions_give_the_right_rows(builds: Builds) -> None:
    assert builds.results["odd report"]["error"] is None
    world = builds.main.world
    at = world.ago(days=2)
    common = {"counter_id": 7, "created_at": at, "status": "PROCESSED"}
    absent = {"comment": None, "source_quantity": None}
    rows = builds.results["odd uploads"]
    assert rows == [
        {
            **common,
            **absent,
            "upload_id": 2,
            "line_quantity": 9,
            "extracted_at": world.ago(hours=40),
        },
        {
            **common,
            **absent,
            "upload_id": 2**63 - 1,
            "line_quantity": 10,
            "extracted_at": world.ago(hours=30),
        },
    ]


def test_old_data_is_said_to_be_old(builds: Builds) -> None:
    for suffix, text in (("", "The data is old"), (".ru", "Данные устарели")):
        page = (builds.folder / f"odd{suffix}.html").read_text("utf-8")
        assert text in page
        assert f"{2**63 - 1}" not in page


def test_an_empty_table_gives_a_page_that_says_so(builds: Builds) -> None:
    assert builds.results["empty report"]["error"] is None
    page = (builds.folder / "empty.html").read_text("utf-8")
    assert "The table of uploads is empty" in page


def test_nothing_is_left_beside_the_pages(builds: Builds) -> None:
    pages = {path.name for path in builds.folder.iterdir() if "htm" in path.name}
    assert pages == {
        f"{n}{s}.html" for n in ("page", "odd", "empty") for s in ("", ".ru")
    }
    assert builds.results["report"]["size"] < 100_000
