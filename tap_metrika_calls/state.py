"""The state of the tap: one bookmark for each whole counter."""

from __future__ import annotations

import time
import typing as t

from tap_metrika_calls.settings import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_metrika_calls.bookmark import Bookmark

STREAM = "calls_uploadings"
SECONDS_BETWEEN_STATES = 1.0
STATES_PER_SYNC = 100


class CounterStates:
    """The partitions of a stream's state, found without searching through them."""

    def __init__(self, stream_state: dict[str, t.Any]) -> None:
        self._stream_state = stream_state
        self._by_counter: dict[int, dict[str, t.Any]] = {
            partition["context"]["counter_id"]: partition
            for partition in stream_state.get("partitions", ())
        }
        self._finished = 0
        self._written_at = time.monotonic()

    def of(self, counter_id: int) -> dict[str, t.Any]:
        """What the last sync left of a counter; empty for a new one."""
        return self._by_counter.get(counter_id, {})

    def finish(self, counter_id: int, bookmark: Bookmark) -> None:
        """Keep a counter's bookmark, now that all its uploads are emitted."""
        self._finished += 1
        value = bookmark.state()
        if not value:
            return
        partition = {"context": {"counter_id": counter_id}, **value}
        known = self._by_counter.get(counter_id)
        if known is None:
            self._by_counter[counter_id] = partition
            self._stream_state.setdefault("partitions", []).append(partition)
        else:
            known.clear()
            known.update(partition)

    def is_due(self) -> bool:
        """Whether to write the state after a finished counter.

        Each state holds every counter, so with thousands of them writing it after
        each would cost the square of their number.
        """
        now = time.monotonic()
        enough = self._finished * STATES_PER_SYNC >= len(self._by_counter)
        if not enough and now - self._written_at < SECONDS_BETWEEN_STATES:
            return False
        self._finished = 0
        self._written_at = now
        return True


def errors_of(state: object) -> Iterator[str]:
    """Check a state that was given to the tap.

    Yields:
        A line for each thing that would otherwise be passed over in silence.
    """
    if state == {}:
        return
    if not isinstance(state, dict) or not isinstance(state.get("bookmarks"), dict):
        yield "The state has no object 'bookmarks'"
        return
    for name, stream_state in state["bookmarks"].items():
        if not isinstance(stream_state, dict):
            yield f"The state of the stream {name!a} is no object"
        elif name == STREAM:
            for line in _errors_of_stream(stream_state):
                yield f"The state of {STREAM} {line}"
        elif not _is_readable(stream_state):
            yield f"The state of the stream {name!a} is damaged"


def _errors_of_stream(stream_state: dict[str, t.Any]) -> Iterator[str]:
    if not _has_markers(stream_state):
        yield "has progress_markers that are no object"
    if "replication_key_value" in stream_state:
        yield "has a bookmark that belongs to no counter"
    partitions = stream_state.get("partitions", [])
    if not isinstance(partitions, list):
        yield "has partitions that are no list"
        return
    seen: set[int] = set()
    for index, partition in enumerate(partitions):
        for line in _errors_of_partition(partition, seen):
            yield f"is damaged at partitions[{index}]: {line}"


def _errors_of_partition(partition: object, seen: set[int]) -> Iterator[str]:
    context = partition.get("context") if isinstance(partition, dict) else None
    if not isinstance(partition, dict) or not isinstance(context, dict):
        yield "no object with a context"
        return
    counter_id = context.get("counter_id")
    if type(counter_id) is not int or len(context) != 1:
        yield "the context is not a counter_id alone"
    elif counter_id in seen:
        yield f"counter {counter_id} is there twice"
    else:
        seen.add(counter_id)
    for key in ("replication_key_value", "start_date"):
        if partition.get(key) is not None and parse_time(partition[key]) is None:
            yield f"{key} is no date-time"
    if partition.get("replication_key", "create_time") != "create_time":
        yield "replication_key is not create_time"
    if not _has_markers(partition):
        yield "progress_markers are no object"


def _is_readable(stream_state: dict[str, t.Any]) -> bool:
    """Whether the SDK can go through the state of a stream without bookmarks."""
    partitions = stream_state.get("partitions", [])
    return isinstance(partitions, list) and all(
        isinstance(one, dict) and _has_markers(one)
        for one in (stream_state, *partitions)
    )


def _has_markers(state: dict[str, t.Any]) -> bool:
    return isinstance(state.get("progress_markers", {}), dict)
