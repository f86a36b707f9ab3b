"""Requests paced so that the API never counts more than it allows per second."""

from __future__ import annotations

import heapq
import threading
import time

SECOND = 1.012  # with a margin for responses whose arrival was noticed late


class RateLimit:
    """As many slots as requests per second.

    A request that is delayed on its way may reach the API together with later ones. So
    a slot is free again one second after the API can have counted the request at the
    latest: its response time less what the fastest response took.
    """

    def __init__(self, per_second: int, stopped: threading.Event) -> None:
        """Prepare.

        Args:
            per_second: Requests allowed in any second.
            stopped: Ends all waits.
        """
        self._interval = SECOND / per_second
        self._unused = per_second
        self._responded_at: list[float] = []
        self._next = 0.0
        self._fastest = float("inf")
        self._released = threading.Condition()
        self._stopped = stopped

    def acquire(self) -> float:
        """Wait until one more request may be sent.

        Returns:
            When it may be sent, in seconds of the monotonic clock, for `release`.
        """
        with self._released:
            while not (self._unused or self._responded_at):
                self._released.wait()
            now = time.monotonic()
            sent_at = max(now, self._next)
            if self._unused:
                self._unused -= 1
            else:
                responded_at = heapq.heappop(self._responded_at)
                sent_at = max(sent_at, responded_at - self._fastest + SECOND)
            self._next = sent_at + self._interval
        self._stopped.wait(sent_at - now)
        return sent_at

    def release(self, sent_at: float) -> None:
        """Note that the response to a request arrived, or that none will."""
        with self._released:
            responded_at = time.monotonic()
            self._fastest = min(self._fastest, max(0.0, responded_at - sent_at))
            heapq.heappush(self._responded_at, responded_at)
            self._released.notify()
