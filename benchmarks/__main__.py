"""Measures the tap beside a plain SDK tap: `python -m benchmarks [--write]`."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import typing as t
from pathlib import Path

from benchmarks.cases import CASES, Case
from benchmarks.measure import OURS, PLAIN, Measured, Runner
from sandbox import Sandbox

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPORT = Path(__file__).parents[1] / "docs" / "performance.md"
COLUMNS = (
    *("work", "this tap, s", "plain tap, s", "ratio", "of CPU time"),
    *("rows", "requests", "429", "peak, MB"),
)
WORST = ("rows", "requests", "throttled", "megabytes")


def main() -> None:
    """Print the table, and write it where it is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"to {REPORT.name}")
    parser.add_argument("--only", default="", help="cases whose name has this")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rows = [line(COLUMNS), line(["---"] * len(COLUMNS)).replace(" ", "")]
    for case in (*CASES, None):
        if options.only in (case.name if case else "--discover"):
            rows.append(
                row(case, options.repeat) if case else discovery(options.repeat)
            )
            print(rows[-1], file=sys.stderr, flush=True)
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
    others: list[Measured] = []
    for _ in range(repeat):
        ours.append(measured(case, OURS, case.ours))
        if case.other:
            others.append(measured(case, case.tap, case.other))
    return told(case.name, ours, others)


def measured(
    case: Case, tap: tuple[str, ...], work: Callable[[Runner], Measured]
) -> Measured:
    """Measure some work with a mock API of its own."""
    with Sandbox(**case.options) as api, tempfile.TemporaryDirectory() as folder:
        return work(Runner(tap, api, folder, **case.prepare(api)))


def discovery(repeat: int) -> str:
    """Measure how long a catalog takes."""
    runs: dict[tuple[str, ...], list[Measured]] = {OURS: [], PLAIN: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3 * repeat):
            for tap, its_runs in runs.items():
                its_runs.append(Runner(tap, None, folder).run("--discover"))
    return told("--discover", runs[OURS], runs[PLAIN])


def told(name: str, ours: list[Measured], others: list[Measured]) -> str:
    """Return one row: medians, and the worst where it counts."""
    cells = [name, time(ours), "", "", ""]
    if others:
        wall = median(ours, "seconds") / median(others, "seconds")
        cpu = median(ours, "cpu") / median(others, "cpu")
        cells[2:] = [time(others), f"{wall:.3f}", f"{cpu:.3f}"]
    cells += [f"{max(getattr(run, of) for run in ours):,.0f}" for of in WORST]
    return line(cells)


def line(cells: Iterable[str]) -> str:
    """Return a line of the table."""
    return f"| {' | '.join(cells)} |"


def median(runs: list[Measured], of: str) -> float:
    """Return the median of some runs."""
    return float(statistics.median(getattr(run, of) for run in runs))


def time(runs: list[Measured]) -> str:
    """Return the median wall time, to two digits at least."""
    seconds = median(runs, "seconds")
    return f"{seconds:.2f}" if seconds > 1 / 10 else f"{seconds:.2g}"


main()
