"""Fixtures: an environment with dbt, and a warehouse that it built."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.end_to_end.tools import install, postgres_server
from tests.transform.cases import COLUMNS, COUNTER_ROWS, COUNTERS, World

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ZONE = {"metrika_calls_time_zone": "Europe/Moscow"}
MAIN = {**ZONE, "metrika_calls_schema": "main"}
SQL = re.compile(r"```sql\n(.*?);\n```", re.DOTALL)
Plan: t.TypeAlias = dict[str, list[t.Any]]


@pytest.fixture(scope="session")
def dbt_python() -> Path:
    """The Python of an environment with dbt and a driver of browsers."""
    files = (ROOT / "transform" / "requirements.txt", HERE / "requirements.txt")
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    return install([x for x in lines if x and x[0] not in "#-"]) / "python"


def carried_out(python: Path, folder: Path, *plans: Plan) -> list[dict[str, t.Any]]:
    """Carry out plans in one process, see `driver.py`; each step's result by name."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_WRITE_JSON": "false",  # nobody reads these files
        # A machine that is not in UTC.
        "TZ": "Asia/Vladivostok",
    }
    done = subprocess.run(
        [python, HERE / "driver.py"],
        input=json.dumps([list(plan.values()) for plan in plans]),
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    results = json.loads(done.stdout)
    return [dict(zip(*each, strict=True)) for each in zip(plans, results, strict=True)]


@dataclass(frozen=True)
class Warehouse:
    """A database after two builds, between which two uploads were processed.

    Attributes:
        world: What was loaded.
        results: What each step said; after the first build, the rows of each mart.
    """

    world: World
    results: dict[str, t.Any]

    def __getitem__(self, step: str) -> t.Any:
        """The result of a step."""
        return self.results[step]


def recipes() -> list[str]:
    """The queries of the README."""
    return SQL.findall((ROOT / "README.md").read_text("utf-8"))


def two_builds(engine: str, world: World, database: Path | None = None) -> Plan:
    """A plan that loads a world and builds it twice, the second time for a page.

    Args:
        engine: What to build it with.
        world: What to load.
        database: The file of DuckDB.
    """
    # Where nothing changes, dbt does not parse its project anew.
    variables = json.dumps(MAIN if engine == "duckdb" else ZONE)
    both = " where counter_id = 7 and id in (1, 2)"
    moved = f"update calls_uploadings set status = 'PROCESSED'{both}"  # noqa: S608
    ask = ("ask", engine)
    return {
        "calls": ["load", engine, "calls_uploadings", COLUMNS, world.rows("calls")],
        "conversions": [
            *("load", engine, "conversions_uploadings"),
            *(COLUMNS, world.rows("conversions")),
        ],
        "counters loaded": ["load", engine, "counters", COUNTERS, COUNTER_ROWS],
        "build": ["dbt", "build", "--vars", variables],
        "uploads": [*ask, "select * from metrika_calls__uploads"],
        "daily": [*ask, "select * from metrika_calls__daily"],
        "counters": [*ask, "select * from metrika_calls__counters"],
        **{recipe: [*ask, recipe] for recipe in recipes()},
        "moved": ["execute", engine, moved],
        "report": ["report", database and str(database), "page.html", variables],
        "history": [*ask, "select * from metrika_calls__history"],
    }


@dataclass(frozen=True)
class Builds:
    """Everything that was built on DuckDB, in one process.

    Attributes:
        folder: Where the files are.
        main: A file with the rows of `World`, built twice.
        results: What each other step said.
    """

    folder: Path
    main: Warehouse
    results: dict[str, t.Any]


@pytest.fixture(scope="session")
def everything_built(
    dbt_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Builds, Warehouse]:
    """Build all that the tests look at, and the same on a server of PostgreSQL.

    The server is not in UTC.
    """
    folder = tmp_path_factory.mktemp("duckdb")
    world = World()
    file = folder / "the first.file.duckdb"
    on_files: Plan = {
        "file": ["environment", {"TARGET_DUCKDB_PATH": str(file)}],
        "empty loaded": ["load", "duckdb", "calls_uploadings", COLUMNS, []],
        "empty report": ["report", str(file), "empty.html", json.dumps(MAIN)],
        **two_builds("duckdb", world, file),
        **odd_file(world),
        **bad_files(file),
    }
    with postgres_server(dbt_python, "Asia/Vladivostok") as given:
        url = urlsplit(given)
        variables = {
            "METRIKA_CALLS_TARGET": "postgres",
            "PGHOST": url.hostname or parse_qs(url.query)["host"][0],
            "PGUSER": url.username or "postgres",
            "PGDATABASE": url.path.strip("/"),
            **({"PGPORT": str(url.port)} if url.port else {}),
        }
        on_server: Plan = {
            "folder": ["enter", str(tmp_path_factory.mktemp("postgres"))],
            "server": ["environment", variables],
            "nothing loaded": ["report", None, "bad.html", json.dumps(ZONE)],
            **two_builds("postgres", world),
        }
        files, server = carried_out(dbt_python, folder, on_files, on_server)
    return Builds(folder, Warehouse(world, files), files), Warehouse(world, server)


@pytest.fixture(scope="session")
def builds(everything_built: tuple[Builds, Warehouse]) -> Builds:
    """What was built on DuckDB."""
    return everything_built[0]


@pytest.fixture(scope="session")
def postgres(everything_built: tuple[Builds, Warehouse]) -> Warehouse:
    """What was built on PostgreSQL."""
    return everything_built[1]


@contextlib.contextmanager
def clickhouse_front(python: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Run ClickHouse's engine, see `clickhouse_front.py`; variables that name it."""
    with subprocess.Popen(
        [python, HERE / "clickhouse_front.py", folder],
        # It is not in UTC.
        env={**os.environ, "TZ": "Asia/Vladivostok"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as front:
        assert front.stdin
        assert front.stdout
        port = front.stdout.readline().strip()
        yield {"CLICKHOUSE_HOST": "127.0.0.1", "CLICKHOUSE_PORT": port}
        front.stdin.close()


@pytest.fixture(scope="session")
def clickhouse_python() -> Path:
    """The Python of an environment with dbt-clickhouse and ClickHouse's engine."""
    files = (
        ROOT / "transform" / "requirements.txt",
        HERE / "requirements-clickhouse.txt",
    )
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    return install([x for x in lines if x and x[0] not in "#-"]) / "python"


@pytest.fixture(scope="session")
def clickhouse(
    clickhouse_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Builds]:
    """Build the same on ClickHouse's engine, which is not in UTC, and on DuckDB."""
    folder = tmp_path_factory.mktemp("clickhouse")
    moved = (
        "alter table calls_uploadings update status = 'PROCESSED'"
        " where counter_id = 7 and id in (1, 2) settings mutations_sync = 1"
    )
    with clickhouse_front(clickhouse_python, folder / "data") as front:
        variables = {"METRIKA_CALLS_TARGET": "clickhouse", **front}
        world = World()
        plan: Plan = {
            "server": ["environment", variables],
            "nothing loaded": ["report", None, "bad.html", json.dumps(ZONE)],
            **two_builds("clickhouse", world),
            "moved": ["execute", "clickhouse", moved],
            **odd_database(world),
        }
        (results,) = carried_out(clickhouse_python, folder, plan)
        file = {"METRIKA_CALLS_TARGET": "duckdb", "TARGET_DUCKDB_PATH": "same.duckdb"}
        same: Plan = {
            "file": ["environment", file],
            **two_builds("duckdb", world),
            "report": ["report", "same.duckdb", "same.html", json.dumps(ZONE)],
        }
        carried_out(clickhouse_python, folder, same)
        yield Builds(folder, Warehouse(world, results), results)


def odd_database(world: World) -> Plan:
    """A plan for a table with text where numbers are expected, and old versions."""
    columns = {
        "id": "text",
        "counter_id": "text",
        "create_time": "timestamp",
        "status": "text",
        "line_quantity": "text",
        "_sdc_extracted_at": "text",
        "_sdc_deleted_at": "timestamp",
    }
    big = str(2**63 - 1)
    at = world.ago(days=2)
    old, new = (world.ago(hours=hours).replace(" ", "T") + "Z" for hours in (40, 30))
    rows = [
        [big, "7", at, "PROCESSED", "10", new, None],
        [big, "7", at, "UPLOADED", "11", old, None],
        ["2", "7", at, "PROCESSED", "9", "", None],
        ["3", "7", at, "PROCESSED", "10", new, world.ago(hours=1)],
    ]
    query = (
        "select upload_id, created_at, line_quantity, comment, extracted_at"
        " from odd.metrika_calls__uploads order by upload_id"
    )
    load = ("load", "clickhouse")
    return {
        "freshness": ["dbt", "source", "freshness"],
        "odd database": ["execute", "clickhouse", "create database odd"],
        "odd loaded": [*load, "odd.calls_uploadings", columns, rows],
        "odd": ["environment", {"METRIKA_CALLS_SCHEMA": "odd"}],
        "odd report": ["report", None, "odd.html"],
        "odd uploads": ["ask", "clickhouse", query],
        "odd freshness": ["dbt", "source", "freshness"],
        "empty database": ["execute", "clickhouse", "create database empty"],
        "empty loaded": [*load, "empty.calls_uploadings", columns, []],
        "empty": ["environment", {"METRIKA_CALLS_SCHEMA": "empty"}],
        "empty report": ["report", None, "empty.html"],
    }


def odd_file(world: World) -> Plan:
    """A plan for a table that is unlike those of the loaders used here.

    It has text where numbers are expected, lacks columns, and keeps each version of an
    upload.
    """
    columns = {
        "id": "text",
        "counter_id": "text",
        "create_time": "timestamptz",
        "status": "text",
        "line_quantity": "text",
        "_sdc_extracted_at": "text",
        "_sdc_deleted_at": "timestamp",
    }
    big = str(2**63 - 1)
    at = world.ago(days=2) + "+00:00"
    old, new = (world.ago(hours=hours).replace(" ", "T") + "Z" for hours in (40, 30))
    rows = [
        [big, "7", at, "PROCESSED", "10", new, None],
        [big, "7", at, "UPLOADED", "10", old, None],
        ["2", "7", at, "UPLOADED", "10", old, None],
        ["2", "7", at, "PROCESSED", "9", old, None],
        ["3", "7", at, "PROCESSED", "10", new, world.ago(hours=1)],
    ]
    query = (
        "select counter_id, upload_id, created_at, status, line_quantity, comment,"
        " source_quantity, extracted_at from metrika_calls__uploads order by upload_id"
    )
    return {
        "odd": ["environment", {"TARGET_DUCKDB_PATH": "odd.duckdb"}],
        "odd schema": ["execute", "duckdb", "create schema loaded"],
        "odd loaded": ["load", "duckdb", "loaded.calls_uploadings", columns, rows],
        "odd report": ["report", "odd.duckdb", "odd.html"],
        "odd uploads": ["ask", "duckdb", query],
    }


def bad_files(good: Path) -> Plan:
    """A plan for what cannot be reported on.

    Args:
        good: A file that can.
    """
    nothing = {"TARGET_DUCKDB_PATH": "nothing.duckdb"}
    return {
        "other": ["environment", nothing],
        "other loaded": ["execute", "duckdb", "create table other (i int)"],
        "no table": ["report", "nothing.duckdb", "bad.html"],
        "no file": ["report", "none.duckdb", "bad.html"],
        "quoted": ["execute", "duckdb", "attach 'it''s.duckdb' as quoted"],
        "quoted report": ["report", "it's.duckdb", "bad.html"],
        "newer": ["newer", "nothing.duckdb", "newer.duckdb"],
        "newer report": ["report", "newer.duckdb", "bad.html"],
        "garbage report": ["report", __file__, "bad.html"],
        "locked report": ["locked", "locked.duckdb", "bad.html"],
        "zone": [
            "report",
            str(good),
            "bad.html",
            '{"metrika_calls_time_zone": "x"}',
        ],
        "variables": ["report", str(good), "bad.html", "{x"],
    }
