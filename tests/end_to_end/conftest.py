"""Fixtures: APIs with uploads, and a PostgreSQL server."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.end_to_end.meltano import printed
from tests.end_to_end.tools import POSTGRES, install, postgres_server
from tests.end_to_end.warehouse import lively_api
from tests.support import config_for

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox

Uploads: t.TypeAlias = dict[int, list[int]]

COUNTERS = range(1, 21)
READ = """\
import json, psycopg, sys
from psycopg.rows import dict_row
with psycopg.connect(sys.argv[1], row_factory=dict_row) as c:
    print(json.dumps(c.execute(sys.argv[2]).fetchall(), default=str))
"""


class Postgres:
    """A running PostgreSQL server."""

    def __init__(self, url: str, python: Path, folder: Path) -> None:
        self.url = url
        self._python = python
        self._folder = folder

    def ask(self, query: str) -> list[dict[str, t.Any]]:
        """Return the rows that a query finds."""
        rows = printed(self._python, READ, self._folder, self.url, query)
        return t.cast("list[dict[str, t.Any]]", rows)


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An API with uploads of all kinds, some of them in flight."""
    with lively_api() as api:
        yield api


@pytest.fixture
def uploads(api: Sandbox, request: pytest.FixtureRequest) -> Uploads:
    """The IDs of uploads in 20 counters, `UPLOADS` of the module in each."""
    api.quotas = None
    return {
        number: [
            upload.fields["id"]
            for upload in api.add_counter(number, request.module.UPLOADS).uploads
        ]
        for number in COUNTERS
    }


@pytest.fixture
def config(
    api: Sandbox, uploads: Uploads, request: pytest.FixtureRequest, tmp_path: Path
) -> Path:
    """A configuration that reads all of them, with `SETTINGS` of the module."""
    path = tmp_path / "config.json"
    counters = [{"counter_id": number} for number in uploads]
    settings = config_for(api, counters=counters, **request.module.SETTINGS)
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server."""
    python = install(POSTGRES) / "python"
    with postgres_server(python) as url:
        yield Postgres(url, python, tmp_path_factory.mktemp("postgres"))
