"""The state: what is remembered of each counter, in the SDK's shape of partitions."""

from __future__ import annotations

import typing as t

import msgspec

from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterable, KeysView

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

    def __post_init__(self) -> None:
        """Check the times, which may come from anywhere."""
        full = self.full_read
        times = [self.replication_key_value, self.start_date]
        times += [full.at, full.bookmark] if full else []
        if any(time is not None and parse_time(time) is None for time in times):
            msg = "invalid time"
            raise ValueError(msg)


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
        """Take over a state.

        Raises:
            ValueError: If a counter is there twice.
        """
        self.resume_from = state.resume_from
        self._by_counter: dict[int, Partition] = {}
        for partition in state.partitions:
            counter_id = partition.context.counter_id
            if counter_id in self._by_counter:
                msg = f"counter {counter_id} is there twice"
                raise ValueError(msg)
            self._by_counter[counter_id] = partition

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


def load_states(
    state: State, streams: Iterable[str]
) -> tuple[dict[str, CounterStates], list[str]]:
    """Return what is remembered, by stream, and a line for each thing that is wrong.

    Args:
        state: A state as it was given to the tap.
        streams: The names of the streams with partitions.
    """
    states = {name: CounterStates(StreamState()) for name in streams}
    bookmarks = state.get("bookmarks", {} if not state else None)
    if not isinstance(bookmarks, dict):
        return states, ["The state has no object 'bookmarks'"]
    errors = []
    for name, content in bookmarks.items():
        if not isinstance(content, dict):
            errors.append(f"The state of stream {name!a} is not an object")
        elif name in states and "replication_key_value" in content:
            problem = "has a bookmark that belongs to no counter"
            errors.append(f"The state of stream '{name}' {problem}")
        elif name in states:
            try:
                states[name] = CounterStates(msgspec.convert(content, StreamState))
            except ValueError as error:
                errors.append(f"The state of stream '{name}' is damaged: {error}")
    return states, errors
