"""Carries out plans in the environment of dbt; runs in one process, dbt starts slowly.

Reads the steps of each plan as JSON from standard input, and prints their results.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import struct
import subprocess
import sys
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner

from transform.report import page, warehouse
from transform.report.errors import ReportError

JSON: t.TypeAlias = dict[str, t.Any]

TYPES = {
    "duckdb": {"int": "hugeint"},
    "postgres": {"int": "bigint"},
    # As target-clickhouse makes them.
    "clickhouse": {
        "int": "Nullable(Int64)",
        "text": "Nullable(String)",
        "timestamp": "Nullable(DateTime)",
    },
}
PROJECT = warehouse.PROJECT


@contextlib.contextmanager
def connected(engine: str) -> t.Iterator[t.Any]:
    """Connect to the database that the environment names."""
    if engine == "duckdb":
        with duckdb.connect(os.environ["TARGET_DUCKDB_PATH"]) as connection:
            yield connection.cursor()
        return
    if engine == "clickhouse":
        from clickhouse_connect import dbapi  # noqa: PLC0415 - as below

        host, port = os.environ["CLICKHOUSE_HOST"], int(os.environ["CLICKHOUSE_PORT"])
        with dbapi.connect(host=host, port=port) as connection:
            yield connection.cursor()
        return
    import psycopg2  # noqa: PLC0415 - is installed with dbt's adapter alone

    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        yield cursor
    connection.close()


def load(engine: str, table: str, columns: JSON, rows: list[list[t.Any]]) -> None:
    """Make a table if need be, and fill it, as a loader does."""
    if engine == "clickhouse":
        load_natively(table, columns, rows)
        return
    kinds = {name: TYPES[engine].get(kind, kind) for name, kind in columns.items()}
    defined = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
    mark = "?" if engine == "duckdb" else "%s"
    marks = ", ".join(mark for _ in columns)
    with connected(engine) as cursor:
        cursor.execute(f"create table if not exists {table} ({defined})")
        if rows:
            cursor.executemany(f"insert into {table} values ({marks})", rows)  # noqa: S608


def load_natively(table: str, columns: JSON, rows: list[list[t.Any]]) -> None:
    """Make a table and fill it by columns in binary form, as target-clickhouse does."""
    types = TYPES["clickhouse"]
    defined = ", ".join(f"{name} {types[kind]}" for name, kind in columns.items())
    values = [
        [
            datetime.fromisoformat(value).replace(tzinfo=UTC)
            if value and kind == "timestamp"
            else value
            for value, kind in zip(row, columns.values(), strict=True)
        ]
        for row in rows
    ]
    with connected("clickhouse") as cursor:
        cursor.execute(
            f"create table {table} ({defined}) engine = MergeTree order by tuple()"
        )
        if values:
            cursor.executemany(f"insert into {table} values", values)


def execute(engine: str, statement: str) -> None:
    """Execute a statement."""
    with connected(engine) as cursor:
        cursor.execute(statement)


def ask(engine: str, query: str) -> list[JSON]:
    """Read rows."""
    with connected(engine) as cursor:
        cursor.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def dbt(*arguments: str) -> JSON:
    """Run dbt; the status of each node, and what models and tests logged."""
    logged: list[str] = []

    def listen(event: t.Any) -> None:
        if event.info.name in {"JinjaLogInfo", "CatchableExceptionOnRun"}:
            logged.append(event.info.msg)

    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    done = dbtRunner(callbacks=[listen]).invoke(
        [*arguments, *folders, "--log-level", "none"]
    )
    results = done.result.results if done.result else []
    return {
        "success": done.success,
        "error": str(done.exception or ""),
        "logged": logged,
        "status": {r.node.name: r.status for r in results if hasattr(r, "node")},
        "messages": {r.node.name: r.message for r in results if hasattr(r, "node")},
    }


def report(database: str | None, out: str, variables: str = "{}") -> JSON:
    """Build a report; what is said where that is not possible."""
    try:
        read = warehouse.read(Path(database) if database else None, variables)
        page.write(read, Path(out))
    except ReportError as error:
        return {"error": str(error)}
    return {"error": None, "size": Path(out).stat().st_size}


def newer(file: str, copy: str) -> None:
    """Copy a file, with the version number that DuckDB 2 writes."""
    content = bytearray(Path(file).read_bytes())
    content[12:20] = (999).to_bytes(8, "little")
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", content[8:4096]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = checksum.to_bytes(8, "little")
    Path(copy).write_bytes(content)


def locked(database: str, out: str) -> JSON:
    """Build a report while another process has the file open."""
    code = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1])\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        said = report(database, out)
        other.stdin.close()
    return said


def environment(variables: JSON) -> None:
    """Set variables for the steps that follow."""
    os.environ |= variables


def enter(folder: str) -> None:
    """Go to a folder for the steps that follow."""
    os.chdir(folder)


STEPS: dict[str, t.Callable[..., t.Any]] = {
    step.__name__: step
    for step in (load, execute, ask, dbt, report, newer, locked, environment, enter)
}


def main() -> None:
    """Carry out the plans."""
    gc.disable()  # nearly all that dbt makes lives as long as the process
    plans = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        results = [
            [STEPS[name](*arguments) for name, *arguments in plan] for plan in plans
        ]
    json.dump(results, sys.stdout, default=str)


if __name__ == "__main__":
    main()
