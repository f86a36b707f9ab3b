"""A fifth of all requests fail, in every way, and nothing is lost."""

from __future__ import annotations

import os
import typing as t
from collections import Counter

import pytest

from tests.support import config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox
    from tests.support import RecordProperty

SEEDS = int(os.environ.get("FAULT_SEEDS", "1"))
FAST = {"requests_per_second": 100_000, "max_attempts": 30}

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture(params=range(SEEDS))
def faulty(api: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """An API without quotas, one in five of whose responses is a fault."""
    api.quotas = None
    api.seed_faults(request.param)
    api.fault_share = 0.2
    # How long a pause is that the API asks for is tested by itself.
    api.faults = tuple(fault for fault in api.faults if "retry" not in fault)
    return api


def statuses_of(api: Sandbox) -> dict[str, int]:
    """How many requests got which response; None for none."""
    return dict(Counter(str(request.status) for request in api.requests))


def test_ten_thousand_uploads_by_list(
    faulty: Sandbox, record_property: RecordProperty
) -> None:
    for number in range(1, 101):
        faulty.add_counter(number, uploads=100)
    config = config_for(faulty, **FAST)
    run = sync(config)
    assert run.code == 0
    keys = [(record["counter_id"], record["id"]) for record in run.records()]
    expected = {
        (counter.id, upload.fields["id"])
        for counter in faulty.counters.values()
        for upload in counter.uploads
    }
    assert len(keys) == len(expected) == 10_000
    assert set(keys) == expected
    assert len(run.bookmarks) == 100
    record_property("requests by status", statuses_of(faulty))


def test_hundreds_of_uploads_by_id(
    faulty: Sandbox, record_property: RecordProperty
) -> None:
    counter = faulty.add_counter(7, uploads=500)
    ids = [upload.fields["id"] for upload in counter.uploads]
    config = config_for(faulty, counter_id=7, uploading_ids=ids, lookup="by_id")
    run = sync({**config, **FAST})
    assert (run.code, run.ids) == (0, ids)
    assert len(faulty.requests) > 575
    record_property("requests by status", statuses_of(faulty))


def test_when_all_fails_the_tap_stops_within_its_attempts(faulty: Sandbox) -> None:
    faulty.fault_share = 1
    faulty.add_counter(7, uploads=3)
    run = sync(config_for(faulty, counter_id=7, max_attempts=5))
    assert (run.code, len(run.errors), len(faulty.requests)) == (1, 1, 5)
