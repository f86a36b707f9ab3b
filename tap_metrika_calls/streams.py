"""What is extracted: uploads of calls, and the counters they belong to."""

from __future__ import annotations

import typing as t
from datetime import timedelta
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.schema.source import SchemaDirectory, StreamSchema
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from singer_sdk.streams import Stream
from typing_extensions import override

from tap_metrika_calls.bookmark import STATUSES, Bookmark
from tap_metrika_calls.errors import CounterError, MetrikaError
from tap_metrika_calls.lookup import Ahead, Lookup
from tap_metrika_calls.progress import with_progress
from tap_metrika_calls.records import Oddities, RecordShaper
from tap_metrika_calls.settings import parse_time
from tap_metrika_calls.state import CounterStates

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from singer_sdk.helpers.types import Context, Record

    from tap_metrika_calls.settings import Wanted
    from tap_metrika_calls.tap import TapMetrikaCalls


def schema_folder() -> Traversable:
    """The folder of the JSON schemas: in the wheel, or beside the package."""
    packaged = files("tap_metrika_calls") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "schemas"


SCHEMAS = SchemaDirectory(schema_folder())
UNKNOWN_STATUS = "Statuses that no documentation of the API knows count as unfinished"


class MetrikaStream(Stream):
    """A stream whose records are shaped to fit its schema exactly."""

    schema = StreamSchema(SCHEMAS)
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    _tap: TapMetrikaCalls
    _map_failure: MetrikaError | None = None

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        if self._tap.stopped:
            return
        oddities = Oddities()
        try:
            for record in with_progress(self.read(oddities), self.name):
                yield record
                if self._map_failure is not None:
                    raise self._map_failure
                self._tap.emitted[self.name] += 1
        except MetrikaError as error:
            self._tap.stop(error)
        finally:
            for line in oddities.lines():
                self.logger.warning("%s", line)

    def read(self, oddities: Oddities) -> Iterator[Record]:
        """Read all records; what the API sends unasked is noted as an oddity."""
        raise NotImplementedError

    @override
    def _process_record(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Nothing: there are no child streams, and records are complete."""

    @override
    def _write_record_message(self, record: Record) -> None:
        if not self._is_written_as_it_is:
            self._write_mapped(record)
            return
        self._tap.message_writer.write_record(self.name, record, self._stream_version)
        self.state_manager.is_flushed = False

    def _write_mapped(self, record: Record) -> None:
        try:
            super()._write_record_message(record)
        except OSError:
            raise
        except Exception as error:
            # An expression of the user; what the error says may be data of a record.
            told = error if isinstance(error, MapExpressionError) else ""
            key = ", ".join(f"{name} {record.get(name)}" for name in self.primary_keys)
            self._map_failure = MetrikaError(
                f"A stream map failed on {self.name} with {key} "
                f"({type(error).__name__}{told and ': '}{told}): check the setting "
                "stream_maps."
            )
            self.logger.debug("Where it happened:", exc_info=error)

    @override
    def _write_activate_version_message(self, full_table_version: int) -> None:
        """Nothing yet: targets take it as leave to delete all rows that are older."""

    @override
    def finalize_state_progress_markers(self, state: Record | None = None) -> None:
        super().finalize_state_progress_markers(state)
        if self._stream_version is not None and not self._tap.failures:
            super()._write_activate_version_message(self._stream_version)

    @cached_property
    def _is_written_as_it_is(self) -> bool:
        """Whether no stream map, flattening or deselected field changes records."""
        (first, *others) = self.stream_maps
        return (
            type(first) is SameRecordTransform
            and not others
            and not first.flattening_enabled
            and all(self.mask["properties", name] for name in self.schema["properties"])
        )


class CallsUploadingsStream(MetrikaStream):
    """Uploads of calls: the configured ones, or what is new of whole counters."""

    name = "calls_uploadings"
    primary_keys = ("counter_id", "id")
    replication_key = "create_time"

    @property
    @override
    def partitions(self) -> None:
        """None: the state has a partition a counter, but the SDK is not to loop.

        It would read one counter after another, and search through the state of all
        of them for each record.
        """

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None for the stream: each counter's bookmark knows how far it may go."""

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Each counter has a start of its own."""

    @override
    def _increment_stream_state(
        self, latest_record: Record, *, context: Context | None = None
    ) -> None:
        """A bookmark moves only when its counter is finished."""

    @override
    def read(self, oddities: Oddities) -> Iterator[Record]:
        client = self._tap.client
        states = CounterStates(self.stream_state)
        lookups = Ahead(
            lambda wanted: Lookup(client, wanted, self.config["lookup"]),
            self._tap.wanted_counters(),
            client.parallel,
        )
        try:
            for lookup in lookups:
                bookmark = self._bookmark(lookup.wanted, states)
                try:
                    yield from self._records(lookup, bookmark, oddities)
                    self._finish(lookup, bookmark, states)
                except CounterError as error:
                    self._tap.failures.append(str(error))
                except MetrikaError as error:
                    lookups.stop()
                    self._tap.stop(error)
                finally:
                    lookup.cancel()
                    self._tell_missing(lookup)
        finally:
            lookups.cancel()

    def _bookmark(self, wanted: Wanted, states: CounterStates) -> Bookmark:
        state = {}
        if self.replication_method == REPLICATION_INCREMENTAL:
            state = states.of(wanted.counter_id)
        now = self._tap.started_at
        last = parse_time(state.get("replication_key_value"))
        if wanted.whole and last is not None and last > now:
            self.logger.warning(
                "Counter %d: the bookmark lies in the future, so the counter is read "
                "from its start. Check the clock of this machine.",
                wanted.counter_id,
            )
        start_date = parse_time(self.config.get("start_date"))
        unsettled = timedelta(days=self.config["unsettled_days"])
        return Bookmark.resume(state, start_date, now, unsettled)

    def _records(
        self, lookup: Lookup, bookmark: Bookmark, oddities: Oddities
    ) -> Iterator[Record]:
        """The records of one counter, each upload once.

        Raises:
            CounterError: If the counter cannot be read, or not all of it.
            MetrikaError: If the sync has to stop.
        """
        counter_id = lookup.wanted.counter_id
        by_name = frozenset(lookup.wanted.uploading_ids)
        shaper = RecordShaper(self.effective_schema, self.schema, oddities)
        for page in lookup:
            for uploading_id, uploading in page.items():
                created = parse_time(uploading.get("create_time"))
                if bookmark.wants(created) or uploading_id in by_name:
                    status = uploading.get("status")
                    if not isinstance(status, str):
                        status = None
                    elif status not in STATUSES:
                        oddities.add(UNKNOWN_STATUS, status, uploading)
                    bookmark.saw(uploading_id, created, status)
                    yield shaper.shape({"counter_id": counter_id}, uploading)
        if lookup.refused:
            msg = (
                f"Counter {counter_id}: {lookup.refused} uploads came without a usable "
                "ID and cannot be loaded; the counter's bookmark stays. Tell the "
                "support of Yandex Metrica."
            )
            raise CounterError(msg)

    def _finish(
        self, lookup: Lookup, bookmark: Bookmark, states: CounterStates
    ) -> None:
        """Move the bookmark of a whole counter, and let the target know."""
        is_incremental = self.replication_method == REPLICATION_INCREMENTAL
        if not (lookup.wanted.whole and is_incremental):
            return
        if bookmark.stuck:
            self.logger.warning(
                "Counter %d: uploads unfinished for %d days or more, no longer waited "
                "for: %s",
                lookup.wanted.counter_id,
                self.config["unsettled_days"],
                ", ".join(map(str, bookmark.stuck)),
            )
        states.finish(lookup.wanted.counter_id, bookmark)
        # In batches, the state may go out only after the batch that it covers.
        if states.is_due() and self.get_batch_config(self.config) is None:
            self._tap.state_writer.write_state(self.tap_state)

    def _tell_missing(self, lookup: Lookup) -> None:
        if not lookup.missing:
            return
        told = (
            f"Counter {lookup.wanted.counter_id}: the API does not know the uploads "
            f"{', '.join(map(str, lookup.missing))}."
        )
        if self.config["on_missing"] == "skip":
            self.logger.warning("%s Skipped, as on_missing says.", told)
        else:
            self._tap.failures.append(
                f"{told} Take them out of uploading_ids, or set on_missing to skip."
            )


class CountersStream(MetrikaStream):
    """The counters that the token sees, to give names to a report."""

    name = "counters"
    primary_keys = ("id",)
    selected_by_default = False

    @override
    def read(self, oddities: Oddities) -> Iterator[Record]:
        # The API documents many more fields of a counter than a report needs.
        shaper = RecordShaper(self.effective_schema, None, oddities)
        for counter in self._tap.client.all_counters():
            yield shaper.shape({}, counter)
