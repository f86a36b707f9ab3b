"""Moving `start_date` on and back loses nothing."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_a_start_date_filters_whole_counters_only(api: Sandbox) -> None:
    api.add_counter(7)
    old = api.add_upload(7, create_time="2025-01-01T00:00:00Z")["id"]
    new = api.add_upload(7, create_time="2026-01-01T00:00:00+03:00")["id"]
    config = config_for(api, counter_id=7, start_date="2025-12-31T21:00:00Z")
    assert sync(config).ids == [new]
    assert set(sync(config | {"uploading_ids": [old, new]}).ids) == {old, new}


@pytest.mark.parametrize("minutes", [-20, 20])
def test_one_that_is_moved_on_and_back_again_hides_nothing(
    api: Sandbox, minutes: int
) -> None:
    """Also where it lies in the hour that is emitted again."""
    api.add_counter(7)
    api.add_upload(7, id=1, create_time=NOON.isoformat())
    config = config_for(api, counter_id=7)
    start_date = (NOON + timedelta(minutes=minutes)).isoformat()
    state = sync(config).state
    late = (NOON + timedelta(minutes=minutes - 20)).isoformat()
    api.add_upload(7, id=2, create_time=late)
    state = sync(config | {"start_date": start_date}, state).state
    api.add_upload(7, id=3, create_time=(NOON + timedelta(hours=3)).isoformat())
    state = sync(config | {"start_date": start_date}, state).state
    assert set(sync(config, state).ids) == {1, 2, 3}
