"""Renders the page: one file of HTML, without scripts, that loads nothing."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import tempfile
import typing as t
from pathlib import Path

import jinja2
from markupsafe import Markup

from transform.report.words import DAY, HOUR, LANGUAGES, Words, visible

if t.TYPE_CHECKING:
    from transform.report.warehouse import Report, Row

FOLDER = Path(__file__).parent
REASONS = ("stuck", "all_rows_rejected", "not_linked", "rows_rejected")
DAYS = 90
WITHIN = (1, 2, 4, 8, 24)
HEIGHT = 160


def write(report: Report, out: Path) -> list[Path]:
    """Write the page in each language, all of it or nothing.

    Args:
        report: What to show.
        out: The file in the first language; the others are beside it.

    Returns:
        The files.
    """
    pages = {}
    for language in LANGUAGES:
        suffix = "" if language == LANGUAGES[0] else f".{language}"
        path = out.with_name(f"{out.stem}{suffix}{out.suffix}")
        pages[path] = render(report, language)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        _replace(path, text)
    return list(pages)


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=path.parent, delete=False
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def render(report: Report, language: str) -> str:
    """Render the page in one language."""
    words = Words(language, report.zone)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "percent": words.percent,
        "day": words.day,
        "short_day": words.short_day,
        "time": words.time,
        "span": words.span,
        "visible": visible,
    }
    style = (FOLDER / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (totals,) = report.rows["totals"]
    (times,) = report.rows["times"]
    text: str = environment.get_template("page.html").render(
        language=language,
        texts=words.texts,
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=f"sha256-{digest}",
        zone=report.zone.key,
        totals=totals,
        loaded=_loaded(totals),
        attention=_attention(report.rows),
        silent=report.rows["silent"],
        fallen=report.rows["fallen"],
        days=(days := _days(report.rows["days"], totals["today"])),
        period=_period(days),
        chart=_chart(days),
        counters=_counters(report.rows["counters"]),
        times=times,
        within=[(hours, times[f"within_{hours}"]) for hours in WITHIN],
        hour=HOUR,
    )
    return text


def _loaded(totals: Row) -> Row:
    """How old the data is: by the loader's word, or else by the latest upload."""
    at = totals["last_extracted_at"]
    age = (totals["built_at"] - at).total_seconds() if at else None
    return {"at": at, "age": age, "is_old": bool(age and age > DAY)}


def _attention(rows: dict[str, list[Row]]) -> list[Row]:
    counts = {row["attention_reason"]: row for row in rows["reasons"]}
    return [
        {
            "reason": reason,
            **counts[reason],
            "rows": [r for r in rows["attention"] if r["attention_reason"] == reason],
        }
        for reason in REASONS
        if reason in counts
    ]


def _days(rows: list[Row], today: dt.date) -> list[Row]:
    """90 days up to today, also those without uploads; up to the last of old data."""
    if not rows:
        return []
    known = {row["created_on"]: row for row in rows}
    last = max(known)
    end = today if today - dt.timedelta(days=DAYS) < last <= today else last
    empty = dict.fromkeys(rows[0], 0) | {"linked_rate": None}
    days = [end - dt.timedelta(days=ago) for ago in range(DAYS)]
    return [known.get(day, {**empty, "created_on": day}) for day in days]


def _period(days: list[Row]) -> Row:
    """The sums of all days; a day knows no sum of what its uploads lack."""
    names = ("line_quantity", "linked_quantity", "rejected_quantity")
    return {name: sum(day[name] or 0 for day in days) for name in names}


def _chart(days: list[Row]) -> Row:
    """The bars of the picture, oldest first, stacked upwards."""
    highest = max((_height_of(day) for day in days), default=0)
    top = _round_up(highest)
    bars = []
    for place, day in enumerate(reversed(days)):
        linked = min(day["linked_quantity"] or 0, day["line_quantity"] or 0)
        parts = {
            "linked": linked,
            "valid": (day["line_quantity"] or 0) - linked,
            "rejected": day["rejected_quantity"] or 0,
        }
        base = 0.0
        stacked = []
        for name, quantity in parts.items():
            height = quantity / top * HEIGHT
            if quantity:
                y = round(HEIGHT - base - height, 1)
                stacked.append({"name": name, "y": y, "height": round(height, 1)})
            base += height
        bars.append({"x": place * 8, "day": day["created_on"], "parts": stacked})
    return {
        "bars": bars,
        "lines": [
            (round(HEIGHT * (1 - part / 2), 1), top * part // 2) for part in range(3)
        ],
        "height": HEIGHT,
        "width": DAYS * 8,
    }


def _height_of(day: Row) -> int:
    return (day["line_quantity"] or 0) + (day["rejected_quantity"] or 0)


def _round_up(value: int) -> int:
    """The next even round number, for the scale of an axis."""
    power: int = 10 ** max(len(str(value)) - 1, 0)
    return next(
        step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= max(value, 2)
    )


def _counters(rows: list[Row]) -> Row:
    counters: dict[int, Row] = {}
    for row in rows:
        counter = counters.setdefault(row["counter_id"], {**row, "kinds": []})
        counter["kinds"].append(row)
    total = rows[0]["counters"] if rows else 0
    return {"rows": list(counters.values()), "total": total}
