"""What fails a counter, what stops a sync, and where the next one begins."""

from __future__ import annotations

import logging
import typing as t
from dataclasses import dataclass, field

import pytest

from tap_metrika_calls.api import errors
from tap_metrika_calls.failures import Failures, SyncFailedError
from tap_metrika_calls.sync.selection import CounterSelection
from tap_metrika_calls.sync.state import CounterStates, StreamState

OUTAGE = errors.OutageError("Request failed after 8 attempts: HTTP 503")
CLOSED = errors.UnavailableError("inaccessible (HTTP 403)")
REJECTED = errors.RejectedError("the API rejected the request (HTTP 400)")
STOPPED = errors.FatalError("Daily API quota exceeded.")
CALLS, CHATS = "calls_uploadings", "chats_uploadings"


@dataclass
class Reader:
    """What failures need to know of a counter's reader."""

    selection: CounterSelection
    seen: int = 0
    unknown_ids: list[int] = field(default_factory=list)
    lost_ids: list[int] = field(default_factory=list)
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Sync:
    """A sync in which counters fail as a test says."""

    def __init__(self, *, skips: bool = False) -> None:
        self.stopped: list[errors.FatalError] = []
        self.failures = Failures(self.stopped.append, skips_unavailable=skips)
        self.states = {
            name: CounterStates(StreamState(resume_from=99)) for name in (CALLS, CHATS)
        }

    def read(
        self, counter_id: int, error: Exception | None = None, stream: str = CALLS
    ) -> None:
        reader = Reader(CounterSelection(counter_id))
        with self.failures.kept_apart(stream, t.cast("t.Any", reader)):
            if error is not None:
                raise error
        assert reader.is_cancelled

    def finish(self) -> list[str]:
        """Finish the sync, and return why it failed."""
        self.failures.finish(self.states, logging.getLogger("test"))
        try:
            self.failures.raise_if_failed()
        except SyncFailedError as error:
            return error.errors
        return []

    @property
    def resume_from(self) -> dict[str, int | None]:
        return {name: state.resume_from for name, state in self.states.items()}


def test_a_sync_without_failures_begins_at_the_start_next_time() -> None:
    sync = Sync()
    sync.read(1)
    assert (sync.finish(), sync.stopped) == ([], [])
    assert sync.resume_from == {CALLS: None, CHATS: 99}, "chats were not tried"


def test_counters_that_fail_for_one_reason_are_one_line() -> None:
    sync = Sync()
    for counter_id in (1, 2):
        sync.read(counter_id, CLOSED)
    sync.read(3, REJECTED)
    assert sync.finish() == [
        "Counters 1, 2: inaccessible (HTTP 403).",
        "Counter 3: the API rejected the request (HTTP 400).",
    ]


@pytest.mark.parametrize("between", [None, CLOSED, REJECTED])
def test_three_outages_in_a_row_stop_the_sync(between: Exception | None) -> None:
    sync = Sync()
    for counter_id in (1, 2):
        sync.read(counter_id, OUTAGE)
    sync.read(3, between)
    for counter_id in (4, 5):
        sync.read(counter_id, OUTAGE)
    assert sync.stopped == []
    sync.read(6, OUTAGE)
    assert [str(error) for error in sync.stopped] == [
        "Stopped: 3 counters in a row could not be read."
    ]


def test_the_next_sync_begins_with_the_first_counter_not_tried() -> None:
    sync = Sync()
    sync.read(1)
    for counter_id, stream in ((2, CALLS), (3, CALLS), (1, CHATS)):
        sync.read(counter_id, STOPPED, stream)
    assert sync.finish() == ["Daily API quota exceeded."]
    assert sync.resume_from == {CALLS: 2, CHATS: 99}


def test_a_sync_that_tried_nothing_leaves_where_to_begin() -> None:
    sync = Sync()
    sync.read(1, STOPPED)
    assert sync.finish() == ["Daily API quota exceeded."]
    assert sync.resume_from == {CALLS: 99, CHATS: 99}


def test_an_error_of_no_counter_leaves_where_to_begin() -> None:
    sync = Sync()
    sync.read(1)
    sync.failures.add(STOPPED)
    assert sync.stopped == [STOPPED]
    assert sync.finish() == ["Daily API quota exceeded."]
    assert sync.resume_from == {CALLS: 99, CHATS: 99}


@pytest.mark.parametrize("reads_another", [True, False])
def test_skipped_counters_fail_a_sync_that_read_nothing(*, reads_another: bool) -> None:
    sync = Sync(skips=True)
    sync.read(1, CLOSED)
    if reads_another:
        sync.read(2)
    expected = [] if reads_another else ["Nothing could be read: see the warnings."]
    assert sync.finish() == expected
    assert sync.failures.skipped.lines() == [
        "Counter 1: inaccessible (HTTP 403). Skipped, as on_unavailable says."
    ]


def test_a_counter_s_own_quota_is_never_skipped() -> None:
    sync = Sync(skips=True)
    sync.read(1, REJECTED)
    assert len(sync.finish()) == 1


@pytest.mark.parametrize("skips", [True, False])
def test_unknown_and_lost_uploads_are_named(
    caplog: pytest.LogCaptureFixture, *, skips: bool
) -> None:
    sync = Sync(skips=skips)
    sync.failures.names_streams = True
    selection = CounterSelection(7, is_whole=False, uploading_ids=(1, 2))
    reader = Reader(selection, seen=1, unknown_ids=[2], lost_ids=[5])
    with (
        caplog.at_level(logging.WARNING),
        sync.failures.kept_apart(CALLS, t.cast("t.Any", reader)),
    ):
        pass
    lines = sync.finish()
    logged = [record.getMessage() for record in caplog.records]
    lost = "Counter 7 of calls_uploadings: uploads in flight are no longer known: 5."
    assert lost in logged
    unknown = logged if skips else lines
    assert any("Counter 7: unknown upload IDs: 2." in line for line in unknown)
    assert bool(lines) is not skips
