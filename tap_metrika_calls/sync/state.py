"""The state: what is remembered of each counter, in the SDK's shape of partitions."""

from __future__ import annotations

import typing as t

import msgspec

from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, KeysView

State: t.TypeAlias = dict[str, t.Any]


class Context(msgspec.Struct, forbid_unknown_fields=True):
    """Which counter a partition is about."""

    counter_id: int


class FullRead(msgspec.Struct):
    """A long list that was read to its end, and came newest first.

    Attributes:
        at: When it was read.
        bookmark: The bookmark that it left.
    """

    at: str
    bookmark: str


class Partition(msgspec.Struct, omit_defaults=True):
    """What is remembered of one counter; times in ISO 8601.

    Attributes:
        context: The counter.
        replication_key: "create_time".
        replication_key_value: The bookmark.
        start_date: The setting that held when the counter was read from its start.
        in_flight: IDs of the uploads whose status was not final.
        full_read: The last full read, if the list may be left early since.
    """

    context: Context
    replication_key: t.Literal["create_time"] | None = None
    replication_key_value: str | None = None
    start_date: str | None = None
    in_flight: list[int] = msgspec.field(default_factory=list)
    full_read: FullRead | None = None


class StreamState(msgspec.Struct, omit_defaults=True):
    """What is remembered of one stream.

    Attributes:
        partitions: The counters.
        resume_from: The first counter that the last sync did not try.
    """

    partitions: list[Partition] = msgspec.field(default_factory=list)
    resume_from: int | None = None


class CounterStates:
    """The states of a stream's counters."""

    def __init__(self, state: StreamState) -> None:
        self.resume_from = state.resume_from
        self._by_counter = {p.context.counter_id: p for p in state.partitions}

    def get(self, counter_id: int) -> Partition:
        """Return what is remembered of a counter; nothing but its ID of a new one."""
        known = self._by_counter.get(counter_id)
        return known or Partition(Context(counter_id))

    def commit(self, partition: Partition) -> None:
        """Remember a counter, now that all its uploads are emitted."""
        if partition.replication_key_value is not None:
            self._by_counter[partition.context.counter_id] = partition

    def counter_ids(self) -> KeysView[int]:
        """Return the counters that anything is remembered of."""
        return self._by_counter.keys()

    def content(self) -> StreamState | None:
        """Return the part of a STATE message about this stream, if there is one."""
        if not self._by_counter and self.resume_from is None:
            return None
        return StreamState(list(self._by_counter.values()), self.resume_from)


def load_stream_state(state: State, stream: str) -> StreamState:
    """Return what a valid state says about a stream."""
    content = state.get("bookmarks", {}).get(stream, {})
    return msgspec.convert(content, StreamState)


def validate_state(state: State, streams: Iterable[str]) -> list[str]:
    """Return a line for each thing that is wrong in a state.

    Args:
        state: A state as it was given to the tap.
        streams: The names of the streams with partitions.
    """
    bookmarks = state.get("bookmarks", {} if not state else None)
    if not isinstance(bookmarks, dict):
        return ["The state has no object 'bookmarks'"]
    lines = []
    for name, content in bookmarks.items():
        if not isinstance(content, dict):
            lines.append(f"The state of stream {name!a} is not an object")
        elif name in streams:
            lines += [f"The state of stream '{name}' {e}" for e in _errors(content)]
    return lines


def _errors(content: State) -> Iterator[str]:
    if "replication_key_value" in content:
        yield "has a bookmark that belongs to no counter"
    try:
        partitions = msgspec.convert(content, StreamState).partitions
    except msgspec.ValidationError as error:
        yield f"is damaged: {error}"
        return
    seen: set[int] = set()
    for index, partition in enumerate(partitions):
        counter_id = partition.context.counter_id
        if counter_id in seen:
            yield f"is damaged: counter {counter_id} is there twice"
        seen.add(counter_id)
        times = [partition.replication_key_value, partition.start_date]
        if partition.full_read is not None:
            times += [partition.full_read.at, partition.full_read.bookmark]
        if any(time is not None and parse_time(time) is None for time in times):
            yield f"is damaged: invalid time - at `$.partitions[{index}]`"
