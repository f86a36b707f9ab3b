"""Builds the models, then the page in both languages: `python -m transform.report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transform.report import page, warehouse
from transform.report.errors import ReportError


def main() -> int:
    """Build the page.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m transform.report")
    parser.add_argument(
        "--database",
        type=Path,
        default=warehouse.default_database(),
        help="file of DuckDB that holds uploads (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    parser.add_argument("--vars", default="{}", help="variables of dbt, as JSON")
    arguments = parser.parse_args()
    try:
        report = warehouse.read(arguments.database, arguments.vars)
        english, russian = page.write(report, arguments.out)
    except ReportError as error:
        sys.stderr.write(f"No report: {error}\n")
        return 1
    sys.stdout.write(f"Report: {english}, in Russian: {russian}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
