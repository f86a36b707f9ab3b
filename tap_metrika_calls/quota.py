"""Requests spaced so that the API never counts more than it allows in a second.

A limiter that looks at the sending of requests is not enough: one that is held up on
its way arrives together with those sent after it. So a request counts, here, for as
late as the API can have counted it; see `docs/decisions.md` for what was measured.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

SECOND = 1.01  # with a margin for clocks that differ


@dataclass(slots=True)
class Sent:
    """One request.

    Attributes:
        at: When it may be sent, in seconds of the monotonic clock.
        took: Seconds until its answer came, or None while it is under way.
    """

    at: float
    took: float | None = None


class Quota:
    """Gives each request its time."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._lock = threading.Lock()
        self._recent: deque[Sent] = deque()
        self._next = 0.0
        self._fastest = float("inf")

    def take(self) -> Sent:
        """Wait until one more request may be sent."""
        with self._lock:
            now = time.monotonic()
            while self._recent and self._counted(self._recent[0]) + SECOND <= now:
                self._recent.popleft()
            at = max(now, self._next)
            if len(self._recent) >= self._per_second:
                before = self._recent[-self._per_second]
                at = max(at, self._counted(before) + SECOND)
            self._next = at + SECOND / self._per_second
            sent = Sent(at)
            self._recent.append(sent)
        if at > now:
            time.sleep(at - now)
        return sent

    def answered(self, sent: Sent) -> None:
        """Take note of how long a request was under way."""
        with self._lock:
            sent.took = time.monotonic() - sent.at
            self._fastest = min(self._fastest, sent.took)

    def _counted(self, sent: Sent) -> float:
        """When the API counted a request at the latest.

        The fastest answer shows what the way and the work take; all beyond it may
        have been a delay on the way there.
        """
        return sent.at if sent.took is None else sent.at + sent.took - self._fastest
