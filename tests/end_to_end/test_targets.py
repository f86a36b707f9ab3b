"""Targets, mappers and a report that take the tap at its word."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import subprocess
import typing as t
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from tests.end_to_end.meltano import Project, loader, project_in, sandbox_settings
from tests.end_to_end.tools import CSV, MAPPER, ROOT, SQLITE, install
from tests.end_to_end.warehouse import (
    ASKED,
    COLUMNS,
    FINAL,
    instant,
    keyed,
    lively_api,
    selection,
    uploads_now,
)
from tests.support import Run, bookmarks_of, catalog_of, config_for, sync
from tests.transform.conftest import dbt_python

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.end_to_end.conftest import Postgres
    from tests.end_to_end.warehouse import JSON, Key

PLUGINS = """\
plugins:
  extractors:
  - name: tap-metrika-calls--text
    inherit_from: tap-metrika-calls
    config:
      api_url: $TAP_METRIKA_CALLS_API_URL
      counters: $TAP_METRIKA_CALLS_COUNTERS
      oauth_token: $TAP_METRIKA_CALLS_OAUTH_TOKEN
    schema:
      calls_uploadings:
        counter_id: {{type: string}}
        id: {{type: [string, "null"]}}
        linked_quantity: {{type: ["null", string]}}
  mappers:
  - name: meltano-map-transformer
    namespace: meltano_map_transformer
    executable: {mapper}
    mappings:
    - name: linked
      config:
        stream_maps:
          calls_uploadings:
            linked: int(record["linked_quantity"] or 0)
            label: str(client_id_type) + "!"
  loaders:
  - name: target-csv
    namespace: target_csv
    executable: {csv}
    config: {{disable_collection: true, destination_path: csv}}
  - name: target-sqlite
    namespace: target_sqlite
    executable: {sqlite}
    config: {{database: calls}}
"""
BLOCKS = (
    "tap-metrika-calls target-csv",
    "tap-metrika-calls linked target-jsonl",
    "tap-metrika-calls--text target-sqlite",
    "tap-metrika-calls target-duckdb report",
)
ROW = re.compile(r'<th scope="row">(\d+)</th><td>(\d+)</td>')
COUNT = re.compile(r'<span class="count">(\d+)</span>')

pytestmark = pytest.mark.timeout(600)

__all__ = ["dbt_python"]  # a fixture


class Loaded(t.NamedTuple):
    """What was loaded.

    Attributes:
        project: The project with the files.
        uploads: What the API says.
        log: What Meltano logged.
    """

    project: Project
    uploads: dict[Key, JSON]
    log: str


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory, dbt_python: Path
) -> Iterator[Loaded]:
    """Sparse uploads, the first and the last among them, in one run of Meltano."""
    plugins = PLUGINS.format(
        csv=install(CSV, old=True) / "target-csv",
        mapper=install(MAPPER) / "meltano-map-transform",
        sqlite=install(SQLITE, old=True) / "target-sqlite",
    )
    project = project_in(tmp_path_factory.mktemp("project"), plugins)
    (project.folder / "csv").mkdir()
    prepare_report(project.folder, dbt_python)
    with lively_api() as api:
        sparse: JSON = {
            "line_quantity": 8,
            "source_quantity": 9,
            "client_id_type": "YCLID",
        }
        for counter in api.counters.values():
            if counter.id != ASKED:
                late = api.now() - timedelta(minutes=1)
                api.add_upload(counter.id, create_time=late.isoformat(), **sparse)
        variables = sandbox_settings(api, COUNTERS=json.dumps(selection(api)))
        variables |= {
            "DBT_TARGET_PATH": str(project.folder / "target"),
            "DBT_LOG_PATH": str(project.folder / "logs"),
            "DBT_WRITE_JSON": "false",
        }
        try:
            log = project.run(f"meltano run {' '.join(BLOCKS)}", **variables)
        except subprocess.CalledProcessError as error:
            log = error.output
        yield Loaded(project, uploads_now(api), log)


def prepare_report(folder: Path, dbt_python: Path) -> None:
    """Let a project build reports with what is installed already."""
    path = folder / "meltano.yml"
    definition = yaml.safe_load(path.read_text("utf-8"))
    (report,) = definition["plugins"]["utilities"]
    del report["pip_url"]
    report["executable"] = str(dbt_python)
    path.write_text(yaml.safe_dump(definition), "utf-8")
    (folder / "transform").symlink_to(ROOT / "transform")


def test_no_column_of_a_csv_file_is_shifted(loaded: Loaded) -> None:
    (path,) = loaded.project.folder.glob("csv/calls_uploadings-*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(loaded.uploads)
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        upload = loaded.uploads[int(row["counter_id"]), int(row["id"])]
        for name, value in upload.items():
            if name == "create_time" and value is not None:
                assert instant(row[name]) == instant(value)
            else:
                assert row[name] == ("" if value is None else str(value)), name


def test_a_csv_target_passes_on_the_state(loaded: Loaded) -> None:
    state = loaded.project.state("target-csv")
    assert set(bookmarks_of(state)) == {c for c, _ in loaded.uploads if c != ASKED}


def test_ids_are_text_where_the_catalog_says_so(loaded: Loaded) -> None:
    database = sqlite3.connect(loaded.project.folder / "calls.db")
    with database:
        rows = database.execute(
            "select counter_id, id, linked_quantity from calls_uploadings"
        ).fetchall()
    database.close()
    assert sorted(rows) == sorted(
        (str(counter), str(number), text_of(upload["linked_quantity"]))
        for (counter, number), upload in loaded.uploads.items()
    )


def text_of(value: int | None) -> str | None:
    """Return the exact text of a number."""
    return None if value is None else str(value)


def test_a_mapper_may_use_a_column_that_older_uploads_lack(loaded: Loaded) -> None:
    path = loaded.project.folder / "calls_uploadings.jsonl"
    assert path.exists(), loaded.log
    rows = keyed(json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert rows.keys() == loaded.uploads.keys()
    for key, upload in loaded.uploads.items():
        assert rows[key]["linked"] == (upload["linked_quantity"] or 0)
        assert rows[key]["label"] == f"{upload['client_id_type']}!"


def test_a_load_and_its_report_in_one_run(loaded: Loaded) -> None:
    assert "Report: report.html, in Russian: report.ru.html" in loaded.log
    page = (loaded.project.folder / "report.html").read_text("utf-8")
    part = page.partition('<article id="stuck">')[2].partition("</article>")[0]
    shown = {(int(c), int(i)) for c, i in ROW.findall(part.replace("\n", ""))}
    hours_ago = datetime.now(UTC) - timedelta(hours=2)
    stuck = {
        key
        for key, upload in loaded.uploads.items()
        if upload["status"] not in FINAL
        and upload["create_time"]
        and instant(upload["create_time"]) < hours_ago
    }
    assert [int(number) for number in COUNT.findall(part)] == [len(stuck)]
    assert shown
    assert shown <= stuck


def test_a_full_table_that_failed_deletes_nothing(
    lively: Sandbox, postgres: Postgres, tmp_path: Path
) -> None:
    whole = full_table(lively, after=0)
    counter = next(iter(lively.counters.values()))
    gone = counter.uploads[0].fields["id"]
    lively.delete_upload(counter.id, gone)
    counter.inaccessible = True
    failed = full_table(lively, after=10)
    skipped = full_table(lively, after=20, on_unavailable="skip")
    assert [run.code for run in (whole, failed, skipped)] == [0, 1, 0]
    # What one of them deletes, none of those behind it brings back.
    rows = load_full_table(postgres, tmp_path, whole, failed, skipped)
    assert rows == dict.fromkeys(sorted(whole.keys), False)
    counter.inaccessible = False
    again = full_table(lively, after=30)
    assert again.code == 0
    rows = load_full_table(postgres, tmp_path, again)
    assert [key for key, deleted in rows.items() if deleted] == [(counter.id, gone)]


def full_table(api: Sandbox, *, after: int, **settings: str) -> Run:
    """Read everything, as if that many seconds later: they make the version."""
    catalog = catalog_of("calls_uploadings", **{"replication-method": "FULL_TABLE"})
    config = config_for(api, emit_activate_version_messages=True, **settings)
    run = sync(config, catalog=catalog)
    for message in run.messages:
        if "version" in message:
            message["version"] += after
    return run


def load_full_table(postgres: Postgres, folder: Path, *runs: Run) -> dict[Key, bool]:
    """Load runs into PostgreSQL; the key of each row, and whether it is deleted."""
    target = folder / "target.json"
    target.write_text(
        json.dumps(
            {"sqlalchemy_url": postgres.url, "default_target_schema": "activated"}
        ),
        encoding="utf-8",
    )
    subprocess.run(
        [loader("target-postgres"), "--config", target],
        input="".join(f"{json.dumps(m)}\n" for run in runs for m in run.messages),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    rows = postgres.ask(
        "select counter_id, id, _sdc_deleted_at is not null as deleted"
        " from activated.calls_uploadings order by counter_id, id"
    )
    return {(row["counter_id"], row["id"]): row["deleted"] for row in rows}
