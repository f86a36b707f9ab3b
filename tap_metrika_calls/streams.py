"""What is extracted: uploads of calls, conversions and chats, and the counters."""

from __future__ import annotations

import typing as t

from typing_extensions import override

from tap_metrika_calls.api.endpoints import CALLS, CHATS, CONVERSIONS
from tap_metrika_calls.api.errors import MetrikaError
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


class UploadsStream(MetrikaStream):
    """Uploads of one kind: configured ones, and what changed of whole counters."""

    keys = ("counter_id", "id")
    replication_key = "create_time"
    constants = ("counter_id",)
    selected_by_default = False

    kind: UploadKind

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap, run)
        self.postponed: list[CounterSelection] | None = None

    @property
    @override
    def partitions(self) -> None:
        """None: the state has a partition per counter, but the SDK is not to loop.

        It would search through the state of all of them for each record.
        """

    def select_counters(self) -> list[CounterSelection]:
        """Return the counters to read, each whole.

        Raises:
            FatalError: If the list of counters is needed and cannot be read.
        """
        selected = self.run.select(self.name)
        return [CounterSelection(each.counter_id) for each in selected]

    @override
    def read(self) -> Iterator[Record]:
        # Discovery needs no API, and starts faster without its libraries.
        from tap_metrika_calls.api.prefetch import prefetch  # noqa: PLC0415
        from tap_metrika_calls.sync.reader import (  # noqa: PLC0415
            CounterReader,
            ReadOptions,
        )

        states = self.run.states[self.name]
        options = ReadOptions(
            self.kind,
            self.config["lookup"],
            parse_time(self.config.get("start_date")),
            self.config["in_flight_days"],
            self.replication_method == "INCREMENTAL",
        )
        client = self.run.client
        for reader in prefetch(
            self._in_turn(),
            lambda each: CounterReader(
                client, self.decoder, options, each, states.get(each.counter_id)
            ),
            client.parallel,
        ):
            counter_id = reader.selection.counter_id
            try:
                yield from self._records(reader)
                self._commit(reader)
                self.run.failures.add_success()
            except MetrikaError as error:
                self.run.failures.add_counter(self.name, counter_id, error)
            finally:
                reader.cancel()
                self.run.failures.add_uploads(reader)

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
                    warnings.add(OTHER_TYPE, f"{row.type} (upload {row.id})")
                yield decoder.record(row, constants)
            del page  # before the next one is decoded

    def _commit(self, reader: CounterReader) -> None:
        """Move the bookmark of a whole counter, and let the target know."""
        self.run.count(reader)
        bookmark = reader.bookmark
        if bookmark is None or self.replication_method != "INCREMENTAL":
            return
        states = self.run.states[self.name]
        states.commit(reader.partition())
        counter_id = reader.selection.counter_id
        for line in bookmark.lines():
            self.logger.warning("Counter %d: %s", counter_id, line)
        # A batch is announced only when it is full, and the state must not precede it.
        if not self.is_batched:
            self.run.state_writer.write_if_due()


class CallsUploadingsStream(UploadsStream):
    """Uploads of calls, also by their IDs."""

    name = "calls_uploadings"
    kind = CALLS
    selected_by_default = True

    @override
    def select_counters(self) -> list[CounterSelection]:
        selected = self.run.select(self.name)
        for each in selected:
            if not each.is_whole and not each.uploading_ids:
                self.logger.warning(
                    "Counter %d: uploading_ids is empty: nothing is read of it. "
                    "Leave it out to read every upload.",
                    each.counter_id,
                )
        return [each for each in selected if each.is_whole or each.uploading_ids]


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
    keys = ("id",)
    selected_by_default = False
    reports_undocumented = False  # the API documents far more fields of a counter

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
