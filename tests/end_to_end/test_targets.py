"""Targets and mappers that take the tap at its word."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import typing as t
from datetime import timedelta

import pytest

from tests.end_to_end.meltano import Project, loader, project_in, sandbox_settings
from tests.end_to_end.tools import CSV, MAPPER, SQLITE, install
from tests.end_to_end.warehouse import (
    ASKED,
    COLUMNS,
    instant,
    keyed,
    lively_api,
    selection,
    uploads_now,
)
from tests.support import bookmarks_of, catalog_of, config_for, sync

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
)

pytestmark = pytest.mark.timeout(600)


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
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Sparse uploads, the first and the last among them, in one run of Meltano."""
    plugins = PLUGINS.format(
        csv=install(CSV, old=True) / "target-csv",
        mapper=install(MAPPER) / "meltano-map-transform",
        sqlite=install(SQLITE, old=True) / "target-sqlite",
    )
    project = project_in(tmp_path_factory.mktemp("project"), plugins)
    (project.folder / "csv").mkdir()
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
        try:
            log = project.run(f"meltano run {' '.join(BLOCKS)}", **variables)
        except subprocess.CalledProcessError as error:
            log = error.output
        yield Loaded(project, uploads_now(api), log)


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


def test_a_full_table_that_failed_deletes_nothing(
    lively: Sandbox, postgres: Postgres, tmp_path: Path
) -> None:
    assert full_table(lively, postgres, tmp_path) == (0, [])
    counter = next(iter(lively.counters.values()))
    gone = counter.uploads[0].fields["id"]
    lively.delete_upload(counter.id, gone)
    counter.inaccessible = True
    assert full_table(lively, postgres, tmp_path) == (1, [])
    assert full_table(lively, postgres, tmp_path, on_unavailable="skip") == (0, [])
    counter.inaccessible = False
    deleted = [{"counter_id": counter.id, "id": gone}]
    assert full_table(lively, postgres, tmp_path) == (0, deleted)


def full_table(
    api: Sandbox, postgres: Postgres, folder: Path, **settings: str
) -> tuple[int, list[JSON]]:
    """Read everything into PostgreSQL; the exit code, and what is marked as deleted."""
    target = folder / "target.json"
    target.write_text(
        json.dumps(
            {"sqlalchemy_url": postgres.url, "default_target_schema": "activated"}
        ),
        encoding="utf-8",
    )
    catalog = catalog_of("calls_uploadings", **{"replication-method": "FULL_TABLE"})
    config = config_for(api, emit_activate_version_messages=True, **settings)
    result = sync(config, catalog=catalog)
    subprocess.run(
        [loader("target-postgres"), "--config", target],
        input="\n".join([*result.lines, ""]),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    deleted = postgres.ask(
        "select counter_id, id from activated.calls_uploadings"
        " where _sdc_deleted_at is not null"
    )
    return result.code, deleted
