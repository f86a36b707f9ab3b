"""Lines that say one thing about many names: counters, uploads, fields."""

from __future__ import annotations

import re
import typing as t
from itertools import islice

if t.TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAMED = 20


class GroupedLines:
    """Lines that are said once, with all the names that they are about."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}

    def add(self, template: str, name: object, found_in: object = None) -> None:
        """Add a name, with where it was found first if that is of interest.

        In the template, `{}` stands for the list of names.
        """
        place = "" if found_in is None else f" (first in {found_in})"
        self._names.setdefault(template, {}).setdefault(str(name), place)

    def lines(self) -> list[str]:
        """Return a line for each template."""
        lines = []
        for template, names in self._names.items():
            many = len(names) > 1
            line = re.sub("(ounter) {}", r"\1s {}", template) if many else template
            lines.append(line.replace("{}", listed(map("".join, names.items())), 1))
        return lines

    def __bool__(self) -> bool:
        """Return whether there is anything to say."""
        return bool(self._names)


def listed(names: Iterable[object]) -> str:
    """Return names for a line: the first 20, and how many more there are."""
    every = list(names)
    text = ", ".join(map(printable, islice(every, MAX_NAMED)))
    more = len(every) - MAX_NAMED
    return f"{text} and {more} more" if more > 0 else text


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 upload`, `2 uploads`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def printable(name: object) -> str:
    """Return a name from outside, fit for one line of a log."""
    text = str(name)
    return (text if text.isprintable() else ascii(text)[1:-1])[:120]
