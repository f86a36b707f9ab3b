"""The documented quotas, kept strictly."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

WINDOW = 1.0


@dataclass
class Quotas:
    """How many requests are allowed; the counts begin anew with each day in GMT.

    Attributes:
        per_second: For an IP address, in any second.
        parallel: For a login, at once.
        per_day: For a login.
        per_counter_day: For a counter.
    """

    per_second: int = 30
    parallel: int = 3
    per_day: int = 5_000
    per_counter_day: int = 5_000
    _recent: deque[float] = field(default_factory=deque)
    _today: date | None = None
    _all: int = 0
    _requests: Counter[int] = field(default_factory=Counter)

    def exceeded(
        self, in_flight: int, counter_id: int | None, today: date
    ) -> str | None:
        """Count a request that arrives.

        Args:
            in_flight: Requests at once, with this one.
            counter_id: The counter that is asked about, if it is one.
            today: The day in GMT.

        Returns:
            The `error_type` of the quota that the request exceeds, or None.
        """
        if today != self._today:
            self._today = today
            self._all = 0
            self._requests.clear()
        self._all += 1
        if counter_id is not None:
            self._requests[counter_id] += 1
        if self._all > self.per_day:
            return "quota_requests_by_uid"
        if counter_id is not None and self._requests[counter_id] > self.per_counter_day:
            return "quota_requests_by_counter_id"
        if in_flight > self.parallel:
            return "quota_parallel_requests_by_uid"
        now = time.monotonic()
        while self._recent and now - self._recent[0] >= WINDOW:
            self._recent.popleft()
        if len(self._recent) >= self.per_second:
            return "quota_requests_by_ip"
        self._recent.append(now)
        return None
