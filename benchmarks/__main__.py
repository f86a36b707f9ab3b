"""Measures the tap beside a plain SDK tap: `python -m benchmarks [--write]`."""

from __future__ import annotations

import argparse
import statistics
import sys
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import (
    OURS,
    PLAIN,
    Measured,
    all_counters,
    ids_of,
    measure,
    sandbox,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable

REPORT = Path(__file__).parents[1] / "docs" / "performance.md"
NO_QUOTAS = {"requests_per_second": 1_000_000}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: The work.
        options: Of the stand-in.
        counters: Makes the configuration from its URL.
        settings: More settings of this tap.
        plain: Whether the plain tap is measured too.
    """

    name: str
    options: tuple[str, ...]
    counters: Callable[[str], list[dict[str, t.Any]]]
    settings: dict[str, t.Any] = field(default_factory=dict)
    plain: bool = True


def bulk(counters: int, uploads: int, *options: str) -> tuple[str, ...]:
    """Options of a stand-in of this size."""
    return ("--counters", str(counters), "--uploads", str(uploads), *options)


SLOW = bulk(1, 1_000, "--latency-ms", "50")
FAST = "--no-quotas"
CASES = (
    Case("1,000 IDs, quotas kept, 50 ms", SLOW, ids_of),
    Case(
        "the same, lookup: by_id",
        SLOW,
        ids_of,
        settings={"lookup": "by_id"},
        plain=False,
    ),
    Case("10,000 IDs", bulk(1, 10_000, FAST), ids_of, NO_QUOTAS),
    Case("20 counters of 10,000", bulk(20, 10_000, FAST), all_counters, NO_QUOTAS),
    Case("1,000 counters of 10", bulk(1_000, 10, FAST), all_counters, NO_QUOTAS),
    Case(
        "5,000 counters of 1",
        bulk(5_000, 1, FAST),
        all_counters,
        NO_QUOTAS,
        plain=False,
    ),
    Case(
        "1,000 counters of 1",
        bulk(1_000, 1, FAST),
        all_counters,
        NO_QUOTAS,
        plain=False,
    ),
    Case(
        "100,000 uploads", bulk(1, 100_000, FAST), all_counters, NO_QUOTAS, plain=False
    ),
    Case(
        "1,000,000 uploads",
        bulk(1, 1_000_000, FAST),
        all_counters,
        NO_QUOTAS,
        plain=False,
    ),
)


def main() -> None:
    """Print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"to {REPORT.name}")
    parser.add_argument("--only", default="", help="cases whose name has this")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rows = [
        "| work | this tap, s | plain tap, s | ratio | requests | 429 | peak, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        if options.only in case.name:
            rows.append(row(case, options.repeat))
            print(rows[-1], file=sys.stderr, flush=True)
    if options.only in "--discover":
        rows.append(discovery(options.repeat))
    print("\n".join(rows))
    if options.write:
        text = REPORT.read_text(encoding="utf-8")
        head, _, rest = text.partition("<!-- table -->\n")
        tail = rest.partition("<!-- /table -->")[2]
        table = "\n".join(rows)
        written = f"{head}<!-- table -->\n{table}\n<!-- /table -->{tail}"
        REPORT.write_text(written, encoding="utf-8")


def row(case: Case, repeat: int) -> str:
    """Measure one case; both taps take turns."""
    ours: list[Measured] = []
    plain: list[Measured] = []
    for _ in range(repeat):
        for tap, runs in ((OURS, ours), (PLAIN, plain)):
            if tap is OURS or case.plain:
                with sandbox(*case.options) as url:
                    settings = {"api_url": url, "counters": case.counters(url)}
                    if tap is OURS:
                        settings |= case.settings
                    runs.append(measure(tap, url, settings))
    return told(case.name, ours, plain)


def discovery(repeat: int) -> str:
    """Measure how long a catalog takes."""
    ours, plain = [], []
    for _ in range(3 * repeat):
        ours.append(measure(OURS, "", {"api_url": "http://localhost"}, "--discover"))
        plain.append(measure(PLAIN, "", {"api_url": "http://localhost"}, "--discover"))
    return told("--discover", ours, plain)


def told(name: str, ours: list[Measured], plain: list[Measured]) -> str:
    """One row: medians, and the worst where it counts."""
    mine = statistics.median(run.seconds for run in ours)
    cells = [name, f"{mine:.2f}"]
    if plain:
        theirs = statistics.median(run.seconds for run in plain)
        cells += [f"{theirs:.2f}", f"{mine / theirs:.3f}"]
    else:
        cells += ["", ""]
    cells += [
        str(max(run.requests for run in ours)),
        str(max(run.throttled for run in ours)),
        f"{max(run.megabytes for run in ours):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


main()
