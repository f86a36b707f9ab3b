"""Random lives of uploads, syncs, crashes and changes of the configuration."""

from __future__ import annotations

import json
import random
import re
import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import requests_mock

from tap_metrika_calls.tap import TapMetrikaCalls
from tests.support import JSON, catalog_of, sync

if t.TYPE_CHECKING:
    import pytest

Key: t.TypeAlias = tuple[int, int]

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = [UTC, *(timezone(timedelta(hours=h)) for h in (3, -5.5))]
STAGES = ("PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "SOMETHING_NEW", None)
FINAL = ("PROCESSED", "LINKAGE_FAILURE")
COUNTERS = (1, 2, 3)
UNSETTLED = timedelta(days=21)
SYNCS = 20
PAGE = 3


class StaleError(AssertionError):
    """The table, or a state, is not what the API says."""


@dataclass
class Upload:
    """One upload: what it is when."""

    id: int
    created: datetime
    finished: datetime
    last: str
    zone: timezone
    is_dated: bool

    def at(self, now: datetime) -> JSON:
        """What the API answers."""
        status: str | None = self.last
        if now < self.finished:
            done = (now - self.created) / (self.finished - self.created)
            status = STAGES[min(int(done * len(STAGES)), len(STAGES) - 1)]
        answer: JSON = {"id": self.id, "source_quantity": self.id}
        if status is not None:
            answer["status"] = status
        if self.is_dated:
            answer["create_time"] = self.created.astimezone(self.zone).isoformat()
        return answer

    def is_given_up(self, now: datetime) -> bool:
        """Whether nobody waits for it any more."""
        return self.finished > min(now, self.created + UNSETTLED)


@dataclass
class Life:
    """One random life, from one seed.

    Attributes:
        table: What the target holds.
        state: The last state that reached it.
        counts: Syncs and crashes, for the report.
    """

    seed: int
    monkeypatch: pytest.MonkeyPatch
    now: datetime = BEGAN
    uploads: dict[int, list[Upload]] = field(default_factory=dict)
    table: dict[Key, JSON] = field(default_factory=dict)
    state: JSON = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"syncs": 0, "crashes": 0})

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311
        self.uploads = {counter: [] for counter in COUNTERS}
        self.order = self.random.choice((1, -1))
        self.start_dates: list[datetime | None] = [None]
        if self.random.random() < 0.5:
            days = (self.random.uniform(-1, 20) for _ in range(3))
            self.start_dates += [BEGAN + timedelta(days=day) for day in days]
        self.start_date: datetime | None = self.random.choice(self.start_dates)

    def live(self) -> None:
        """Syncs at random times; then all is settled, and a last one."""
        patch = self.monkeypatch
        patch.setattr("tap_metrika_calls.client.UPLOADINGS_LIMIT", PAGE)
        patch.setattr("tap_metrika_calls.lookup.UPLOADINGS_LIMIT", PAGE)
        for _ in range(SYNCS):
            self._pass(self.random.expovariate(1) * 20)
            if self.random.random() < 0.15:
                self.start_date = self.random.choice(self.start_dates)
            self._sync(self._configuration(), crash=self.random.random() < 0.3)
        every = [upload for uploads in self.uploads.values() for upload in uploads]
        if self.random.random() < 0.5:
            latest = [u.finished for u in every if u.finished - u.created < UNSETTLED]
            self.now = max([self.now, *latest]) + timedelta(seconds=1)
        else:
            self._pass(30)
            self.now += timedelta(days=2)
        whole = [{"counter_id": counter} for counter in COUNTERS]
        began = self.now
        self._sync({"counters": whole}, crash=False)
        self._check_table(began)

    def _pass(self, hours: float) -> None:
        """Let time pass, and uploads be created."""
        end = self.now + timedelta(hours=hours)
        while self.now < end:
            self.now += timedelta(hours=self.random.expovariate(1) * 8)
            for _ in range(self.random.choice((1, 1, 2))):
                self._create()

    def _create(self) -> None:
        rng = self.random
        takes = rng.choice((0, rng.uniform(0, 2), rng.uniform(2, 300)))
        if rng.random() < 0.03:
            takes = 24 * rng.uniform(15, 40)
        self.uploads[rng.choice(COUNTERS)].append(
            Upload(
                id=rng.randint(1, 10**12),
                created=self.now.replace(microsecond=rng.choice((0, 0, 250_000))),
                finished=self.now + timedelta(hours=takes),
                last=rng.choice(FINAL),
                zone=rng.choice(ZONES),
                is_dated=rng.random() > 0.03,
            )
        )

    def _configuration(self) -> JSON:
        rng = self.random
        counters: list[JSON] = []
        for counter in rng.sample(COUNTERS, rng.choice((1, 2, 3, 3))):
            known = [upload.id for upload in self.uploads[counter]]
            ids = rng.sample(known, min(len(known), rng.randint(0, 14)))
            if rng.random() < 0.75:
                counters.append({"counter_id": counter})
            if rng.random() < 0.35:
                counters.append({"counter_id": counter, "uploading_ids": ids})
        return {"counters": counters} if counters else {}

    def _sync(self, config: JSON, *, crash: bool) -> None:
        config = {"oauth_token": "x", "on_missing": "skip", **config}
        if self.start_date is not None:
            config["start_date"] = self.start_date.isoformat()
        catalog = None
        if self.random.random() < 0.05:
            method = {"replication-method": "FULL_TABLE"}
            catalog = catalog_of("calls_uploadings", **method)
        began = self.now
        with requests_mock.Mocker() as mocker:
            mocker.get(re.compile("/counters"), json=self._counters)
            mocker.get(re.compile("/calls_uploadings"), json=self._list)
            mocker.get(re.compile("/calls_uploading/"), json=self._one)
            self.monkeypatch.setattr(
                TapMetrikaCalls, "started_at", property(lambda _: began)
            )
            run = sync(config, json.loads(json.dumps(self.state)), catalog)
        if run.code:
            raise StaleError(run.errors)
        self.counts["syncs"] += 1
        messages = run.messages
        keys = [self._key(m["record"]) for m in messages if m["type"] == "RECORD"]
        if len(keys) != len(set(keys)):
            msg = "an upload was emitted twice in one sync"
            raise StaleError(msg)
        if crash:
            self.counts["crashes"] += 1
            messages = messages[: self.random.randint(0, len(messages))]
        for message in messages:
            if message["type"] == "RECORD":
                self.table[self._key(message["record"])] = message["record"]
            elif message["type"] == "STATE":
                self.state = message["value"]
                self._check_state(began)

    def _counters(self, request: t.Any, _: object) -> JSON:
        first = request.qs["offset"] == ["1"]
        return {"counters": [{"id": c} for c in COUNTERS] if first else []}

    def _list(self, request: t.Any, _: object) -> JSON:
        if self.random.random() < 0.1:
            self._create()
        self.now += timedelta(seconds=1)
        counter = int(request.path.split("/")[4])
        offset = int(request.qs["offset"][0])
        page = self.uploads[counter][:: self.order][offset : offset + PAGE]
        return {"uploadings": [upload.at(self.now) for upload in page]}

    def _one(self, request: t.Any, context: t.Any) -> JSON:
        *_, counter, _, _, uploading_id = request.path.split("/")
        for upload in self.uploads[int(counter)]:
            if upload.id == int(uploading_id):
                return {"uploading": upload.at(self.now)}
        context.status_code = 404
        return {}

    def _key(self, record: JSON) -> Key:
        return record["counter_id"], record["id"]

    def _check_state(self, began: datetime) -> None:
        """What lies behind a bookmark has to be in the table, in its final status."""
        bookmarks = self.state["bookmarks"]["calls_uploadings"].get("partitions", ())
        for partition in bookmarks:
            counter = partition["context"]["counter_id"]
            value = datetime.fromisoformat(partition["replication_key_value"])
            floor = datetime.fromisoformat(
                partition.get("start_date", BEGAN.isoformat())
            )
            for upload in self.uploads[counter]:
                if upload.is_dated and floor <= upload.created < value:
                    record = self._record(counter, upload)
                    is_final = record.get("status") in FINAL
                    if not is_final and not upload.is_given_up(began):
                        msg = f"the bookmark {value} passed {upload}: {record}"
                        raise StaleError(msg)

    def _check_table(self, began: datetime) -> None:
        """After a sync of everything, the table is what the API said meanwhile."""
        for counter, uploads in self.uploads.items():
            for upload in uploads:
                wanted = self.start_date is None or upload.created >= self.start_date
                if upload.created < began and (wanted or not upload.is_dated):
                    record = self._record(counter, upload)
                    said = [upload.at(when).get("status") for when in (began, self.now)]
                    if record.get("status") in said or upload.is_given_up(began):
                        continue
                    msg = f"upload {upload} of counter {counter} is stale: {record}"
                    raise StaleError(msg)

    def _record(self, counter: int, upload: Upload) -> JSON:
        record = self.table.get((counter, upload.id))
        if record is None:
            msg = f"upload {upload} of counter {counter} is lost"
            raise StaleError(msg)
        return record
