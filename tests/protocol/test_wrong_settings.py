"""A wrong setting is one plain line, before any request, and shows no secret."""

from __future__ import annotations

import json
import re
import typing as t
from importlib.metadata import version

import pytest

from sandbox import TOKEN
from tests.support import CALLS, JSON, PREFIX, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox

CANARY = "CANARY"  # what a message must not show
LONG_LABEL = "a" * 64
BATCHES: JSON = {
    "encoding": {"format": "jsonl", "compression": "gzip"},
    "storage": {"root": "file:///nowhere"},
}
# A setting, its wrong value, and what the line says beside the name of the setting.
WRONG: list[tuple[str, object, str]] = [
    ("oauth_token", None, "required"),
    ("oauth_token", "", "expected|required"),
    ("oauth_token", " \t\n", "expected|required"),
    ("oauth_token", 5, "expected"),
    ("oauth_token", [CANARY], "expected"),
    ("counter_id", True, "positive integer"),
    ("counter_id", 0, "positive integer"),
    ("counter_id", -7, "positive integer"),
    ("counter_id", 1.5, "positive integer"),
    ("counter_id", CANARY, "positive integer"),
    ("counter_id", [7], "positive integer"),
    ("counter_id", 2**63, "positive integer"),
    ("counters", [{"counter_id": True}], "positive integer"),
    ("counters", [{"counter_id": 1}, {"counter_id": 0}], "positive integer"),
    ("counters", [{"counter_id": "-7"}], "positive integer"),
    ("counters", [{"counter_id": "7.0"}], "positive integer"),
    ("counters", [{"counter_id": "\u0667"}], "positive integer"),
    ("counters", [{"counter_id": ""}], "positive integer"),
    ("counters", [{"counter_id": 1, "uploading_ids": [1, True]}], "positive integer"),
    ("counters", [{"counter_id": 1, "uploading_ids": [CANARY]}], "positive integer"),
    ("counters", [{"counter_id": 1, "uploading_ids": ["0"]}], "positive integer"),
    ("counters", [{}], "required|expected"),
    ("counters", [7], "expected"),
    ("counters", {"counter_id": 7}, "expected"),
    ("counters", CANARY, "expected"),
    ("counters", [{"counter_id": 1, "ids": [2]}], "unknown"),
    ("start_date", "not-a-date", "date"),
    ("start_date", "2026-02-30", "date"),
    ("start_date", "2026-13-01T00:00:00Z", "date"),
    ("start_date", "", "date"),
    ("start_date", 5, "date"),
    ("lookup", CANARY, "auto.*by_id.*list"),
    ("on_unavailable", CANARY, "fail.*skip"),
    ("on_unavailable", "FAIL", "fail.*skip"),
    ("in_flight_days", -1, "expected"),
    ("in_flight_days", "21 days", "expected"),
    ("requests_per_second", 0, "expected"),
    ("max_parallel_requests", 0, "expected"),
    ("request_timeout", 0, "expected"),
    ("max_attempts", 0, "expected"),
    ("counter", 1, "unknown.*counter"),
    ("uploads_ids", [1], "unknown"),
    ("on_missing", "skip", "unknown.*on_unavailable"),
    ("unsettled_days", 21, "unknown.*in_flight_days"),
    ("stream_maps", {"x": 1}, "stream_maps"),
    ("stream_maps", {CALLS: {"x": 1}}, "stream_maps"),
    ("stream_maps", {CALLS: {"x": ""}}, "stream_maps"),
    ("stream_maps", [CANARY], "stream_maps"),
    ("stream_maps", {CALLS: {"id": None}}, "__key_properties__"),
    ("stream_maps", {CALLS: {"__else__": 5}}, "stream_maps"),
    ("flattening_max_depth", CANARY, "flattening_max_depth"),
]
# singer-sdk 0.55 accepts the first of these, and sees the other with the first record.
if not version("singer-sdk").startswith("0.55"):
    WRONG += [
        ("batch_config", {"encoding": {"format": "jsonl"}}, "batch_config"),
        ("batch_config", {**BATCHES, "encoding": {"format": CANARY}}, "batch_config"),
    ]
WRONG_URLS = [
    "https://metrika.invalid/management/v1",
    "https://metrika.invalid/management",
    "https://metrika.invalid//",
    "https://metrika.invalid/?a=1",
    "https://metrika.invalid?a=1",
    "https://metrika.invalid#x",
    "https://user:CANARY@metrika.invalid",
    "http://example.com",
    "http://127.0.0.1.example.com",
    "http://127.0.0.1@example.com",
    "http://0.0.0.0:8080",
    "ftp://localhost",
    "file:///etc/passwd",
    "metrika.invalid",
    "//metrika.invalid",
    "https://",
    "https://:443",
    "https://localhost:99999",
    "https://localhost:CANARY",
    "https://[::1",
    "https://a..b",
    f"https://{LONG_LABEL}.net",
    "https://a b",
    "https://a\n.b",
    "https://a\\b",
    "",
    5,
]


def one_line(run: Run) -> str:
    """Assert that a run failed before it did anything, and return why."""
    assert run.code == 1, run.log
    (line,) = run.errors
    assert run.lines == []
    assert "Traceback" not in run.log
    assert "Unexpected" not in run.log
    assert CANARY not in run.log
    assert TOKEN not in run.log
    return line


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_a_wrong_setting(api: Sandbox, name: str, value: object, words: str) -> None:
    line = one_line(sync({**config_for(api), name: value}))
    assert re.search(rf"\b{name}\b", line)
    assert re.search(words, line)
    assert api.requests == []


@pytest.mark.parametrize("value", WRONG_URLS)
def test_a_wrong_address(value: object) -> None:
    settings = {"counter_id": 7, "api_url": value, "max_attempts": 1}
    line = one_line(sync({"oauth_token": TOKEN, **settings}))
    assert "api_url" in line


@pytest.mark.parametrize("url", ["{}/", "{}"])
def test_an_address_may_end_in_a_slash(api: Sandbox, url: str) -> None:
    api.add_counter(7, uploads=1)
    run = sync(config_for(api) | {"api_url": url.format(api.url)})
    assert (run.code, len(run.ids)) == (0, 1)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ('"y0_CANARY"', "quot"),
        ("'y0_CANARY'", "quot"),
        ("«y0_CANARY»", "quot|U\\+00AB|ASCII"),
        ("OAuth y0_CANARY", "OAuth|space"),
        ("Bearer y0_CANARY", "Bearer|space|word"),
        ("y0_\u200bCANARY", "invisible|zero.width|U\\+200B|ASCII"),
        ("\ufeffy0_CANARY", "invisible|zero.width|U\\+FEFF|ASCII|byte order"),
        ("y0_\u00adCANARY", "invisible|soft|U\\+00AD|ASCII"),
        ("y0_\u0421_CANARY", "letter|Cyrillic|U\\+0421|ASCII"),
        ("y0_CANARY\nsecond", "line break|control|space|U\\+000A"),
        ("y0_\x00CANARY", "control|NUL|U\\+0000|character"),
        ("y0_CANARY,", "comma|punctuation|U\\+002C|,"),
        ("$TOKEN{CANARY}", "variable|punctuation|sign|U\\+0024|character"),
    ],
)
def test_a_token_of_other_characters_is_not_sent(
    api: Sandbox, token: str, words: str
) -> None:
    line = one_line(sync(config_for(api) | {"oauth_token": token}))
    assert "oauth_token" in line
    assert re.search(words, line, re.IGNORECASE)
    assert api.requests == []


@pytest.mark.parametrize("token", [f" {TOKEN}", f"{TOKEN}\r\n", f"\t{TOKEN}\u00a0"])
def test_white_space_around_a_token_is_removed(api: Sandbox, token: str) -> None:
    api.add_counter(7, uploads=1)
    run = sync(config_for(api) | {"oauth_token": token})
    assert run.code == 0
    assert api.requests[0].headers["Authorization"] == f"OAuth {TOKEN}"


@pytest.mark.parametrize("login", ["agency-client\r", " agency-client\n"])
def test_white_space_around_a_login_is_removed(api: Sandbox, login: str) -> None:
    api.add_counter(7, uploads=1)
    assert sync(config_for(api, ulogin=login)).code == 0
    assert {r.query["ulogin"] for r in api.requests} == {"agency-client"}


def test_upload_ids_need_a_counter(api: Sandbox) -> None:
    line = one_line(sync(config_for(api, uploading_ids=[1])))
    assert "'uploading_ids' requires 'counter_id'" in line


def test_all_wrong_settings_are_logged_at_once(api: Sandbox) -> None:
    wrong = {"counter_id": 0, "lookup": CANARY, "foo": 2, "max_attempts": 0}
    run = sync({**config_for(api), **wrong, "oauth_token": None})
    assert run.code == 1
    for name in (*wrong, "oauth_token"):
        assert len([line for line in run.errors if f"'{name}'" in line]) == 1
    assert CANARY not in run.log


@pytest.mark.parametrize(
    "other", [{"stream_maps": {CALLS: {"comment": None}}}, "ACTIVATE_VERSION"]
)
def test_batches_exclude_some_settings(api: Sandbox, other: t.Any) -> None:
    if other == "ACTIVATE_VERSION":
        other = {"emit_activate_version_messages": True}
    catalog = catalog_of(CALLS, **{"replication-method": "FULL_TABLE"})
    run = sync(config_for(api, batch_config=BATCHES, **other), None, catalog)
    line = one_line(run)
    assert "batch_config" in line
    assert next(iter(other)) in line


@pytest.mark.parametrize("size", [0, -1, "many", 1.5])
def test_a_batch_has_a_record(api: Sandbox, size: object) -> None:
    run = sync(config_for(api, batch_config=BATCHES | {"batch_size": size}))
    assert one_line(run) == (
        "Setting 'batch_config.batch_size': expected a positive integer."
    )


@pytest.mark.parametrize(
    "content", ["", "[]", '[["a", 1]]', "[1]", "{", "null", '"CANARY"', "{'a': 1}"]
)
@pytest.mark.parametrize("option", ["config", "state", "catalog"])
def test_a_file_that_is_no_json_object(api: Sandbox, option: str, content: str) -> None:
    contents: JSON = {"config": config_for(api), option: content}
    run = sync(contents["config"], contents.get("state"), contents.get("catalog"))
    line = one_line(run)
    assert f"--{option}" in line or option in line.lower()
    assert api.requests == []


def test_digits_in_a_list_are_integers(api: Sandbox) -> None:
    for number in (7, 8):
        api.add_counter(number)
        for upload_id in (1, 2, 3):
            api.add_upload(number, id=upload_id)
    counters = [{"counter_id": "7"}, {"counter_id": "8", "uploading_ids": ["1", 2]}]
    run = sync(config_for(api, counters=counters))
    assert (run.code, run.errors) == (0, [])
    assert run.keys == {(7, 1), (7, 2), (7, 3), (8, 1), (8, 2)}
    assert list(run.bookmarks) == [7]
    run = sync(config_for(api, counter_id=8, uploading_ids=["3"]))
    assert run.keys == {(8, 3)}


def from_environment(api: Sandbox, **variables: str) -> Run:
    """Sync with settings of the environment."""
    given = {"OAUTH_TOKEN": TOKEN, "API_URL": api.url, "MAX_ATTEMPTS": "1", **variables}
    env = {PREFIX + name: value for name, value in given.items()}
    return sync(None, None, None, "--config=ENV", env=env)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("oauth_token", " ", "expected|required"),
        ("oauth_token", '"CANARY"', "quot"),
        ("counter_id", CANARY, "positive integer"),
        ("counter_id", "true", "positive integer"),
        ("counter_id", "1.0", "positive integer"),
        ("counter_id", "null", "positive integer"),
        ("max_attempts", "1e99999", "expected"),
        ("counters", "[{CANARY", "expected"),
        ("counters", '[{"counter_id": true}]', "positive integer"),
        ("uploading_ids", CANARY, "expected"),
        ("start_date", CANARY, "date"),
        ("lookup", CANARY, "auto"),
        ("max_attempts", CANARY, "expected"),
        ("emit_activate_version_messages", CANARY, "true or false"),
        ("api_url", "https://a..b", "expected"),
    ],
)
def test_a_wrong_setting_in_the_environment(
    api: Sandbox, name: str, value: str, words: str
) -> None:
    line = one_line(from_environment(api, **{name.upper(): value}))
    assert re.search(rf"\b{name}\b|{PREFIX}{name.upper()}\b", line)
    assert re.search(words, line)
    assert api.requests == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PORT", ""),
        ("SERVICE_HOST", ""),
        ("PORT_80_TCP_ADDR", ""),
        ("COUNTER", ""),
        ("ON_MISSING", "on_unavailable"),
        ("UNSETTLED_DAYS", "in_flight_days"),
    ],
)
def test_an_unknown_variable_is_only_a_warning(
    api: Sandbox, name: str, hint: str
) -> None:
    api.add_counter(7, uploads=1)
    run = from_environment(api, COUNTER_ID="7", **{name: "tcp://CANARY:80"})
    assert (run.code, len(run.ids), run.errors) == (0, 1, [])
    (line,) = [line for line in run.warnings if re.search(rf"\b{PREFIX}{name}\b", line)]
    assert hint in line
    assert CANARY not in run.log


def test_a_variable_is_one_line_whatever_its_name(api: Sandbox) -> None:
    api.add_counter(7, uploads=1)
    run = from_environment(api, COUNTER_ID="7", **{"A\nERROR | forged": "1"})
    assert run.code == 0
    (line,) = [line for line in run.log.splitlines() if "forged" in line]
    assert "Unknown variable" in line


def test_a_file_of_variables_that_is_no_utf_8(
    api: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("# звонки".encode("cp1251"))
    line = one_line(from_environment(api, COUNTER_ID="7"))
    assert ".env" in line


def test_variables_are_read_only_when_asked_for(api: Sandbox) -> None:
    api.add_counter(7, uploads=1)
    env = {PREFIX + "COUNTER_ID": "8", PREFIX + "PORT": "1"}
    run = sync(config_for(api, counter_id=7), env=env)
    assert (run.code, len(run.ids), run.warnings) == (0, 1, [])


def test_settings_of_several_places_are_merged(api: Sandbox, tmp_path: Path) -> None:
    for number in (7, 8, 9):
        api.add_counter(number, uploads=1)
    path = tmp_path / "other settings.json"
    path.write_text(json.dumps({"counter_id": 8}), encoding="utf-8")
    config = config_for(api, counter_id=7)
    run = sync(config, None, None, "--config", str(path))
    assert [record["counter_id"] for record in run.records()] == [8]
    env = {PREFIX + "COUNTER_ID": "9"}
    run = sync(config, None, None, "--config", str(path), "--config=ENV", env=env)
    assert [record["counter_id"] for record in run.records()] == [9]
