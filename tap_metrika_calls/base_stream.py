"""How streams read, and how their records leave through the SDK."""

from __future__ import annotations

import typing as t
from functools import cached_property
from importlib.resources import files
from itertools import islice
from pathlib import Path

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.schema.source import SchemaDirectory, StreamSchema
from singer_sdk.streams import Stream
from typing_extensions import override

from tap_metrika_calls import termination
from tap_metrika_calls.api.endpoints import CALLS, UploadKind
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.api.prefetch import prefetch
from tap_metrika_calls.catalog import declared_types, invalid
from tap_metrika_calls.output.lines import listed
from tap_metrika_calls.output.progress import with_progress
from tap_metrika_calls.sync.bookmark import STATUSES
from tap_metrika_calls.sync.records import RecordDecoder
from tap_metrika_calls.sync.selection import CounterSelection

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.tap_base import Tap

    from tap_metrika_calls.run import Run
    from tap_metrika_calls.sync.reader import CounterReader

PACKAGED = files("tap_metrika_calls") / "schemas"  # in the wheel
SCHEMAS = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[1] / "schemas"
STALE_CATALOG = "The catalog lacks %s, which is not loaded. Run discovery again."
LACKS_KEY = "Stream '{}': the catalog lacks a key column. Run discovery again."
MAP_FAILED = "A stream map failed on {} with {} ({}). Check the setting stream_maps."
UNKNOWN_STATUS = "Undocumented statuses count as in flight: {}"
OTHER_TYPE = "Uploads of another type than requested were kept: {}"


class MetrikaStream(Stream):
    """A stream whose records fit its schema exactly, and carry every column."""

    schema = StreamSchema(SchemaDirectory(SCHEMAS))
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    replication_key: str | None = None
    emit_activate_version_messages = False  # the tap sends them, if nothing failed

    name: str
    constants: t.ClassVar[tuple[str, ...]] = ()
    reports_others = True

    def __init__(self, tap: Tap, run: Run) -> None:
        super().__init__(tap)
        self.run = run
        self._tap_started_at = tap.initialized_at
        self._map_failure: FatalError | None = None

    @cached_property
    def decoder(self) -> RecordDecoder:
        """Makes records of what the API sends.

        Raises:
            ConfigValidationError: If a column cannot be loaded as the catalog says.
        """
        keys, declared = self.primary_keys, self.effective_schema
        types = declared_types(self.name, self.schema, declared, keys)
        missing = types.keys() - declared["properties"].keys()
        if missing & {*keys, self.replication_key}:
            raise invalid(LACKS_KEY.format(self.name))
        if missing:
            self.logger.warning(STALE_CATALOG, listed(sorted(missing)))
        selected = {name for name in types if self.mask["properties", name]} - missing
        return RecordDecoder(
            types,
            self.run.failures.warnings,
            dropped=types.keys() - selected - set(keys),
            constants=self.constants,
            reports_others=self.reports_others,
        )

    @cached_property
    def is_batched(self) -> bool:
        """Whether records go to files, and only their names to the target."""
        return self.get_batch_config(self.config) is not None

    @cached_property
    def version(self) -> int | None:
        """The version that an ACTIVATE_VERSION message will name, if there is one."""
        is_full = self.replication_method == "FULL_TABLE"
        wanted = self.config["emit_activate_version_messages"]
        return self._tap_started_at // 1000 if is_full and wanted else None

    def read(self) -> Iterator[Record]:
        """Read all records.

        Raises:
            FatalError: If nothing more can be read.
        """
        raise NotImplementedError

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        try:
            for record in with_progress(self.read(), self.name):
                if termination.received() is not None:
                    return
                yield record
                if self.is_batched:
                    self.run.writer.record_counts[self.name] += 1
                if self._map_failure is not None:
                    raise self._map_failure
        except FatalError as error:
            self.run.failures.add(error)
        except termination.Terminated:
            return

    @override
    def generate_child_contexts(self, *_: object, **__: object) -> tuple[()]:
        """Return nothing: there are no child streams."""
        return ()

    @override
    def _increment_stream_state(self, *_: object, **__: object) -> None:
        """Do nothing: a bookmark moves only when its counter is read whole."""

    @override
    def _write_record_message(self, record: Record) -> None:
        """Write a record as the stream maps want it; it is conformed already."""
        for stream_map in self.stream_maps:
            try:
                mapped = stream_map.transform(record)
                if mapped is not None:
                    alias = stream_map.stream_alias
                    self.run.writer.write_record(alias, mapped, self.version)
            except OSError:
                raise
            except Exception as error:  # an expression may raise anything
                self.logger.debug("Traceback:", exc_info=error)
                keys = ", ".join(f"{k} {record.get(k)}" for k in self.primary_keys)
                text = type(error).__name__
                if isinstance(error, MapExpressionError):  # only its words hold no data
                    text += f": {error}"
                msg = MAP_FAILED.format(self.name, keys, text)
                self._map_failure = FatalError(msg)


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
                selection = counter.selection
                for _ in islice(counter, 1 if selection.is_whole else None):
                    pass
                if selection.is_whole or counter.seen:
                    tell(f"Counter {selection.counter_id}: {self.name} can be read.")

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
        selected = self.run.selected
        if self.kind is CALLS:
            selected = [s for s in selected if s.is_whole or s.uploading_ids]
        else:
            selected = [CounterSelection(each.counter_id) for each in selected]
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
        self.run.state_writer.write_if_due()
