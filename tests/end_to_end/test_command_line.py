"""The installed executable, as a person or a scheduler runs it."""

from __future__ import annotations

import json
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
    run,
    start,
)

if t.TYPE_CHECKING:
    from pathlib import Path

BAD_SETTINGS: list[tuple[dict[str, t.Any], str]] = [
    ({"oauth_token": None}, "Setting oauth_token is missing"),
    ({"oauth_token": " \t"}, "Setting oauth_token takes a string that is not blank"),
    ({"oauth_token": 5}, "Setting oauth_token takes a string"),
    ({"oauth_token": "a\nCANARY"}, "Setting oauth_token takes a token without line"),
    ({"counter_id": True}, "Setting counter_id takes a positive integer"),
    ({"counter_id": 0}, "Setting counter_id takes a positive integer"),
    ({"counter_id": "CANARY"}, "Setting counter_id takes a positive integer"),
    ({"counter_id": 1.5}, "Setting counter_id takes a positive integer"),
    ({"uploading_ids": [1]}, "Setting uploading_ids takes effect only with counter_id"),
    (
        {"counter_id": 1, "uploading_ids": [1, True]},
        "Setting uploading_ids[1] takes a positive integer",
    ),
    (
        {"counters": [{"counter_id": -1}]},
        "Setting counters[0].counter_id takes a positive integer",
    ),
    ({"counters": [{}]}, "Setting counters[0].counter_id is missing"),
    ({"counters": [7]}, "Setting counters[0] takes an object such as"),
    ({"counters": "CANARY"}, "Setting counters takes a list of objects"),
    ({"counters": [{"counter_id": 1, "x": 2}]}, "Setting counters[0].x is unknown"),
    ({"start_date": "not-a-date"}, "Setting start_date takes a date or a date-time"),
    ({"start_date": 5}, "Setting start_date takes a date or a date-time"),
    ({"lookup": "CANARY"}, "Setting lookup takes one of auto, by_id, list"),
    ({"on_missing": "CANARY"}, "Setting on_missing takes one of fail, skip"),
    ({"unsettled_days": -1}, "Setting unsettled_days takes an integer from 0"),
    ({"requests_per_second": 0}, "Setting requests_per_second takes an integer"),
    ({"counter": 1}, "Setting counter is unknown: did you mean counter"),
    ({"api_url": "http://example.com"}, "Setting api_url takes an address such as"),
    ({"api_url": "http://127.0.0.1@example.com"}, "Setting api_url takes an address"),
    ({"api_url": "ftp://localhost"}, "Setting api_url takes an address"),
    ({"stream_maps": {"x": 1}}, "Setting stream_maps.x takes an object"),
    (
        {"stream_maps": {"calls_uploadings": {"x": 1}}},
        "Setting stream_maps.calls_uploadings.x takes a string",
    ),
    (
        {"stream_maps": {"calls_uploadings": {"__else__": "x"}}},
        "Setting stream_maps.calls_uploadings.__else__ takes one of __NULL__",
    ),
    (
        {"stream_maps": {"calls_uploadings": {"x": ""}}},
        "Setting stream_maps cannot be used (IndexError): see https://sdk.meltano.com",
    ),
    (
        {"batch_config": {"encoding": {"format": "jsonl"}}},
        "Setting batch_config.storage is missing: it takes an object",
    ),
    (
        {"batch_config": {"encoding": {"format": "parquet"}, "storage": {"root": "x"}}},
        "Setting batch_config.encoding.format takes one of jsonl",
    ),
    (
        {
            "batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": "x"}},
            "stream_maps": {"calls_uploadings": {"comment": None}},
        },
        "Setting batch_config takes effect only without stream_maps",
    ),
]


@pytest.mark.parametrize(("settings", "told"), BAD_SETTINGS)
def test_a_bad_setting_is_one_plain_line(
    tmp_path: Path, settings: dict[str, t.Any], told: str
) -> None:
    config = {"oauth_token": "CANARY", **settings}
    result = run(config, tmp_path)
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.errors[0].startswith(told)
    assert "CANARY" not in result.log
    assert "Traceback" not in result.log
    assert result.lines == []


def test_all_bad_settings_are_told_at_once(tmp_path: Path) -> None:
    result = run({"counter_id": 0, "lookup": 1, "foo": 2}, tmp_path)
    told = [line.split()[1] for line in result.errors]
    assert told == ["counter_id", "foo", "lookup", "oauth_token"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OAUTH_TOKEN", " ", "Setting oauth_token takes a string that is not blank"),
        ("COUNTER_ID", "CANARY", "Setting counter_id takes a positive integer"),
        ("COUNTERS", "[{CANARY", "Setting counters takes a list of objects"),
        ("UPLOADING_IDS", "CANARY", "Setting uploading_ids takes a list of"),
        ("START_DATE", "CANARY", "Setting start_date takes a date"),
        ("LOOKUP", "CANARY", "Setting lookup takes one of"),
        ("COUNTER", "1", "Setting counter is unknown: did you mean counter"),
    ],
)
def test_a_bad_setting_in_the_environment(
    tmp_path: Path, name: str, value: str, told: str
) -> None:
    env = clean_environment(**{f"{PREFIX}OAUTH_TOKEN": "CANARY"})
    env[PREFIX + name] = value
    result = finish(start("--config=ENV", cwd=tmp_path, env=env))
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.errors[0].startswith(told)
    assert "CANARY" not in result.log


@pytest.mark.parametrize("name", [f"{PREFIX}LOGLEVEL", "LOGLEVEL"])
def test_an_unknown_log_level_is_one_plain_line(tmp_path: Path, name: str) -> None:
    env = clean_environment(**{name: "LOUD"})
    result = finish(start("--config=ENV", cwd=tmp_path, env=env))
    assert result.code == 1
    assert result.log.startswith("Logging cannot be set up (ValueError): check TAP_")
    assert result.log.count("\n") == 1


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("/dev/null/x", "A file cannot be used (Not a directory: /dev/null/x)"),
        ("s3://bucket", "A package is missing: Install s3fs to access S3"),
    ],
)
def test_batches_that_cannot_be_written(
    api: Sandbox, tmp_path: Path, root: str, told: str
) -> None:
    api.add_counter(7, uploads=1)
    batches = {"encoding": {"format": "jsonl"}, "storage": {"root": root}}
    result = run(config_for(api, batch_config=batches), tmp_path)
    assert result.code == 1
    assert result.errors[-1] == told
    assert "Traceback" not in result.log


def test_settings_from_the_environment(api: Sandbox, tmp_path: Path) -> None:
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    counters = [{"counter_id": 7, "uploading_ids": [1, 3]}]
    env = {
        "OAUTH_TOKEN": TOKEN,
        "API_URL": api.url,
        "COUNTERS": json.dumps(counters),
        "MAX_ATTEMPTS": "2",
        "LOGLEVEL": "WARNING",
    }
    env = clean_environment(**{PREFIX + name: value for name, value in env.items()})
    result = finish(start("--config=ENV", cwd=tmp_path, env=env))
    assert (result.code, result.log, result.ids) == (0, "", [1, 3])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "The file of --config is not a JSON object"),
        ("[1]", "The file of --config is not a JSON object"),
        ("null", "The file of --config is not a JSON object"),
        ("[" * 100_000, "The file of --config is not a JSON object"),
        (None, "The file of --config cannot be read"),
    ],
)
def test_a_configuration_that_is_no_file_of_settings(
    tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    result = finish(start("--config", path, cwd=tmp_path))
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.errors[0].startswith(told)


def test_about_names_every_setting(tmp_path: Path) -> None:
    result = finish(start("--about", "--format=json", cwd=tmp_path))
    about = json.loads("\n".join(result.lines))
    assert set(about["settings"]["properties"]) >= {
        "oauth_token",
        "counter_id",
        "uploading_ids",
        "counters",
        "start_date",
        "lookup",
        "on_missing",
        "unsettled_days",
        "ulogin",
        "max_parallel_requests",
        "requests_per_second",
        "request_timeout",
        "max_attempts",
        "api_url",
    }
    assert about["settings"]["properties"]["oauth_token"]["secret"] is True
    assert all("title" in p for p in about["settings"]["properties"].values())
    assert all("description" in p for p in about["settings"]["properties"].values())


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tap_metrika_calls", "--version"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert told.stdout.startswith(b"tap-metrika-calls v")


def test_discovery_needs_no_configuration(tmp_path: Path) -> None:
    result = finish(start("--discover", cwd=tmp_path))
    assert (result.code, result.errors) == (0, [])
    streams = {s["stream"]: s for s in json.loads("\n".join(result.lines))["streams"]}
    calls = streams["calls_uploadings"]
    assert calls["key_properties"] == ["counter_id", "id"]
    assert calls["replication_key"] == "create_time"
    assert calls["schema"]["required"] == ["counter_id", "id"]
    assert len(calls["schema"]["properties"]) == 14
    assert all("description" in p for p in calls["schema"]["properties"].values())
    assert streams["counters"]["key_properties"] == ["id"]


def test_a_debug_log_shows_no_token(api: Sandbox, tmp_path: Path) -> None:
    api.add_counter(7, uploads=2)
    env = {f"{PREFIX}LOGLEVEL": "DEBUG"}
    result = run(config_for(api, counter_id=7), tmp_path, env=env)
    assert (result.code, len(result.ids)) == (0, 2)
    assert "/calls_uploadings?limit=10000&offset=0" in result.log
    assert TOKEN not in result.log
    assert all(TOKEN not in line for line in result.lines)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_failure_shows_a_traceback_only_when_debugging(
    api: Sandbox, tmp_path: Path, level: str
) -> None:
    api.add_counter(7, closed=True)
    env = {f"{PREFIX}LOGLEVEL": level}
    result = run(config_for(api, counter_id=7), tmp_path, env=env)
    assert result.code == 1
    assert len(result.errors) == 1
    assert ("Traceback" in result.log) == (level == "DEBUG")


def test_ten_thousand_ids_are_found_through_the_list(
    api: Sandbox, tmp_path: Path
) -> None:
    counter = api.add_counter(7, uploads=10_000)
    ids = [counter.id * 10_000_000 + index for index in range(10_000)]
    result = run(config_for(api, counter_id=7, uploading_ids=ids), tmp_path)
    assert (result.code, sorted(result.ids)) == (0, ids)
    assert len(api.requests) == 1
    assert "partitions" not in result.state["bookmarks"]["calls_uploadings"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "The file of --state is not a JSON object"),
        ("[]", "The file of --state is not a JSON object"),
        ('{"bookmark": {}}', "The state has no object 'bookmarks'"),
        (
            '{"bookmarks": {"calls_uploadings": {"partitions": 5}}}',
            "The state of calls_uploadings has partitions that are no list",
        ),
    ],
)
def test_a_damaged_state_is_one_plain_line(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "state.json"
    path.write_text(content, encoding="utf-8")
    result = run({"oauth_token": "x"}, tmp_path, "--state", str(path))
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.errors[0].startswith(told)


@pytest.mark.parametrize(
    "content",
    [
        '{"streams": [{"stream": "calls_uploadings"}]}',
        '{"streams": [{"tap_stream_id": "calls_uploadings"}]}',
        '{"streams": [{"tap_stream_id": "x", "schema": {"properties": {"a": {}}}}]}',
        '{"streams": 1}',
    ],
)
def test_a_damaged_catalog_is_one_plain_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(content, encoding="utf-8")
    result = run({"oauth_token": "x"}, tmp_path, "--catalog", str(path))
    assert result.code == 1
    assert result.errors == [
        "The file of --catalog is not a catalog: make one with --discover"
    ]


def test_the_connection_test_tells_of_each_counter(
    api: Sandbox, tmp_path: Path
) -> None:
    api.add_counter(1, uploads=3)
    api.add_counter(2)
    for number in (5, 6):
        api.add_upload(2, id=number)
    counters = [{"counter_id": 1}, {"counter_id": 2, "uploading_ids": [5, 7]}]
    result = run(config_for(api, counters=counters), tmp_path, "--test")
    assert result.code == 0
    assert "ERROR" not in result.log
    assert result.lines == [
        "Counter 1 can be read. Uploads: 3.",
        "Counter 2 can be read. Uploads: 2, 1 of the 2 configured among them.",
    ]
    assert len(api.requests) == 2


def test_the_connection_test_tells_what_cannot_be_read(
    api: Sandbox, tmp_path: Path
) -> None:
    api.add_counter(1, uploads=3)
    api.add_counter(2, closed=True)
    counters = [{"counter_id": 1}, {"counter_id": 2}, {"counter_id": 3}]
    result = run(config_for(api, counters=counters), tmp_path, "--test")
    assert result.code == 1
    assert result.lines == ["Counter 1 can be read. Uploads: 3."]
    assert [line[:9] for line in result.errors] == ["Counter 2", "Counter 3"]
    result = run(config_for(api, oauth_token="no"), tmp_path, "--test")
    assert (result.code, len(result.errors)) == (1, 1)
    result = run({"oauth_token": "no", "lookup": 1}, tmp_path, "--test")
    assert (result.code, len(result.errors)) == (1, 1)


def test_the_schemas_can_be_tested_alone(tmp_path: Path) -> None:
    result = run({"oauth_token": "x"}, tmp_path, "--test=schema")
    assert result.code == 0
    assert [message["type"] for message in result.messages] == ["SCHEMA", "SCHEMA"]
