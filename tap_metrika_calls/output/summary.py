"""The line at the end of a sync: what was read, and what it cost."""

from __future__ import annotations

import typing as t

from tap_metrika_calls.api.limits import REQUESTS_PER_DAY

if t.TYPE_CHECKING:
    from collections import Counter


def summarize(
    records: Counter[str], read: Counter[str], requests: Counter[str], retries: int
) -> str:
    """Return the line.

    Args:
        records: Number of records, by stream.
        read: Number of uploads received, of pages, and of lists left early.
        requests: Number of requests sent, by kind, with retries.
        retries: How many of the requests were retries.
    """
    share = 100 * requests.total() / REQUESTS_PER_DAY
    return (
        f"Records: {_by_name(records)}. Uploads: {read['uploads']} seen, in "
        f"{read['pages']} pages; lists left early: {read['early_stops']}. "
        f"Requests: {_by_name(requests)}. Retries: {retries}. That is {share:.1f} % of "
        f"the daily quota ({REQUESTS_PER_DAY:,} requests per login)."
    )


def _by_name(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"
