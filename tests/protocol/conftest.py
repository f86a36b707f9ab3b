"""Fixtures of tests that run the tap in this process."""

from __future__ import annotations

import importlib
import typing as t

import pytest

if t.TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def set_max_backoff(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the longest pause of the tap's own between two attempts, in seconds."""

    def set_to(seconds: float) -> None:
        limits = importlib.import_module("tap_metrika_calls.api.limits")
        monkeypatch.setattr(limits, "MAX_BACKOFF", seconds)

    return set_to
