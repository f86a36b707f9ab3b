"""Responses and faults that wait for their requests."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from sandbox.faults import TRANSIENT_FAULTS


@dataclass
class Planned:
    """A response or a fault that waits for requests.

    Attributes:
        path: A pattern of the paths, with their query.
        times: How many requests it is for.
        fault: One of `FAULTS`, or empty.
        response: Status, headers and body, if there is no fault.
    """

    path: str = ""
    times: float = 1
    fault: str = ""
    response: tuple[int, dict[str, str], bytes] = (200, {}, b"")

    def takes(self, path: str) -> bool:
        """Whether this is for a request; counts it if so."""
        if self.times <= 0 or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


class Plan:
    """All that is planned, and faults by chance.

    Attributes:
        share: The share of requests that meets a fault nobody planned.
        faults: One of these.
    """

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self.faults: tuple[str, ...] = TRANSIENT_FAULTS
        self._planned: list[Planned] = []
        self._random = random.Random(seed)

    def seed(self, seed: int) -> None:
        """Begin the faults by chance anew."""
        self._random.seed(seed)

    def add(self, planned: Planned) -> None:
        """Add something; what was added earlier comes first."""
        self._planned.append(planned)

    def clear(self) -> None:
        """Forget all that is planned."""
        self._planned.clear()

    def take(self, path: str) -> Planned | None:
        """Return what is planned for a request."""
        for planned in self._planned:
            if planned.takes(path):
                return planned
        if self._random.random() >= self.share:
            return None
        return Planned(fault=self._random.choice(self.faults))
