"""What a configuration means."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

import pytest

from tap_metrika_calls.settings import (
    Wanted,
    errors_of,
    parse_time,
    wanted_counters,
    with_lists,
)
from tap_metrika_calls.tap import TapMetrikaCalls

VALID = {"oauth_token": "x"}


def lines_of(**config: t.Any) -> list[str]:
    """The errors of a configuration."""
    return errors_of({**VALID, **config}, TapMetrikaCalls.config_jsonschema)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, None),
        ({"counters": []}, []),
        ({"counter_id": 1}, [Wanted(1)]),
        ({"counter_id": 1, "uploading_ids": [3, 2, 3]}, [Wanted(1, False, (3, 2))]),
        ({"counter_id": 1, "uploading_ids": []}, [Wanted(1, False, ())]),
        (
            {"counters": [{"counter_id": 2}, {"counter_id": 1, "uploading_ids": [5]}]},
            [Wanted(2), Wanted(1, False, (5,))],
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
            [Wanted(1, False, (4, 5)), Wanted(2)],
        ),
        (
            {"counters": [{"counter_id": 1, "uploading_ids": [5]}, {"counter_id": 1}]},
            [Wanted(1, True, (5,))],
        ),
    ],
)
def test_wanted_counters(config: dict[str, t.Any], wanted: list[Wanted] | None) -> None:
    assert wanted_counters(config) == wanted


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T03:00:00+03:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-02-31", None),
        ("10000-01-01", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:00:00-14:00", None),
        ("", None),
        (20260131, None),
        (None, None),
    ],
)
def test_parse_time(value: object, instant: datetime | None) -> None:
    assert parse_time(value) == instant


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://api-metrika.yandex.net", True),
        ("https://api-metrika.yandex.ru/", True),
        ("https://proxy.example:8443/metrika", True),
        ("http://localhost:8000", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9:1", True),
        ("http://[::1]:8000", True),
        ("http://10.0.0.1", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@example.com", False),
        ("http://user:secret@localhost", False),
        ("http://127.0.0.1\\@example.com", False),
        ("http://127.0.0.1#@example.com", False),
        ("http://127.0.0.1?x", False),
        ("http://[::1", False),
        ("http://[::2]", False),
        ("http://localhost:99999", False),
        ("https://", False),
        ("https:///path", False),
        ("HTTPS://api-metrika.yandex.net", False),
        ("ftp://localhost", False),
        ("localhost", False),
        ("https://example.com\n", False),
        ("", False),
    ],
)
def test_where_a_token_may_be_sent(url: str, is_safe: bool) -> None:  # noqa: FBT001
    assert (lines_of(api_url=url) == []) == is_safe


def test_defaults_are_filled_in() -> None:
    config = dict(VALID)
    assert errors_of(config, TapMetrikaCalls.config_jsonschema) == []
    assert {**config, "emit_activate_version_messages": False} == {
        "oauth_token": "x",
        "lookup": "auto",
        "on_missing": "fail",
        "unsettled_days": 21,
        "max_parallel_requests": 3,
        "requests_per_second": 30,
        "request_timeout": 60,
        "max_attempts": 8,
        "api_url": "https://api-metrika.yandex.net",
        "emit_activate_version_messages": False,
    } | {k: v for k, v in config.items() if k.startswith(("flat", "batch", "stream"))}


def test_each_error_is_told_once_and_without_a_value() -> None:
    lines = lines_of(
        counters=[{"counter_id": "SECRET", "SECRET\n": 1}],
        lookup="SECRET",
        max_attempts=0,
    )
    assert lines == [
        "Setting counters[0].SECRET\\n is unknown: counter_id, uploading_ids.",
        "Setting counters[0].counter_id takes a positive integer.",
        "Setting lookup takes one of auto, by_id, list.",
        "Setting max_attempts takes an integer from 1 to 1000.",
    ]


def test_what_contradicts_is_told() -> None:
    assert len(lines_of(uploading_ids=[1], start_date="x", api_url="x")) == 3
    assert lines_of(oauth_token="a\x00b") == [
        "Setting oauth_token takes a token without line breaks inside."
    ]
    assert lines_of(oauth_token=" a \n") == []


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ('[{"counter_id": 7}]', [{"counter_id": 7}]),
        ("[]", []),
        ("null", None),
        ("[7", "[7"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
        ([7], [7]),
        (None, None),
    ],
)
def test_lists_may_come_as_text(given: object, read: object) -> None:
    for name in ("counters", "uploading_ids"):
        assert with_lists({name: given, "ulogin": "[1]"}) == {
            name: read,
            "ulogin": "[1]",
        }
