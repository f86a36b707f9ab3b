"""What is extracted: uploads of calls, conversions and chats, and the counters."""

from __future__ import annotations

import typing as t

from typing_extensions import override

from tap_metrika_calls.api.endpoints import CALLS, CHATS, CONVERSIONS, UploadKind
from tap_metrika_calls.api.prefetch import prefetch
from tap_metrika_calls.base_stream import MetrikaStream
from tap_metrika_calls.sync.bookmark import STATUSES
from tap_metrika_calls.sync.selection import CounterSelection

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_sdk.helpers.types import Record
    from singer_sdk.tap_base import Tap

    from tap_metrika_calls.run import Run
    from tap_metrika_calls.sync.reader import CounterReader

UNKNOWN_STATUS = "Undocumented statuses count as in flight: {}"
OTHER_TYPE = "Uploads of another type than requested were kept: {}"
NO_IDS = (
    "Counter %d: uploading_ids is empty: no upload of calls is read. Leave it out to "
    "read every one."
)


class UploadsStream(MetrikaStream):
    """Uploads of one kind: configured ones, and what changed of whole counters."""

    primary_keys = ("counter_id", "id")
    replication_key = "create_time"
    constants = ("counter_id",)
    selected_by_default = False
    # The state has a partition per counter, but the SDK is not to loop over them: it
    # would search through the state of all of them for each record.
    partitions = None

    kind: UploadKind

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap, run)
        self.postponed: list[CounterSelection] | None = None

    def select_counters(self) -> list[CounterSelection]:
        """Return the counters to read, each whole.

        Raises:
            FatalError: If the list of counters is needed and cannot be read.
        """
        return [CounterSelection(each.counter_id) for each in self.run.selected]

    @override
    def read(self) -> Iterator[Record]:
        for counter in self._counters():
            with self.run.failures.kept_apart(self.name, counter):
                yield from self._records(counter)
                self._commit(counter)

    def check(self, tell: Callable[[str], object]) -> None:
        """Tell of each counter that its uploads can be read."""
        for counter in self._counters():
            with self.run.failures.kept_apart(self.name, counter):
                if next(iter(counter), None) is not None:
                    counter_id = counter.selection.counter_id
                    tell(f"Counter {counter_id}: {self.name} can be read.")

    def _counters(self) -> Iterator[CounterReader]:
        # Discovery needs no API, and starts faster without its libraries.
        from tap_metrika_calls.sync import reader  # noqa: PLC0415

        client, states = self.run.client, self.run.states[self.name]
        options = reader.ReadOptions(
            client,
            self.decoder,
            self.kind,
            self.config,
            self.replication_method == "INCREMENTAL",
        )

        def start(each: CounterSelection) -> CounterReader:
            return reader.CounterReader(options, each, states.get(each.counter_id))

        return prefetch(self._in_turn(), start, client.parallel)

    def _in_turn(self) -> list[CounterSelection]:
        """Return the counters, beginning with the first that the last sync did not try.

        Those before it come in a second pass, after all other streams.
        """
        if self.postponed is not None:
            return self.postponed
        selected = self.select_counters()
        ids = [each.counter_id for each in selected]
        resume_from = self.run.states[self.name].resume_from
        first = ids.index(resume_from) if resume_from in ids else 0
        self.postponed = selected[:first]
        return selected[first:]

    def _records(self, counter: CounterReader) -> Iterator[Record]:
        decoder, warnings = self.decoder, self.run.failures.warnings
        constants = {"counter_id": counter.selection.counter_id}
        expected = (self.kind.type, None)
        for page in counter:
            for row in page:
                if row.status not in STATUSES and row.status is not None:
                    warnings.add(UNKNOWN_STATUS, row.status)
                if row.type not in expected:
                    warnings.add(OTHER_TYPE, row.type)
                yield decoder.record(row, constants)
            del page  # before the next one is decoded

    def _commit(self, counter: CounterReader) -> None:
        """Move the bookmark of a whole counter, and let the target know."""
        self.run.count(counter)
        if counter.bookmark is None or self.replication_method != "INCREMENTAL":
            return
        partition = counter.bookmark.partition(is_complete=not counter.stopped_early)
        self.run.states[self.name].commit(partition)
        where = f"{counter.selection.counter_id}{self.run.failures.where(self.name)}"
        for line in counter.bookmark.lines:
            self.logger.warning("Counter %s: %s", where, line)
        # A batch is announced only when it is full, and the state must not precede it.
        self.run.state_writer.is_changed |= not self.is_batched
        self.run.state_writer.write_state()


class CallsUploadingsStream(UploadsStream):
    """Uploads of calls, also by their IDs."""

    name = "calls_uploadings"
    kind = CALLS
    selected_by_default = True

    @override
    def select_counters(self) -> list[CounterSelection]:
        for each in self.run.selected:
            if not (each.is_whole or each.uploading_ids):
                self.logger.warning(NO_IDS, each.counter_id)
        return [
            each for each in self.run.selected if each.is_whole or each.uploading_ids
        ]


class ConversionsUploadingsStream(UploadsStream):
    """Uploads of conversions."""

    name = "conversions_uploadings"
    kind = CONVERSIONS


class ChatsUploadingsStream(UploadsStream):
    """Uploads of chats."""

    name = "chats_uploadings"
    kind = CHATS


class CountersStream(MetrikaStream):
    """The counters that the token has access to, whose names make a report readable."""

    name = "counters"
    primary_keys = ("id",)
    selected_by_default = False
    reports_others = False  # the API documents far more fields of a counter

    @override
    def read(self) -> Iterator[Record]:
        for raw in self.run.counters.values():
            yield self.decoder.record(self.decoder.decode(raw), {})
        self.run.failures.has_read = True


STREAMS: tuple[type[MetrikaStream], ...] = (
    CallsUploadingsStream,
    ChatsUploadingsStream,
    ConversionsUploadingsStream,
    CountersStream,
)
