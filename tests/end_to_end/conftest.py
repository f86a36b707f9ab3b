"""Fixtures: a Meltano project, and an API with uploads of all kinds."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from sandbox import Sandbox
from tests.end_to_end.meltano import Project, checkout_in

if t.TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the tap and the loaders of the checkout, installed when needed."""
    return checkout_in(tmp_path_factory.mktemp("project"))


@pytest.fixture
def lively() -> Iterator[Sandbox]:
    """An API with uploads of all kinds, some of them in flight."""
    with Sandbox(counters=2, uploads=25) as sandbox:
        sandbox.add_counter(7)
        sandbox.add_upload(
            7, id=2**53 + 1, comment="Звонки 📞 \u202e'\"\\,;\t\n", source_quantity=0
        )
        sandbox.add_upload(7, id=1, create_time=None, status=None)
        hours_ago = datetime.now(UTC) - timedelta(hours=3)
        sandbox.add_upload(
            7, id=2, create_time=hours_ago.isoformat("T", "seconds"), status="MATCHED"
        )
        for key, quantity in ((3, 0), (4, 5)):
            sandbox.add_upload(
                7, id=key, status="LINKAGE_FAILURE", dynamic_calls_quantity=quantity
            )
        yield sandbox
