"""Prints the processing status of uploads in a DuckDB file; needs duckdb."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb

BY_STATUS = """
    SELECT counter_id, status, count(*), sum(source_quantity), sum(line_quantity)
    FROM calls_uploadings
    GROUP BY counter_id, status
    ORDER BY counter_id, list_position(
        ['PREPARED', 'UPLOADED', 'EXPORTED', 'MATCHED', 'PROCESSED'], status
    ) NULLS LAST
"""
EACH = "SELECT counter_id, id, status FROM calls_uploadings"
HEAD = ("counter", "status", "uploads", "rows in", "rows valid")


def main() -> None:
    """Print the table, and what is new since the last time."""
    database, seen = map(Path, sys.argv[1:])
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(BY_STATUS).fetchall()
        each = connection.execute(EACH).fetchall()
    now = {f"{counter}/{upload}": status for counter, upload, status in each}
    table = [HEAD, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print()
    for counter, status, *numbers in table:
        cells = [counter.ljust(widths[0]), status.ljust(widths[1])]
        cells += [n.rjust(w) for n, w in zip(numbers, widths[2:], strict=True)]
        print("  ".join(cells))
    print(f"\n{len(now)} uploads in {database}")
    if seen.exists():
        before = json.loads(seen.read_text(encoding="utf-8"))
        moved = sum(
            before[key] != status for key, status in now.items() if key in before
        )
        new = len(now.keys() - before.keys())
        print(f"Since the last time: {moved} statuses moved on, {new} uploads are new")
    seen.write_text(json.dumps(now), encoding="utf-8")


if __name__ == "__main__":
    main()
