"""The line at the end of a sync: what was read, and what it cost."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from tap_metrika_calls.api.limits import REQUESTS_PER_DAY

if t.TYPE_CHECKING:
    import logging
    from collections import Counter


@dataclass(slots=True)
class Summary:
    """What was counted during a sync.

    Attributes:
        uploads: How many uploads were received.
        pages: How many pages of lists of uploads were received.
        early_stops: How many lists were not read to their end.
    """

    uploads: int = 0
    pages: int = 0
    early_stops: int = 0

    def log(
        self,
        logger: logging.Logger,
        records: Counter[str],
        requests: Counter[str],
        retries: int,
    ) -> None:
        """Log the line.

        Args:
            logger: Takes the line.
            records: Number of records, by stream.
            requests: Number of requests, by kind.
            retries: How many of the requests were retries.
        """
        logger.info(
            "Records: %s. Uploads: %d seen, in %d pages; lists left early: %d. "
            "Requests: %s. Retries: %d. That is %.1f %% of the daily quota (%s "
            "requests per login).",
            ", ".join(f"{n} {name}" for name, n in records.items()) or "none",
            self.uploads,
            self.pages,
            self.early_stops,
            ", ".join(f"{n} {kind}" for kind, n in requests.items()) or "none",
            retries,
            100 * requests.total() / REQUESTS_PER_DAY,
            f"{REQUESTS_PER_DAY:,}",
        )
