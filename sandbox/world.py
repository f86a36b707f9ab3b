"""Counters and uploads that live as the documentation tells."""

from __future__ import annotations

import json
import random
import time
import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from sandbox.bulk import bulk_id, bulk_upload, encoded_uploads

if t.TYPE_CHECKING:
    from collections.abc import Iterable

Fields: t.TypeAlias = dict[str, t.Any]

FIRST_COUNTER = 10_000_001
BULK = 1_000  # counters with more uploads are computed, not kept
MOSCOW = timezone(timedelta(hours=3))
SHUFFLE_STEP = 1_000_003  # prime, above the number of uploads of a counter
ORDERS = ("newest", "oldest", "shuffled")
UNLINKABLE_SHARE = 0.15
MAY_BE_ABSENT = ("comment", "type", "linked_quantity", "static_calls_quantity")
STAGES = ("PREPARED", "UPLOADED", "EXPORTED", "MATCHED")
COMMENTS = ("звонки колл-центра", "Выгрузка CRM 📞", "calls, week 12", "", "ёлка «Сад»")


@dataclass
class Upload:
    """One upload.

    Attributes:
        fields: What the API answers.
        stages: When which status begins; none if the status in `fields` stays.
    """

    fields: Fields
    stages: list[tuple[datetime, str]] = field(default_factory=list)

    def at(self, now: datetime) -> Fields:
        """The upload as it is at a time."""
        reached = [status for begins, status in self.stages if begins <= now]
        return {**self.fields, "status": reached[-1]} if reached else self.fields


@dataclass
class Counter:
    """One counter and its uploads, the oldest first."""

    id: int
    name: str
    closed: bool = False
    uploads: list[Upload] = field(default_factory=list)
    bulk: int = 0

    def find(self, upload_id: int, now: datetime) -> Fields | None:
        """The upload with an ID, as it is now."""
        index = upload_id - bulk_id(self.id, 0)
        if 0 <= index < self.bulk:
            return bulk_upload(self.id, index)
        for upload in self.uploads:
            if upload.fields.get("id") == upload_id:
                return upload.at(now)
        return None

    def page(self, order: str, offset: int, limit: int, now: datetime) -> list[bytes]:
        """Some of the uploads as JSON, in an order of `ORDERS`."""
        total = self.bulk + len(self.uploads)
        places = range(total)[offset : offset + limit]
        if order == "newest":
            places = range(total - 1, -1, -1)[offset : offset + limit]
        indices: Iterable[int] = places
        if order == "shuffled":
            indices = [place * SHUFFLE_STEP % total for place in places]
        if not self.uploads:
            return encoded_uploads(self.id, indices)
        return [self._encoded(index, now) for index in indices]

    def next_id(self) -> int:
        """An ID above all that are known."""
        ids = [u.fields["id"] for u in self.uploads if _is_int(u.fields.get("id"))]
        if self.bulk:
            ids.append(bulk_id(self.id, self.bulk - 1))
        return max(ids, default=0) + 1

    def _encoded(self, index: int, now: datetime) -> bytes:
        if index < self.bulk:
            return encoded_uploads(self.id, (index,))[0]
        return json.dumps(self.uploads[index - self.bulk].at(now)).encode()


class World:
    """All counters, and the time.

    Everything follows from the seed and the epoch: two worlds with the same show the
    same uploads in the same status at the same time.
    """

    def __init__(
        self, *, seed: int, counters: int, uploads: int, epoch: datetime, speed: float
    ) -> None:
        self.epoch = epoch.astimezone(UTC)
        self.speed = speed
        self.skipped = 0.0
        self.counters: dict[int, Counter] = {}
        self._random = random.Random(seed)
        for number in range(counters):
            self.add_counter(FIRST_COUNTER + number, uploads)

    def now(self) -> datetime:
        """The time in this world."""
        passed = time.time() - self.epoch.timestamp()
        return self.epoch + timedelta(seconds=passed * self.speed + self.skipped)

    def add_counter(
        self, counter_id: int, uploads: int = 0, *, closed: bool = False
    ) -> Counter:
        """Add a counter with uploads of all kinds."""
        counter = Counter(counter_id, f"Магазин {len(self.counters) + 1}", closed)
        self.counters[counter_id] = counter
        if uploads > BULK:
            counter.bulk = uploads
            return counter
        next_id = (100_000, 2**53)[counter_id % 2] + counter_id % 1000 * 10_000
        for index in range(uploads):
            next_id += self._random.randint(1, 9)
            age = timedelta(minutes=40 * (uploads - index) - 30)
            counter.uploads.append(
                self._live(next_id, self.epoch - age, stuck=index % 20 == 7)  # noqa: PLR2004
            )
        return counter

    def add_upload(self, counter_id: int, fields: Fields) -> Fields:
        """Add an upload that is answered exactly as given."""
        self.counters[counter_id].uploads.append(Upload(fields))
        return fields

    def receive(self, counter_id: int, fields: Fields) -> Fields:
        """Add an upload that begins to live now."""
        counter = self.counters[counter_id]
        now = self.now()
        upload = self._live(counter.next_id(), now, given=fields)
        counter.uploads.append(upload)
        return upload.at(now)

    def _live(
        self,
        upload_id: int,
        created: datetime,
        *,
        stuck: bool = False,
        given: Fields | None = None,
    ) -> Upload:
        rng = self._random
        rows = rng.randint(1, 500)
        valid = rng.randint(rows // 2, rows)
        static = rng.randint(0, valid // 3)
        if given:
            valid = given["line_quantity"]
            static = given["static_calls_quantity"]
        unlinkable = rng.random() < UNLINKABLE_SHARE
        linked = 0 if unlinkable else rng.randint(0, valid - static)
        fields: Fields = {
            "id": upload_id,
            "create_time": _written(created, rng.choice((UTC, MOSCOW))),
            "source_quantity": rows,
            "line_quantity": valid,
            "comment": rng.choice(COMMENTS),
            "client_id_type": rng.choice(("USER_ID", "CLIENT_ID", "YCLID")),
            "status": STAGES[0],
            "static_calls_quantity": static,
            "dynamic_calls_quantity": valid - static,
            "type": "CALLS",
            "linked_quantity": linked,
            "user_not_found_quantity": valid - static - linked,
            "goal_not_found_quantity": 0,
        }
        if given:
            fields.update(given)
        else:
            for name in rng.sample(MAY_BE_ABSENT, k=rng.choice((0, 0, 0, 2))):
                del fields[name]
        steps = sorted(rng.uniform(1, 115) for _ in range(4))
        last = "PROCESSED" if linked else "LINKAGE_FAILURE"
        if stuck:
            last = STAGES[-1]
        begins = [created + timedelta(minutes=step) for step in (0, *steps)]
        return Upload(fields, list(zip(begins, (*STAGES, last), strict=True)))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _written(instant: datetime, zone: timezone) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
