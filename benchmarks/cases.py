"""The rows of the table: what is there to read, and how it is read."""

from __future__ import annotations

import json
import time
import typing as t
from dataclasses import dataclass
from datetime import timedelta

import requests

from benchmarks.measure import OURS, PLAIN, Measured
from sandbox import TOKEN, Quotas, Sandbox

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measure import Runner

CALLS = "calls_uploadings"
STREAMS = (CALLS, "chats_uploadings", "conversions_uploadings")
LAST_DAYS = 10
SETTLED = 2_000
QUOTA = 12  # requests a day


def first_sync(run: Runner) -> Measured:
    """Sync without a state."""
    return run.sync()


def quiet_sync(run: Runner) -> Measured:
    """Sync again, when nothing has changed since."""
    run.sync()
    return run.sync(state=run.state())


def sum_of_streams(run: Runner) -> Measured:
    """Sync one stream after the other, each in a process of its own."""
    runs = [run.sync(streams=(stream,)) for stream in STREAMS]
    return Measured(sum(r.seconds for r in runs), sum(r.cpu for r in runs))


def all_streams(run: Runner) -> Measured:
    """Sync all streams at once."""
    return run.sync(streams=STREAMS)


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: The work.
        options: Of the mock API.
        prepare: Changes the mock API; returns more settings of the taps.
        ours: What is measured of this tap.
        other: What is measured beside it, if anything is.
        tap: The tap that does so.
    """

    name: str
    options: dict[str, t.Any]
    prepare: Callable[[Sandbox], dict[str, t.Any]]
    ours: Callable[[Runner], Measured] = first_sync
    other: Callable[[Runner], Measured] | None = None
    tap: tuple[str, ...] = PLAIN


def fast(api: Sandbox) -> dict[str, t.Any]:
    """Measure nothing but the tap."""
    api.quotas = None
    return {}


def shuffled(api: Sandbox) -> dict[str, t.Any]:
    """Have lists in no order at all."""
    api.order = "shuffled"
    return fast(api)


def slow_pages(api: Sandbox) -> dict[str, t.Any]:
    """Take 200 ms for each page."""
    api.latency = 0.2
    return fast(api)


def ids(api: Sandbox) -> dict[str, t.Any]:
    """Ask for every upload by its ID."""
    api.quotas = None
    (counter_id,) = api.counters
    page = json.loads(_page(api, counter_id))["uploadings"]
    wanted = [upload["id"] for upload in page]
    return {"counters": [{"counter_id": counter_id, "uploading_ids": wanted}]}


def slow_ids(api: Sandbox) -> dict[str, t.Any]:
    """Do so within the quotas."""
    settings = ids(api)
    api.latency, api.quotas = 0.05, Quotas()
    return settings


def by_id(api: Sandbox) -> dict[str, t.Any]:
    """Do so with a request for each."""
    return {**slow_ids(api), "lookup": "by_id"}


def stuck(api: Sandbox) -> dict[str, t.Any]:
    """Have one upload in flight for ten days, and later ones that are not."""
    (counter_id,) = api.counters
    oldest = api.epoch - timedelta(days=LAST_DAYS)
    for index in range(SETTLED + 1):
        created = oldest + index * timedelta(days=LAST_DAYS) / (SETTLED + 1)
        status = "PROCESSED" if index else "MATCHED"
        text = created.isoformat()
        api.add_upload(counter_id, create_time=text, status=status, type="CALLS")
    return fast(api)


def undocumented(api: Sandbox) -> dict[str, t.Any]:
    """Have a field in each upload that the documentation lacks."""
    settings = fast(api)
    new = b'"new_field":1,"type":'
    page = _page(api, next(iter(api.counters))).replace(b'"type":', new)
    last = {"uploadings": json.loads(page)["uploadings"][-1:]}
    api.answer(r"uploadings\?.*offset=0\b", page)
    api.answer(r"uploadings\?.*offset=9999\b", json.dumps(last).encode())
    return settings


def few_requests(api: Sandbox) -> dict[str, t.Any]:
    """Have few requests a day."""
    api.quotas = Quotas(per_day=QUOTA)
    return {}


def three_days(run: Runner) -> Measured:
    """Sync once a day, with more counters than requests; count different rows."""
    assert run.api  # noqa: S101
    runs: list[Measured] = []
    state = None
    seen: set[tuple[int, int]] = set()
    for _ in range(3):
        runs.append(run.sync(state=state, may_fail=True))
        state = run.state()
        records = [json.loads(line) for line in run.out.read_bytes().splitlines()]
        rows = [each["record"] for each in records if each["type"] == "RECORD"]
        seen |= {(row["counter_id"], row["id"]) for row in rows}
        run.api.advance(86_400)
    return Measured(
        sum(each.seconds for each in runs),
        sum(each.cpu for each in runs),
        len(seen),
        sum(each.requests for each in runs),
        sum(each.throttled for each in runs),
        max(each.megabytes for each in runs),
    )


def one_state(run: Runner) -> Measured:
    """Encode one STATE with all counters, as it is after a sync."""
    from tap_metrika_calls.sync.state import load_states  # noqa: PLC0415

    run.sync()
    states, _ = load_states(run.state(), [CALLS])
    return _encoding(states[CALLS].content)


def shortest_state(run: Runner) -> Measured:
    """Encode one STATE with the bookmarks of all counters alone."""
    run.sync()
    stream = run.state()["bookmarks"][CALLS]
    names = ("context", "replication_key", "replication_key_value")
    short = [{name: each[name] for name in names} for each in stream["partitions"]]
    return _encoding(lambda: {"partitions": short})


def _encoding(content: Callable[[], object]) -> Measured:
    from singer_sdk.contrib.msgspec import encoder  # noqa: PLC0415

    took = []
    for _ in range(20):
        began = time.thread_time()
        encoder.encode({"type": "STATE", "value": {"bookmarks": {CALLS: content()}}})
        took.append(time.thread_time() - began)
    return Measured(min(took), min(took))


def _page(api: Sandbox, counter_id: int) -> bytes:
    path = f"/management/v1/counter/{counter_id}/offline_conversions/{CALLS}"
    headers = {"Authorization": f"OAuth {TOKEN}"}
    return requests.get(api.url + path, headers=headers, timeout=60).content


def size(counters: int, uploads: int, **others: int) -> dict[str, t.Any]:
    """Return options of a mock API of this size."""
    return {"counters": counters, "uploads": uploads, **others}


MILLION = size(1, 1_000_000)
CASES = (
    Case("1,000 IDs, quotas kept, 50 ms", size(1, 1_000), slow_ids, other=first_sync),
    Case("the same, lookup: by_id", size(1, 1_000), by_id),
    Case("10,000 IDs", size(1, 10_000), ids, other=first_sync),
    Case("20 counters of 10,000", size(20, 10_000), fast, other=first_sync),
    Case("the same, undocumented field", size(20, 10_000), undocumented,
         other=first_sync),
    Case("1,000 counters of 10", size(1_000, 10), fast, other=first_sync),
    Case("1,000 counters of 1", size(1_000, 1), fast),
    Case("5,000 counters of 1", size(5_000, 1), fast),
    Case("100,000 uploads", size(1, 100_000), fast),
    Case("1,000,000 uploads", MILLION, fast),
    Case("300,000 uploads, 200 ms a page", size(1, 300_000), slow_pages,
         other=first_sync),
    Case("quiet sync of 1,000,000, newest first", MILLION, fast, quiet_sync,
         quiet_sync),
    Case("the same, in no order", MILLION, shuffled, quiet_sync, quiet_sync),
    Case("quiet sync, one stuck, 2,000 after it", size(1, 0), stuck, quiet_sync),
    Case("30 counters, 12 requests a day, 3 days", size(30, 1), few_requests,
         three_days),
    Case("1,000 counters of 10, 3 streams; beside: one by one",
         size(1_000, 10, conversions=10, chats=10), fast, all_streams,
         sum_of_streams, OURS),
    Case("STATE of 5,000 counters; beside: bookmarks alone", size(5_000, 1), fast,
         one_state, shortest_state, OURS),
)  # fmt: skip
