"""What settings mean, and how wrong ones are reported."""

from __future__ import annotations

import logging
import typing as t
from copy import deepcopy

import pytest

from tap_metrika_calls.settings import (
    PREFIX,
    SETTINGS,
    normalize_config,
    read_environment,
    validate_config,
)
from tap_metrika_calls.sync.selection import CounterSelection, select_counters

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.support import JSON

LOGGER = logging.getLogger("test")
VALID: JSON = {"oauth_token": "x"}


def selection(counter_id: int, *ids: int, whole: bool = False) -> CounterSelection:
    return CounterSelection(counter_id, whole, ids)


def lines_of(**config: t.Any) -> list[str]:
    """The errors of a configuration."""
    return validate_config({**VALID, **config}, deepcopy(SETTINGS))


# What is read.


@pytest.mark.parametrize(
    ("config", "selected"),
    [
        ({}, None),
        ({"start_date": "2026-01-01"}, None),
        ({"counters": []}, []),
        ({"counter_id": 1}, [selection(1, whole=True)]),
        ({"counter_id": 1, "uploading_ids": [3, 2, 3]}, [selection(1, 3, 2)]),
        ({"counter_id": 1, "uploading_ids": []}, [selection(1)]),
        (
            {"counters": [{"counter_id": 2}, {"counter_id": 1, "uploading_ids": [5]}]},
            [selection(2, whole=True), selection(1, 5)],
        ),
        (
            {
                "counter_id": 1,
                "uploading_ids": [4],
                "counters": [
                    {"counter_id": 2},
                    {"counter_id": 1, "uploading_ids": [5, 4]},
                ],
            },
            [selection(1, 4, 5), selection(2, whole=True)],
        ),
        (
            {"counters": [{"counter_id": 1, "uploading_ids": [5]}, {"counter_id": 1}]},
            [selection(1, 5, whole=True)],
        ),
        (
            {"counter_id": 1, "counters": [{"counter_id": 1, "uploading_ids": [5]}]},
            [selection(1, 5, whole=True)],
        ),
    ],
)
def test_counters_are_selected_once_each(
    config: JSON, selected: list[CounterSelection] | None
) -> None:
    assert select_counters(config) == selected


# Forms of one setting.


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ([{"counter_id": 7}], [{"counter_id": 7}]),
        ('[{"counter_id": 7}]', [{"counter_id": 7}]),
        ('[{"counter_id": "7"}]', [{"counter_id": 7}]),
        ([{"counter_id": "7", "uploading_ids": ["5"]}], None),
        (["5", 6], [5, 6]),
        (["5x", "-5", "", " 5"], ["5x", "-5", "", " 5"]),
        (["\u0663"], ["\u0663"]),
        ([True, 5.5], [True, 5.5]),
        ("[]", []),
        ("[7", "[7"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
    ],
)
def test_lists_may_come_as_text_and_ids_as_digits(
    given: object, normal: object
) -> None:
    if normal is None:
        normal = [{"counter_id": 7, "uploading_ids": [5]}]
    for name in ("counters", "uploading_ids"):
        assert normalize_config({name: given}) == {name: normal}


def test_booleans_stay_booleans() -> None:
    (value,) = normalize_config({"uploading_ids": [True]})["uploading_ids"]
    assert value is True


def test_nulls_and_surrounding_white_space_are_removed() -> None:
    given = {
        "oauth_token": " x\r\n",
        "ulogin": "me\r",
        "api_url": " https://a ",
        "counter_id": None,
        "lookup": " auto ",
    }
    assert normalize_config(given) == {
        "oauth_token": "x",
        "ulogin": "me",
        "api_url": "https://a",
        "lookup": " auto ",
    }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without settings, and without a `.env` file."""
    import os  # noqa: PLC0415

    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_variables_are_read_by_the_type_of_their_setting(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in {
        "OAUTH_TOKEN": "123",
        "COUNTER_ID": " 7 ",
        "COUNTERS": '[{"counter_id": 7}]',
        "UPLOADING_IDS": "[5]",
        "MAX_ATTEMPTS": "many",
        "UNKNOWN": "1",
        "PORT_8080_TCP": "tcp://1",
        "LOGLEVEL": "DEBUG",
    }.items():
        environment.setenv(PREFIX + name, text)
    with caplog.at_level("WARNING"):
        config = read_environment(SETTINGS, LOGGER)
    assert config == {
        "oauth_token": "123",
        "counter_id": 7,
        "counters": [{"counter_id": 7}],
        "uploading_ids": [5],
        "max_attempts": "many",
    }
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith(f"Unknown variable {PREFIX}UNKNOWN: use oauth_token, ")
    assert second.startswith(f"Unknown variable {PREFIX}PORT_8080_TCP: ")


@pytest.mark.parametrize("text", ["[5", "\u0667", "", "9" * 5_000])
def test_a_variable_that_does_not_fit_is_taken_as_it_is(
    environment: pytest.MonkeyPatch, text: str
) -> None:
    environment.setenv(PREFIX + "COUNTER_ID", text)
    environment.setenv(PREFIX + "UPLOADING_IDS", text)
    config = read_environment(SETTINGS, LOGGER)
    assert config["counter_id"] == text
    assert len(validate_config({**VALID, **config}, deepcopy(SETTINGS))) == 2


@pytest.mark.parametrize("text", ["7.0", "7.5", "7e0", "true", "[7]", '"7"'])
def test_a_number_in_a_variable_is_an_integer(
    environment: pytest.MonkeyPatch, text: str
) -> None:
    environment.setenv(PREFIX + "COUNTER_ID", text)
    environment.setenv(PREFIX + "UPLOADING_IDS", f"[{text}]")
    config = normalize_config(read_environment(SETTINGS, LOGGER))
    lines = validate_config({**VALID, **config}, deepcopy(SETTINGS))
    expected = ["Setting 'counter_id': expected a positive integer."]
    if text != '"7"':  # in a list, Meltano has digits as text
        where = "Setting 'uploading_ids[0]'"
        expected.append(f"{where}: expected a positive integer.")
    assert lines == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), (" on ", True), ("1", True), ("no", False)],
)
def test_a_truth_in_a_variable(
    environment: pytest.MonkeyPatch,
    text: str,
    value: bool,  # noqa: FBT001
) -> None:
    environment.setenv(PREFIX + "EMIT_ACTIVATE_VERSION_MESSAGES", text)
    config = read_environment(SETTINGS, LOGGER)
    assert config == {"emit_activate_version_messages": value}


# Wrong ones.


def test_defaults_are_filled_in() -> None:
    config = dict(VALID)
    assert validate_config(config, deepcopy(SETTINGS)) == []
    assert config == {
        "oauth_token": "x",
        "lookup": "auto",
        "on_unavailable": "fail",
        "in_flight_days": 21,
        "max_parallel_requests": 3,
        "requests_per_second": 30,
        "request_timeout": 60,
        "max_attempts": 8,
        "api_url": "https://api-metrika.yandex.net",
        "emit_activate_version_messages": False,
    }


def test_every_setting_says_what_is_expected() -> None:
    for name, schema in SETTINGS["properties"].items():
        (line,) = lines_of(**{name: {"SECRET": 1}})
        assert line.startswith(f"Setting '{name}': expected "), name
        assert "SECRET" not in line
        assert schema["title"]
        assert schema["description"].endswith(".")
    assert SETTINGS["properties"]["oauth_token"]["secret"] is True


def test_each_error_is_a_line_of_its_own_without_a_value() -> None:
    lines = lines_of(
        counters=[{"counter_id": "SECRET", "x\n": 1}, {}],
        lookup="SECRET",
        max_attempts=0,
        uploading_ids=[1],
        start_date="SECRET",
        api_url="SECRET",
        oauth_token="'SECRET'",
    )
    assert [line.partition(":")[0] for line in lines] == [
        "Setting 'api_url'",
        "Setting 'counters[0].counter_id'",
        "Setting 'counters[0].x\\n' is unknown",
        "Setting 'counters[1].counter_id' is required.",
        "Setting 'lookup'",
        "Setting 'max_attempts'",
        "Setting 'oauth_token'",
        "Setting 'start_date'",
        "Setting 'uploading_ids' requires 'counter_id'.",
    ]
    assert "SECRET" not in "".join(lines)


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://api-metrika.yandex.net", True),
        ("https://api-metrika.yandex.ru/", True),
        ("https://proxy.example:8443", True),
        ("http://localhost:8000", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9:1", True),
        ("http://[::1]:8000", True),
        ("https://proxy.example:8443/metrika", False),
        ("https://api-metrika.yandex.net/management/v1", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@example.com", False),
        ("http://user:secret@localhost", False),
        ("https://user:secret@example.com", False),
        ("http://127.0.0.1\\@example.com", False),
        ("http://127.0.0.1#@example.com", False),
        ("http://127.0.0.1?x", False),
        ("http://[::1", False),
        ("http://[::2]", False),
        ("http://localhost:99999", False),
        ("https://", False),
        ("https:///path", False),
        ("https://a..b", False),
        (f"https://{'a' * 64}.net", False),
        ("https://.example", False),
        ("HTTPS://api-metrika.yandex.net", False),
        ("ftp://localhost", False),
        ("localhost", False),
        ("https://exa mple.com", False),
        ("", False),
    ],
)
def test_where_a_token_may_be_sent(url: str, is_safe: bool) -> None:  # noqa: FBT001
    assert (lines_of(api_url=url) == []) is is_safe


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("y0_AgAAAA-._~+/==", None),
        ("'y0'", "quotation marks"),
        ('"y0', "quotation marks"),
        ("OAuth y0", "word before"),
        ("Bearer y0", "word before"),
        ("y0 y1", "white space"),
        ("y\x000", "control character"),
        ("y\u200b0", "not ASCII"),
        ("токен", "not ASCII"),
        ("y0!", "character"),
        ("", "nothing"),
    ],
)
def test_which_kind_of_character_no_token_has(token: str, found: str | None) -> None:
    lines = lines_of(oauth_token=token)
    assert len(lines) == (found is not None)
    for line in lines:
        assert str(found) in line
        assert not token or token not in line


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_missing", "did you mean 'on_unavailable'?"),
        ("unsettled_days", "did you mean 'in_flight_days'?"),
        ("counter", "did you mean 'counters'?"),
        ("outh_token", "did you mean 'oauth_token'?"),
        ("xyz", "use oauth_token, "),
    ],
)
def test_what_an_unknown_name_was_meant_for(name: str, meant: str) -> None:
    assert lines_of(**{name: 1})[0].startswith(f"Setting '{name}' is unknown: {meant}")


@pytest.mark.parametrize(
    ("other", "value"),
    [("stream_maps", {"x": {}}), ("emit_activate_version_messages", True)],
)
def test_batches_exclude_some_settings(other: str, value: object) -> None:
    schema = deepcopy(SETTINGS)
    schema["additionalProperties"] = True
    config = {**VALID, "batch_config": {"x": 1}, other: value}
    assert validate_config(config, schema) == [
        f"Setting 'batch_config' cannot be combined with '{other}'."
    ]
    assert validate_config({**config, "batch_config": {}}, schema) == []
    empty: JSON = {"stream_maps": {}, "emit_activate_version_messages": False}
    assert validate_config({**config, **empty}, schema) == []
