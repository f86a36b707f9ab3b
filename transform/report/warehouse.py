"""Runs dbt: builds the models and reads what the page shows, on any engine."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import typing as t
import zoneinfo
from dataclasses import dataclass
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner

from transform.report.errors import ReportError

Row: t.TypeAlias = dict[str, t.Any]

PROJECT = Path(__file__).parents[1]
PREFIX = "metrika_calls__page_"
TABLES = ("calls_uploadings", "conversions_uploadings", "chats_uploadings")
SCHEMA = "metrika_calls_schema"
ZONE = "metrika_calls_time_zone"
ENGINE = "METRIKA_CALLS_TARGET"
FILE = "TARGET_DUCKDB_PATH"


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        rows: The rows of each query of the page, by its name.
        zone: The time zone in which times are shown.
    """

    rows: dict[str, list[Row]]
    zone: zoneinfo.ZoneInfo


def default_database() -> Path | None:
    """Find the file of DuckDB; none where the profile names another engine."""
    if os.environ.get(ENGINE, "duckdb") != "duckdb":
        return None
    return Path(os.environ.get(FILE) or "metrika.duckdb")


def read(database: Path | None, variables: str) -> Report:
    """Build the models and read what the page shows.

    Args:
        database: A file of DuckDB; without it, the environment names a warehouse.
        variables: Variables of dbt, as JSON.

    Raises:
        ReportError: If that is not possible.
    """
    chosen = _variables(variables)
    zone = _zone(chosen)
    if database is not None:
        schema = _schema_with_uploads(database)
        chosen.setdefault(SCHEMA, schema)
        os.environ |= {ENGINE: "duckdb", FILE: str(database.absolute())}
    options = ("--vars", json.dumps(chosen))
    _dbt("build", "--resource-type", "model", "--resource-type", "snapshot", *options)
    shown = _dbt(
        "show",
        "--select",
        "package:metrika_calls,resource_type:analysis",
        "--limit",
        "-1",
        *options,
    )
    return Report(
        {
            result.node.name.removeprefix(PREFIX): _rows(result.agate_table)
            for result in shown
        },
        zone,
    )


def _variables(text: str) -> Row:
    try:
        variables = json.loads(text)
    except ValueError:
        variables = None
    if not isinstance(variables, dict):
        message = f"the variables have to be a JSON object, not {text}"
        raise ReportError(message)
    return variables


def _zone(variables: Row) -> zoneinfo.ZoneInfo:
    name = variables.get(ZONE, "UTC")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError) as error:
        message = f"{ZONE}: there is no time zone {name!r}"
        raise ReportError(message) from error


def _schema_with_uploads(path: Path) -> str:
    """Look into a file before dbt does, whose words for what is wrong are many."""
    if not path.is_file():
        message = f"there is no file {path}"
        raise ReportError(message)
    if {"'", '"'} & set(path.name):
        message = f"dbt cannot open {path}: rename it, without quotes"
        raise ReportError(message)
    query = (
        "select table_schema from information_schema.tables"
        " where table_name in (?, ?, ?)"
    )
    try:
        with duckdb.connect(str(path)) as connection:
            found = {row[0] for row in connection.execute(query, TABLES).fetchall()}
    except duckdb.Error as error:
        raise ReportError(_explained(path, str(error))) from error
    if not found:
        message = f"{path} has no table calls_uploadings: load the uploads first"
        raise ReportError(message)
    if len(found) > 1 and "main" not in found:
        names = ", ".join(sorted(found))
        message = (
            f"{path} has uploads in several schemas ({names}): name one in {SCHEMA}"
        )
        raise ReportError(message)
    return "main" if "main" in found else found.pop()


def _explained(path: Path, message: str) -> str:
    first = message.splitlines()[0]
    if "lock on file" in message:
        return f"another process has {path} open: close it, and try again"
    if "version number" in message or "newer version" in message:
        own = duckdb.__version__
        return f"{path} is of a newer DuckDB than {own}, which target-duckdb uses"
    if "not a valid DuckDB" in message:
        return f"{path} is not a file of DuckDB"
    return f"{path} cannot be opened: {first}"


def _dbt(command: str, *options: str) -> t.Any:  # noqa: ANN401 - dbt's own types
    """Run dbt; why an ephemeral model failed is in its events alone."""
    failures: list[str] = []

    def listen(event: t.Any) -> None:  # noqa: ANN401 - as above
        if event.info.name == "CatchableExceptionOnRun":
            failures.append(event.info.msg)

    folders = ("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT))
    runner = dbtRunner(callbacks=[listen])
    done = runner.invoke(
        [command, *folders, "--log-level", "none", "--no-version-check", *options]
    )
    if done.success:
        return done.result.results
    said = failures or [str(done.exception or f"dbt {command} failed")]
    raise ReportError(_one_line(said[0]))


def _one_line(message: str) -> str:
    """Leave out the headline of dbt's errors, which names a file of the package."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if len(lines) > 1 and " Error" in lines[0]:
        lines = lines[1:]
    return " ".join(lines)


def _rows(table: t.Any) -> list[Row]:  # noqa: ANN401 - agate has no types
    return [
        {
            name: _plain(value)
            for name, value in zip(table.column_names, row, strict=True)
        }
        for row in table.rows
    ]


def _plain(value: object) -> object:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    return value
