"""Numbers, times and texts as each language writes them."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    import datetime as dt
    import zoneinfo

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "ru")
NO_BREAK = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
HOUR = 3600
DAY = 24 * HOUR


class Words:
    """The words of one language."""

    def __init__(self, language: str, zone: zoneinfo.ZoneInfo) -> None:
        path = FOLDER / f"{language}.toml"
        self.texts: dict[str, t.Any] = tomllib.loads(path.read_text("utf-8"))
        self.zone = zone

    def number(self, value: int | None) -> str:
        """Write a whole number, with its thousands apart."""
        if value is None:
            return DASH
        return f"{value:,}".replace(",", self.texts["thousands"])

    def percent(self, share: float | None) -> str:
        """Write a share; next to nothing is not nothing."""
        if share is None:
            return DASH
        percent = share * 100
        digits = 1 if 0 < percent < 1 else 0
        text = f"{percent:.{digits}f}".replace(".", self.texts["point"])
        return f"{text}{self.texts['percent']}"

    def day(self, value: dt.date) -> str:
        """Write a day."""
        month = self.texts["months"][value.month - 1]
        return f"{value.day}{NO_BREAK}{month}{NO_BREAK}{value.year}"

    def short_day(self, value: dt.date) -> str:
        """Write a day without its year."""
        return f"{value.day}{NO_BREAK}{self.texts['months'][value.month - 1]}"

    def time(self, value: dt.datetime | None) -> str:
        """Write a time, in the time zone of the page."""
        if value is None:
            return DASH
        local = value.astimezone(self.zone)
        return f"{self.day(local)}, {local:%H:%M}"

    def span(self, seconds: float | None) -> str:
        """Write how long something took, by its two largest units."""
        if seconds is None:
            return DASH
        minutes = max(round(seconds / 60), 1)
        days, minutes = divmod(minutes, 24 * 60)
        hours, minutes = divmod(minutes, 60)
        parts = [(days, "d"), (hours, "h"), (minutes, "min")]
        first = next(place for place, (count, _) in enumerate(parts) if count)
        return " ".join(
            f"{count}{NO_BREAK}{self.texts['units'][unit]}"
            for count, unit in parts[first : first + 2]
            if count
        )


def visible(text: str | None) -> str:
    """Show characters that have no picture, such as NUL, which HTML cannot hold."""
    return "".join(_visible(character) for character in text or "")


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\t\n\r":
        return " "
    if code < 0x20:  # noqa: PLR2004
        return chr(0x2400 + code)
    if 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:  # noqa: PLR2004
        return "\N{REPLACEMENT CHARACTER}"
    return character
