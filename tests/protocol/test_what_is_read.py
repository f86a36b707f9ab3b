"""It is always logged when nothing, or everything, is read."""

from __future__ import annotations

import re
import typing as t

import pytest

from tests.support import CALLS, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox


def assert_nothing_but_a_warning(run: Run) -> str:
    """Assert that a sync read nothing, and return its one warning."""
    assert (run.code, run.errors, run.of_type("RECORD")) == (0, [], [])
    assert run.messages[-1] == {"type": "STATE", "value": {}}
    (line,) = run.warnings
    return line


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("streams", [(CALLS,), (CALLS, "counters")])
def test_reading_every_counter_is_logged(
    api: Sandbox, count: int, streams: tuple[str, ...]
) -> None:
    for number in range(1, count + 1):
        api.add_counter(number, uploads=1)
    first = sync(config_for(api), None, catalog_of(*streams))
    second = sync(config_for(api), first.state, catalog_of(*streams))
    words = rf"Reading all {count} counters? that the token has access to"
    for run in (first, second):
        assert run.code == 0
        assert len(re.findall(words, run.log)) == 1


def test_configured_counters_are_not_every_counter(api: Sandbox) -> None:
    api.add_counter(1, uploads=1)
    assert "Reading all" not in sync(config_for(api, counter_id=1)).log


@pytest.mark.parametrize("setting", ["fail", "skip"])
def test_a_token_with_access_to_no_counter(api: Sandbox, setting: str) -> None:
    run = sync(config_for(api, on_unavailable=setting))
    assert (run.code, run.of_type("RECORD")) == (1, [])
    (line,) = run.errors
    assert "access to no counter" in line
    assert run.messages[-1]["type"] == "STATE"


def test_a_counter_that_is_no_longer_listed(api: Sandbox) -> None:
    for number in (7, 8, 9):
        api.add_counter(number, uploads=1)
    first = sync(config_for(api))
    for number in (7, 9):
        api.remove_counter(number)
    run = sync(config_for(api), first.state)
    assert run.code == 0
    lines = [line for line in run.warnings if "no longer" in line]
    assert lines
    for number in (7, 9):
        assert any(re.search(rf"\b{number}\b", line) for line in lines)
    assert sorted(run.bookmarks) == [7, 8, 9]


def test_a_counter_that_is_no_longer_configured_is_nobodys_business(
    api: Sandbox,
) -> None:
    for number in (7, 8):
        api.add_counter(number, uploads=1)
    first = sync(config_for(api))
    run = sync(config_for(api, counter_id=7), first.state)
    assert (run.code, run.warnings) == (0, [])
    assert sorted(run.bookmarks) == [7, 8]


@pytest.mark.parametrize("is_empty", [True, False])
def test_no_stream_is_selected(api: Sandbox, *, is_empty: bool) -> None:
    api.add_counter(7, uploads=1)
    catalog = {"streams": []} if is_empty else catalog_of()
    line = assert_nothing_but_a_warning(sync(config_for(api), None, catalog))
    assert "selected" in line
    assert api.requests == []


@pytest.mark.parametrize("setting", ["file", "environment"])
def test_an_empty_list_of_counters(api: Sandbox, setting: str) -> None:
    api.add_counter(7, uploads=1)
    if setting == "file":
        run = sync(config_for(api, counters=[]))
    else:
        env = {"TAP_METRIKA_CALLS_COUNTERS": "[]"}
        run = sync(config_for(api), None, None, "--config=ENV", env=env)
    assert "counters" in assert_nothing_but_a_warning(run)


def test_an_empty_list_of_uploads(api: Sandbox) -> None:
    api.add_counter(7, uploads=1)
    run = sync(config_for(api, counter_id=7, uploading_ids=[]))
    line = assert_nothing_but_a_warning(run)
    assert "uploading_ids" in line
    assert "7" in line


@pytest.mark.parametrize("name", ["call_uploadings", "Calls_uploadings", "uploads"])
def test_a_map_for_a_stream_that_does_not_exist(api: Sandbox, name: str) -> None:
    api.add_counter(7, uploads=2)
    maps = {name: {"__filter__": "False"}, "counters": {"site": "__NULL__"}}
    run = sync(config_for(api, stream_maps=maps))
    assert (run.code, len(run.ids)) == (0, 2)
    (line,) = [line for line in run.warnings if name in line]
    assert "stream_maps" in line


def test_a_map_for_a_stream_that_exists_is_no_mistake(api: Sandbox) -> None:
    api.add_counter(7, uploads=2)
    maps = {CALLS: {"__filter__": "False"}, "counters": {"site": "__NULL__"}}
    assert sync(config_for(api, counter_id=7, stream_maps=maps)).warnings == []
