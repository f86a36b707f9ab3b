"""Lines about many names."""

from __future__ import annotations

import pytest

from tap_metrika_calls.output.lines import MAX_NAMED, GroupedLines, listed, printable


def test_names_are_collected_by_what_there_is_to_say() -> None:
    summary = GroupedLines()
    assert not summary
    for template, name in (("a {}.", 1), ("b {}", "x"), ("a {}.", 2), ("a {}.", 1)):
        summary.add(template, name)
    assert summary
    assert summary.lines() == ["a 1, 2.", "b x"]


def test_counters_are_in_the_plural_where_there_are_many() -> None:
    summary = GroupedLines()
    summary.add("Counter {}: closed (counter {})", 7)
    assert summary.lines() == ["Counter 7: closed (counter {})"]
    summary.add("Failed (counter {}). Counter {} is not known.", 7)
    summary.add("Failed (counter {}). Counter {} is not known.", 8)
    assert summary.lines()[1].startswith("Failed (counters 7, 8). ")


def test_a_template_without_names_is_a_line() -> None:
    summary = GroupedLines()
    summary.add("Nothing could be read.", "")
    summary.add("Nothing could be read.", "")
    assert summary.lines() == ["Nothing could be read."]


@pytest.mark.parametrize(
    ("count", "end"), [(0, ""), (1, "0"), (20, "19"), (21, "19 and 1 more")]
)
def test_twenty_names_are_listed(count: int, end: str) -> None:
    text = listed(range(count))
    assert text.endswith(end)
    assert text.count(",") == max(0, min(count, MAX_NAMED) - 1)
    assert MAX_NAMED == 20


def test_names_of_a_generator_are_listed_and_counted() -> None:
    assert listed(iter("ab")) == "a, b"
    assert listed(n for n in range(1_000)).endswith("18, 19 and 980 more")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Звонки", "Звонки"),
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202e", r"\u202e"),
        ("\ud83d", r"\ud83d"),
        (7, "7"),
        (None, "None"),
        ("x" * 500, "x" * 120),
        ("", ""),
    ],
)
def test_a_name_from_outside_fits_in_a_line(name: object, text: str) -> None:
    assert printable(name) == text
    assert listed([name]) == text
