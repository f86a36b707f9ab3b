"""The documented quotas, enforced strictly."""

from __future__ import annotations

import time
import typing as t
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from datetime import date

WINDOW = 1.0


@dataclass
class Quotas:
    """How many requests are allowed.

    The quotas of a day begin anew at midnight GMT in the world's time; the window of a
    second is real time, because that is what a client can keep to.

    Attributes:
        per_second: For a source address, in any second.
        parallel: For a login, at once.
        per_day: For a login.
        per_counter_day: For a counter.
    """

    per_second: int = 30
    parallel: int = 3
    per_day: int = 5_000
    per_counter_day: int = 5_000
    _recent: defaultdict[str, deque[float]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _today: date | None = None
    _by_login: Counter[str] = field(default_factory=Counter)
    _by_counter: Counter[int] = field(default_factory=Counter)

    def exceeded(
        self,
        *,
        login: str,
        address: str,
        in_flight: int,
        counter_id: int | None,
        today: date,
    ) -> str | None:
        """Count a request that arrives.

        Args:
            login: Whose token it carries.
            address: Where it comes from.
            in_flight: Requests of the login at once, with this one.
            counter_id: The counter that is asked about, if it is one.
            today: The day in GMT.

        Returns:
            The `error_type` of the quota that the request exceeds, or None.
        """
        if today != self._today:
            self._today = today
            self._by_login.clear()
            self._by_counter.clear()
        self._by_login[login] += 1
        if self._by_login[login] > self.per_day:
            return "quota_requests_by_uid"
        if counter_id is not None:
            self._by_counter[counter_id] += 1
            if self._by_counter[counter_id] > self.per_counter_day:
                return "quota_requests_by_counter_id"
        if in_flight > self.parallel:
            return "quota_parallel_requests_by_uid"
        now = time.monotonic()
        recent = self._recent[address]
        while recent and now - recent[0] >= WINDOW:
            recent.popleft()
        if len(recent) >= self.per_second:
            return "quota_requests_by_ip"
        recent.append(now)
        return None
