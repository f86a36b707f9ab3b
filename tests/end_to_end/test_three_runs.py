"""Three runs in a row through Meltano, with changes between them."""

from __future__ import annotations

import itertools
import json
import typing as t
from dataclasses import dataclass
from datetime import UTC, timedelta

import pytest

from tests.end_to_end.meltano import Project, project_in, sandbox_settings
from tests.end_to_end.warehouse import (
    ASKED,
    COLUMNS,
    FINAL,
    QUIET,
    assert_same,
    instant,
    keyed,
    lively_api,
    selection,
    uploads_now,
)
from tests.support import bookmarks_of

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sandbox import Sandbox
    from tests.end_to_end.conftest import Postgres
    from tests.end_to_end.warehouse import JSON, Key

TARGETS = ("target-jsonl", "target-duckdb", "target-postgres")
READ_DUCKDB = """\
import json, duckdb
with duckdb.connect("calls.duckdb", read_only=True) as c:
    t = c.execute("select * from calls_uploadings")
    names = [d[0] for d in t.description]
    print(json.dumps([dict(zip(names, row)) for row in t.fetchall()], default=str))
"""

pytestmark = pytest.mark.timeout(600)


@dataclass
class Round:
    """What one run left behind.

    Attributes:
        at: When it was, by the clock of the API.
        uploads: What the API said then.
        lines: What target-jsonl wrote in this run.
        tables: What each table held afterwards.
        states: What Meltano saved for each target.
    """

    at: datetime
    uploads: dict[Key, JSON]
    lines: list[JSON]
    tables: dict[str, list[JSON]]
    states: dict[str, JSON]

    @property
    def bookmarks(self) -> dict[int, str]:
        """The newest upload of each counter that is read whole."""
        newest: dict[int, datetime] = {}
        for (counter_id, _), upload in self.uploads.items():
            if counter_id != ASKED:
                created = instant(upload["create_time"])
                newest[counter_id] = max(newest.get(counter_id, created), created)
        return {
            counter_id: created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for counter_id, created in newest.items()
        }

    def in_flight(self) -> set[Key]:
        """The uploads that the next run has to look at again."""
        return {
            key for key, upload in self.uploads.items() if upload["status"] not in FINAL
        }


@pytest.fixture(scope="module")
def rounds(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[list[Round]]:
    """Three runs into each target, with changes between them."""
    project = project_in(tmp_path_factory.mktemp("project"))
    project.environment["TARGET_POSTGRES_SQLALCHEMY_URL"] = postgres.url
    with lively_api() as api:
        busy = next(iter(api.counters))
        days_ago = (api.epoch - timedelta(days=3)).isoformat()
        slow = api.add_upload(busy, create_time=days_ago, status="UPLOADED")
        first = load(project, api, postgres)
        slow["status"] = "MATCHED"
        now = api.now().isoformat()
        new = api.add_upload(busy, create_time=now, status="PREPARED", comment="")
        asked = api.counters[ASKED].uploads[2]
        asked.fields["status"] = "PROCESSED"
        api.advance(3_000)
        second = load(project, api, postgres)
        slow["status"] = "PROCESSED"
        new |= {"status": "LINKAGE_FAILURE", "line_quantity": 2}
        api.advance(3_000)
        yield [first, second, load(project, api, postgres)]


def load(project: Project, api: Sandbox, postgres: Postgres) -> Round:
    """Run the tap into all targets, and read back what they hold."""
    blocks = " ".join(f"tap-metrika-calls {target}" for target in TARGETS)
    counters = json.dumps(selection(api))
    project.run(f"meltano run {blocks}", **sandbox_settings(api, COUNTERS=counters))
    path = project.folder / "calls_uploadings.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.unlink()
    tables = {
        "target-duckdb": project.python("target-duckdb", READ_DUCKDB),
        "target-postgres": postgres.ask("select * from public.calls_uploadings"),
    }
    states = {target: project.state(target) for target in TARGETS}
    return Round(api.now(), uploads_now(api), lines, tables, states)


@pytest.mark.parametrize("target", TARGETS)
def test_every_row_is_loaded(rounds: list[Round], target: str) -> None:
    appended: list[JSON] = []
    for run in rounds:
        appended += run.lines
        table = run.tables.get(target, keyed(appended).values())
        assert_same(table, run.uploads, keeps_empty=target != "target-duckdb")


@pytest.mark.parametrize("target", TARGETS)
def test_the_state_of_each_run_is_saved(rounds: list[Round], target: str) -> None:
    for run in rounds:
        assert bookmarks_of(run.states[target]) == run.bookmarks
    assert QUIET in rounds[-1].bookmarks


def test_a_run_loads_what_may_have_changed_and_nothing_else(
    rounds: list[Round],
) -> None:
    first, *_ = rounds
    loaded = [(row["counter_id"], row["id"]) for row in first.lines]
    assert sorted(loaded) == sorted(first.uploads)
    for before, run in itertools.pairwise(rounds):
        in_flight = before.in_flight()
        due = [
            key
            for key, upload in run.uploads.items()
            if key[0] == ASKED
            or key in in_flight
            or instant(upload["create_time"])
            >= instant(before.bookmarks[key[0]]) - timedelta(hours=1)
        ]
        loaded = [(row["counter_id"], row["id"]) for row in run.lines]
        assert sorted(loaded) == sorted(due)
        assert len(due) < len(run.uploads) // 2


def test_every_row_has_every_column(rounds: list[Round]) -> None:
    for run in rounds:
        for row in run.lines:
            assert tuple(row) == COLUMNS
