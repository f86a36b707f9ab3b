"""All counters, and the time."""

from __future__ import annotations

import random
import typing as t
from datetime import UTC, datetime, timedelta

from sandbox.generator import Quantities, random_linked, random_uploads, upload_of
from sandbox.uploads import Counter, Fields, Upload, new_counter

if t.TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_COUNTER = 10_000_001
BULK = 1_000  # more uploads of a kind are computed, not kept


class World:
    """Counters and their uploads at a time that moves only when it is told to.

    Everything follows from the seed and the epoch: two worlds with the same ones show
    the same uploads in the same status at the same time.
    """

    def __init__(self, *, seed: int, epoch: datetime | None) -> None:
        self.epoch = (epoch or datetime.now(UTC).replace(microsecond=0)).astimezone(UTC)
        self.elapsed = 0.0
        self.counters: dict[int, Counter] = {}
        self._seed = seed

    def now(self) -> datetime:
        """Return the time in this world."""
        return self.epoch + timedelta(seconds=self.elapsed)

    def rng(self, purpose: object) -> random.Random:
        """Return random choices that follow from the seed and the purpose alone."""
        return random.Random(f"{self._seed} {purpose}")

    def add_counter(self, counter_id: int, name: str | None = None) -> Counter:
        """Add a counter without uploads."""
        name = name or f"Магазин {len(self.counters) + 1}"
        counter = new_counter(counter_id, name, self.epoch)
        self.counters[counter_id] = counter
        return counter

    def add_random_uploads(self, counter: Counter, counts: Mapping[str, int]) -> None:
        """Add uploads of all sorts to a counter, so many of each kind."""
        rng = self.rng(counter.id)
        next_id = (100_000, 2**53)[counter.id % 2] + counter.id % 1000 * 10_000
        for kind, count in counts.items():
            uploads = counter.lists[kind]
            if count > BULK:
                uploads.bulk.size = count
            elif count:
                made = random_uploads(rng, next_id, self.epoch, kind, count)
                uploads.uploads += made
                next_id = made[-1].fields["id"] + 1

    def add_upload(self, counter_id: int, kind: str, upload: Upload) -> None:
        """Add an upload."""
        self.counters[counter_id].lists[kind].uploads.append(upload)

    def receive(self, counter_id: int, fields: Fields) -> Fields:
        """Add an upload of calls that somebody sent, processed from now on."""
        now = self.now()
        upload_id = self.counters[counter_id].next_id()
        rng = self.rng(upload_id)
        valid, static = fields["line_quantity"], fields["static_calls_quantity"]
        linked = random_linked(rng, valid - static)
        quantities = Quantities(fields["source_quantity"], valid, static, linked)
        upload = upload_of(rng, upload_id, now, "CALLS", quantities)
        upload.fields.update(fields)
        self.add_upload(counter_id, "CALLS", upload)
        return upload.at(now)
