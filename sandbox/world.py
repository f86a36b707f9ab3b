"""Counters and uploads that live as the documentation tells."""

from __future__ import annotations

import random
import time
import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import msgspec

Fields: t.TypeAlias = dict[str, t.Any]

FIRST_COUNTER = 10_000_001
BULK = 1_000  # counters with more uploads are computed, not kept
MOSCOW = timezone(timedelta(hours=3))
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
        if self.bulk:
            index = upload_id - bulk_id(self.id, 0)
            return bulk_upload(self.id, index) if 0 <= index < self.bulk else None
        for upload in self.uploads:
            if upload.fields.get("id") == upload_id:
                return upload.at(now)
        return None


class World:
    """All counters, and the time.

    Everything follows from the seed and the epoch: two worlds with the same show the
    same uploads in the same status at the same time.
    """

    def __init__(
        self, *, seed: int, counters: int, uploads: int, epoch: datetime, speed: float
    ) -> None:
        self.epoch = epoch
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
        next_id = self._random.choice((100_000, 2**53)) + counter_id % 1000 * 10_000
        for index in range(uploads):
            next_id += self._random.randint(1, 9)
            age = timedelta(minutes=40 * (uploads - index) - 30)
            counter.uploads.append(self._live(next_id, self.epoch - age, index))
        return counter

    def add_upload(self, counter_id: int, fields: Fields) -> Fields:
        """Add an upload that is answered exactly as given."""
        self.counters[counter_id].uploads.append(Upload(fields))
        return fields

    def receive(self, counter_id: int, fields: Fields) -> Fields:
        """Add an upload that begins to live now."""
        uploads = self.counters[counter_id].uploads
        known = [u.fields["id"] for u in uploads if isinstance(u.fields.get("id"), int)]
        upload = self._live(max(known, default=0) + 1, self.now(), len(uploads))
        upload.fields.update(fields)
        uploads.append(upload)
        return upload.at(self.now())

    def _live(self, upload_id: int, created: datetime, index: int) -> Upload:
        rng = self._random
        rows = rng.randint(1, 500)
        valid = rng.randint(rows // 2, rows)
        static = rng.randint(0, valid // 3)
        linked = rng.randint(0, valid - static)
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
        for name in rng.sample(sorted(fields)[7:], k=rng.choice((0, 0, 0, 2))):
            if name not in {"id", "create_time", "status"}:
                del fields[name]
        steps = sorted(rng.uniform(1, 115) for _ in range(4))
        last = "PROCESSED" if linked else "LINKAGE_FAILURE"
        if index % 20 == 7:  # noqa: PLR2004
            last = STAGES[-1]  # one that got stuck
        begins = [created + timedelta(minutes=step) for step in (0, *steps)]
        return Upload(fields, list(zip(begins, (*STAGES, last), strict=True)))


def bulk_id(counter_id: int, index: int) -> int:
    """The ID of a computed upload."""
    return counter_id * 10_000_000 + index


def bulk_upload(counter_id: int, index: int) -> Fields:
    """A computed upload: finished long ago."""
    created = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=index)
    return {
        "id": bulk_id(counter_id, index),
        "create_time": _written(created, UTC),
        "source_quantity": 10,
        "line_quantity": 9,
        "comment": "звонки за неделю",
        "client_id_type": "CLIENT_ID",
        "status": "PROCESSED",
        "static_calls_quantity": 1,
        "dynamic_calls_quantity": 8,
        "type": "CALLS",
        "linked_quantity": 6,
        "user_not_found_quantity": 2,
        "goal_not_found_quantity": 0,
    }


def bulk_page(counter: Counter, offset: int, limit: int) -> bytes:
    """A page of computed uploads, encoded."""
    count = max(0, min(limit, counter.bulk - offset))
    page = [bulk_upload(counter.id, i) for i in range(offset, offset + count)]
    return msgspec.json.encode({"uploadings": page})


def _written(instant: datetime, zone: timezone) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
