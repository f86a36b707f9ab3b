"""Fixtures: a stand-in of the API for each test, and pauses without waiting."""

from __future__ import annotations

import typing as t

import pytest

from sandbox import Sandbox
from tap_metrika_calls import client

if t.TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api() -> Iterator[Sandbox]:
    """A stand-in without counters, that keeps the documented quotas."""
    with Sandbox(counters=0) as sandbox:
        yield sandbox


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between retries in this process take next to no time."""
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.01)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests counted with `record_property`."""
    ended = [r for r in terminalreporter.getreports("") if r.when == "teardown"]
    for report in ended:
        for name, value in report.user_properties:
            test = report.nodeid.rpartition("::")[2]
            terminalreporter.write_line(f"{test}: {name}: {value}")
