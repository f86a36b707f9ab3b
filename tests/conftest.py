"""A mock API for each test, pauses without waiting, and which worker runs what."""

from __future__ import annotations

import functools
import importlib.metadata
import typing as t
from unittest import mock

import pytest
from typing_extensions import override
from xdist.scheduler import LoadScopeScheduling

from sandbox import Sandbox
from tap_metrika_calls.api import limits

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

# What takes longest, beginning with that.
SLOW = (
    "tests/transform/",
    "tests/end_to_end/test_three_runs.py",
    "tests/end_to_end/test_targets.py",
    "tests/end_to_end/test_meltano.py",
    "tests/end_to_end/test_signals.py",
    "tests/end_to_end/test_demo.py",
    "tests/end_to_end/",
    "tests/protocol/test_simulation.py",
    "tests/protocol/test_error_bodies.py",
    "tests/protocol/test_failures.py",
    "tests/protocol/test_paging.py",
    "tests/test_sandbox.py",
    "tests/protocol/",
)
SHARES_DBT = "tests/transform/"


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Runs the tests of a file on one worker, and all that need dbt on another."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        return "dbt" if nodeid.startswith(SHARES_DBT) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> LoadScopeScheduling:
    """Let tests share what is expensive to set up."""
    return FileScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker waits for another's end."""
    items.sort(
        key=lambda item: next(
            (place for place, path in enumerate(SLOW) if item.nodeid.startswith(path)),
            len(SLOW),
        )
    )


@pytest.fixture(autouse=True, scope="session")
def versions_are_read_once() -> Iterator[None]:
    """Read the version of a package from disk once, not in each run of the tap."""
    kept = functools.cache(importlib.metadata.version)
    with mock.patch.object(importlib.metadata, "version", kept):
        yield


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A mock API without counters, that keeps the documented quotas."""
    with Sandbox(counters=0) as sandbox:
        yield sandbox


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between retries in this process take next to no time."""
    monkeypatch.setattr(limits, "MAX_BACKOFF", 0.01)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests counted with `record_property`."""
    ended = [r for r in terminalreporter.getreports("") if r.when == "teardown"]
    for report in ended:
        for name, value in report.user_properties:
            test = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"{test}: {name}: {value}")
