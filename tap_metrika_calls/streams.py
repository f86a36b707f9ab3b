"""What is extracted: uploads of calls, conversions and chats, and the counters."""

from __future__ import annotations

import typing as t

from typing_extensions import override

from tap_metrika_calls.api.endpoints import CALLS, CHATS, CONVERSIONS
from tap_metrika_calls.base_stream import MetrikaStream
from tap_metrika_calls.sync.bookmark import STATUSES
from tap_metrika_calls.sync.selection import CounterSelection
from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record
    from singer_sdk.tap_base import Tap

    from tap_metrika_calls.api.endpoints import UploadKind
    from tap_metrika_calls.run import Run
    from tap_metrika_calls.sync.reader import CounterReader

UNKNOWN_STATUS = "Undocumented statuses count as in flight: {}"
OTHER_TYPE = "Uploads of another type than requested were kept: {}"
NO_IDS = (
    "Counter %d: uploading_ids is empty: nothing is read of it. Leave it out to read "
    "every upload."
)


class UploadsStream(MetrikaStream):
    """Uploads of one kind: configured ones, and what changed of whole counters."""

    primary_keys = ("counter_id", "id")
    replication_key = "create_time"
    constants = ("counter_id",)
    selected_by_default = False

    kind: UploadKind
    partitions = None
    """The state has a partition per counter, but the SDK is not to loop over them: it
    would search through the state of all of them for each record."""

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
        # Discovery needs no API, and starts faster without its libraries.
        from tap_metrika_calls.api.prefetch import prefetch  # noqa: PLC0415
        from tap_metrika_calls.sync.reader import (  # noqa: PLC0415
            CounterReader,
            ReadOptions,
        )

        client, states = self.run.client, self.run.states[self.name]
        options = ReadOptions(
            client,
            self.decoder,
            self.kind,
            self.config["lookup"],
            parse_time(self.config.get("start_date")),
            self.config["in_flight_days"],
            self.replication_method == "INCREMENTAL",
        )

        def start(each: CounterSelection) -> CounterReader:
            return CounterReader(options, each, states.get(each.counter_id))

        for reader in prefetch(self._in_turn(), start, client.parallel):
            counter_id = reader.selection.counter_id
            try:
                with self.run.failures.kept_apart(self.name, counter_id):
                    yield from self._records(reader)
                    self._commit(reader)
            finally:
                reader.cancel()
                unknown, lost = reader.unknown_ids, reader.lost_ids
                self.run.failures.add_uploads(counter_id, unknown, lost)

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

    def _records(self, reader: CounterReader) -> Iterator[Record]:
        decoder, warnings = self.decoder, self.run.failures.warnings
        counter_id: int | str = reader.selection.counter_id
        if decoder.types["counter_id"] == "text":
            counter_id = str(counter_id)
        constants = {"counter_id": counter_id}
        expected = (self.kind.type, None)
        for page in reader:
            for row in page:
                if row.status not in STATUSES and row.status is not None:
                    warnings.add(UNKNOWN_STATUS, row.status)
                if row.type not in expected:
                    warnings.add(OTHER_TYPE, row.type)
                yield decoder.record(row, constants)
            del page  # before the next one is decoded

    def _commit(self, reader: CounterReader) -> None:
        """Move the bookmark of a whole counter, and let the target know."""
        self.run.count(reader)
        if reader.bookmark is None or self.replication_method != "INCREMENTAL":
            return
        self.run.states[self.name].commit(reader.partition())
        for line in reader.bookmark.lines():
            self.logger.warning("Counter %d: %s", reader.selection.counter_id, line)
        # A batch is announced only when it is full, and the state must not precede it.
        self.run.state_writer.is_changed |= not self.is_batched
        self.run.state_writer.write_if_due()


class CallsUploadingsStream(UploadsStream):
    """Uploads of calls, also by their IDs."""

    name = "calls_uploadings"
    kind = CALLS
    selected_by_default = True

    @override
    def select_counters(self) -> list[CounterSelection]:
        selected = []
        for each in self.run.selected:
            if each.is_whole or each.uploading_ids:
                selected.append(each)
            else:
                self.logger.warning(NO_IDS, each.counter_id)
        return selected


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
        self.run.failures.add_success()


STREAMS: tuple[type[MetrikaStream], ...] = (
    CallsUploadingsStream,
    ChatsUploadingsStream,
    ConversionsUploadingsStream,
    CountersStream,
)
