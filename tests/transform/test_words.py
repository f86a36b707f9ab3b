"""Numbers, times and texts as the page writes them."""

from __future__ import annotations

import tomllib
import typing as t
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from transform.report.words import FOLDER, LANGUAGES, Words, visible

MOSCOW = ZoneInfo("Europe/Moscow")
EN, RU = (Words(language, MOSCOW) for language in LANGUAGES)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("a\0b\x1b", "a\u2400b\u241b"),
        ("a\r\n\tb", "a   b"),
        ("\x85\ud800", "\N{REPLACEMENT CHARACTER}" * 2),
        ("<b>\u202e\N{TELEPHONE RECEIVER}", "<b>\u202e\N{TELEPHONE RECEIVER}"),
    ],
)
def test_what_has_no_picture_gets_one(text: str | None, shown: str) -> None:
    assert visible(text) == shown


def test_numbers_are_written_as_the_language_does() -> None:
    assert [w.number(1234567) for w in (EN, RU)] == ["1,234,567", "1\xa0234\xa0567"]
    assert [w.percent(0.0042) for w in (EN, RU)] == ["0.4%", "0,4\xa0%"]
    assert [EN.percent(share) for share in (0, 0.5, 1)] == ["0%", "50%", "100%"]
    assert {EN.number(None), EN.percent(None), EN.time(None), EN.span(None)} == {
        "\N{EN DASH}"
    }


def test_times_are_in_the_time_zone_of_the_page() -> None:
    late = datetime(2026, 12, 31, 22, 5, tzinfo=UTC)
    assert EN.time(late) == "1\xa0Jan\xa02027, 01:05"
    assert RU.time(late) == "1\xa0янв\xa02027, 01:05"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "1 min"),
        (7_140, "1 h 59 min"),
        (7_200, "2 h"),
        (86_400 * 9 + 3_600 * 4 + 59, "9 d 4 h"),
        (86_400 + 60, "1 d"),
    ],
)
def test_spans_have_two_units(seconds: float, shown: str) -> None:
    assert EN.span(seconds).replace("\xa0", " ") == shown


def keys(texts: dict[str, t.Any], prefix: str = "") -> set[str]:
    """The names of all texts."""
    return {
        name
        for key, value in texts.items()
        for name in (
            keys(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {prefix + key}
        )
    }


def test_both_languages_have_the_same_texts() -> None:
    english, russian = (
        keys(tomllib.loads((Path(FOLDER) / f"{name}.toml").read_text("utf-8")))
        for name in LANGUAGES
    )
    assert english == russian
