"""The command line: its options, and its settings as a file and as variables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t

import pytest

from sandbox import TOKEN, Sandbox
from tests.support import (
    PREFIX,
    clean_environment,
    config_for,
    finish,
    invoke,
    start,
    sync,
)

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.support import Run

CANARY = "CANARY"  # what a message must not show
BATCHES = {"encoding": {"format": "jsonl"}, "storage": {"root": "x"}}


def settings_named(result: Run) -> list[str]:
    """Return the setting that each error names, without what is inside of it."""
    found = [re.match(r"Setting '(\w+)", line) for line in result.errors]
    assert all(found), result.errors
    return [match[1] for match in found if match]


def test_bad_settings_from_a_file_and_from_the_environment() -> None:
    bad = {
        "counter_id": CANARY,
        "counters": f"[{{{CANARY}",
        "lookup": CANARY,
        "oauth_token": " ",
        "start_date": CANARY,
        "uploading_ids": CANARY,
    }
    from_file = sync(bad)
    env = {PREFIX + k.upper(): v for k, v in bad.items()}
    from_environment = invoke("--config=ENV", env=env)
    for result in (from_file, from_environment):
        assert result.code == 1
        assert settings_named(result) == settings_named(from_file)
        assert {"counter_id", "counters", "lookup"} < set(settings_named(result))
        assert CANARY not in result.log
        assert "Traceback" not in result.log
        assert result.lines == []


@pytest.mark.parametrize(
    ("root", "named"), [("/dev/null/x", "/dev/null/x"), ("s3://bucket", "s3fs")]
)
def test_batches_that_cannot_be_written(api: Sandbox, root: str, named: str) -> None:
    api.add_counter(7, uploads=1)
    batches = {**BATCHES, "storage": {"root": root}}
    result = sync(config_for(api, batch_config=batches))
    assert result.code == 1
    assert named in result.errors[-1]
    assert "Traceback" not in result.log


def test_settings_from_the_environment(api: Sandbox, tmp_path: Path) -> None:
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    counters = [{"counter_id": "7", "uploading_ids": [1, "3"]}]
    given = {
        "OAUTH_TOKEN": f" {TOKEN}\n",
        "API_URL": f"{api.url}/",
        "COUNTERS": json.dumps(counters),
        "MAX_ATTEMPTS": "2",
        "LOGLEVEL": "WARNING",
    }
    env = clean_environment(**{PREFIX + name: value for name, value in given.items()})
    result = finish(start("--config=ENV", cwd=tmp_path, env=env))
    assert (result.code, result.log, result.ids) == (0, "", [1, 3])


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize("name", ["config.json", ""])
def test_a_file_that_does_not_exist(tmp_path: Path, option: str, name: str) -> None:
    result = invoke(option, str(tmp_path / name) if name else "")
    assert result.code == 1
    assert result.errors == [
        f"The file of {option} cannot be read: No such file or directory."
    ]


def test_about_names_every_setting() -> None:
    about = json.loads("\n".join(invoke("--about", "--format=json").lines))
    properties = about["settings"]["properties"]
    assert set(properties) >= {
        "oauth_token",
        "counter_id",
        "uploading_ids",
        "counters",
        "start_date",
        "lookup",
        "on_unavailable",
        "in_flight_days",
        "ulogin",
        "max_parallel_requests",
        "requests_per_second",
        "request_timeout",
        "max_attempts",
        "api_url",
    }
    assert properties["oauth_token"]["secret"] is True
    assert all("title" in p for p in properties.values())
    assert all("description" in p for p in properties.values())


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tap_metrika_calls", "--version"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert told.stdout.startswith(b"tap-metrika-calls v")


def test_discovery_needs_no_configuration() -> None:
    result = invoke("--discover")
    assert (result.code, result.errors) == (0, [])
    found = json.loads("\n".join(result.lines))["streams"]
    streams = {stream["tap_stream_id"]: stream for stream in found}
    for name in ("calls_uploadings", "conversions_uploadings", "chats_uploadings"):
        stream = streams.pop(name)
        assert stream["key_properties"] == ["counter_id", "id"]
        assert stream["replication_key"] == "create_time"
        assert stream["schema"]["required"] == ["counter_id", "id"]
        properties = stream["schema"]["properties"]
        assert len(properties) == 14
        assert all("description" in p for p in properties.values())
    assert list(streams) == ["counters"]
    assert streams["counters"]["key_properties"] == ["id"]


def test_a_debug_log_shows_no_token(api: Sandbox) -> None:
    api.add_counter(7, uploads=2)
    env = {f"{PREFIX}LOGLEVEL": "DEBUG"}
    result = sync(config_for(api, counter_id=7), env=env)
    assert (result.code, len(result.ids)) == (0, 2)
    assert "/counter/7/offline_conversions/calls_uploadings?" in result.log
    assert TOKEN not in result.log
    assert all(TOKEN not in line for line in result.lines)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_failure_shows_a_traceback_only_when_debugging(
    api: Sandbox, level: str
) -> None:
    api.add_counter(7, inaccessible=True)
    env = {f"{PREFIX}LOGLEVEL": level}
    result = sync(config_for(api, counter_id=7), env=env)
    assert result.code == 1
    assert len(result.errors) == 1
    assert ("Traceback" in result.log) == (level == "DEBUG")


def test_ten_thousand_ids_are_found_through_the_list(api: Sandbox) -> None:
    counter = api.add_counter(7, uploads=10_000)
    bulk = counter.lists["CALLS"].bulk
    ids = list(range(bulk.first_id, bulk.first_id + bulk.size))
    result = sync(config_for(api, counter_id=7, uploading_ids=ids))
    assert (result.code, sorted(result.ids)) == (0, ids)
    assert len(api.requests) <= 2
    assert result.bookmarks == {}


@pytest.mark.parametrize(
    "content",
    [
        '{"bookmarks": {"calls_uploadings": {"partitions": 5}}}',
        '{"bookmarks": {"calls_uploadings": {"partitions": [{}]}}}',
    ],
)
def test_a_damaged_state_is_one_plain_line(content: str) -> None:
    result = sync({"oauth_token": "x"}, content)
    assert result.code == 1
    assert len(result.errors) == 1
    assert "state" in result.errors[0]
    assert "Traceback" not in result.log


@pytest.mark.parametrize(
    "content",
    [
        '{"streams": [{"stream": "calls_uploadings"}]}',
        '{"streams": [{"tap_stream_id": "calls_uploadings"}]}',
        '{"streams": [{"tap_stream_id": "counters", "schema": {"properties": {}}}]}',
        '{"streams": 1}',
    ],
)
def test_a_damaged_catalog_is_one_plain_line(content: str) -> None:
    result = sync({"oauth_token": "x"}, catalog=content)
    assert result.code == 1
    assert len(result.errors) == 1
    assert "catalog" in result.errors[0]
    assert "Traceback" not in result.log


def test_the_connection_test_tells_of_each_counter(api: Sandbox) -> None:
    api.add_counter(1, uploads=3)
    api.add_counter(2)
    for number in (5, 6):
        api.add_upload(2, id=number)
    counters = [{"counter_id": 1}, {"counter_id": 2, "uploading_ids": [5, 6]}]
    result = sync(config_for(api, counters=counters), None, None, "--test")
    assert (result.code, result.errors) == (0, [])
    told = "\n".join([*result.lines, result.log])
    assert re.search(r"\b[Cc]ounter 1\b", told)
    assert re.search(r"\b[Cc]ounter 2\b", told)
    assert len(api.requests) >= 2


def test_the_schemas_can_be_tested_alone(api: Sandbox) -> None:
    result = sync(config_for(api), None, None, "--test=schema")
    assert result.code == 0
    assert {message["type"] for message in result.messages} == {"SCHEMA"}
    assert api.requests == []
