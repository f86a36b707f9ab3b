"""The tap: settings' check, streams, one sync from start to end."""

from __future__ import annotations

import fnmatch
import typing as t
from copy import deepcopy
from functools import cached_property

import click
import msgspec
from singer_sdk.exceptions import SingerSDKError
from singer_sdk.mapper import RemoveRecordTransform
from singer_sdk.singerlib import ActivateVersionMessage
from typing_extensions import override

from tap_metrika_calls import settings, termination
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.catalog import invalid, normalize_catalog
from tap_metrika_calls.cli import CommandLineTap
from tap_metrika_calls.output.lines import counted
from tap_metrika_calls.output.writer import StateWriter, Writer
from tap_metrika_calls.run import Run
from tap_metrika_calls.streams import STREAMS, UploadsStream
from tap_metrika_calls.sync.state import validate_state

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.singerlib import Catalog
    from singer_sdk.streams import Stream

    from tap_metrika_calls.base_stream import MetrikaStream

BY_NAME = {each.name: each for each in STREAMS}
UPLOADS_STREAMS = [each.name for each in STREAMS if issubclass(each, UploadsStream)]
REPAIR_STATE = "Repair the state, or start without it (meltano: --full-refresh)."
BATCH_HELP = "see https://sdk.meltano.com/en/latest/batch.html"
MAPS_HELP = "see https://sdk.meltano.com/en/latest/stream_maps.html"


class TapMetrikaCalls(CommandLineTap):
    """Yandex Metrica: processing status of call uploads."""

    name = "tap-metrika-calls"
    config_jsonschema = deepcopy(settings.SETTINGS)  # the SDK adds its own
    message_writer_class = Writer
    message_writer: Writer

    def __init__(
        self,
        *,
        config: dict[str, t.Any] | None = None,
        catalog: dict[str, t.Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **kwargs: t.Any,
    ) -> None:
        """Check settings, catalog and state.

        Raises:
            ConfigValidationError: If any of them is wrong; with a line for each error.
        """
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        given = config or {}
        if parse_env_config:
            given = given | settings.read_environment(schema, self.logger)
        given = settings.normalize_config(given)
        errors = settings.validate_config(given, schema)
        if errors and validate_config:
            raise invalid(*errors)
        if catalog is not None:
            kwargs["catalog"] = normalize_catalog(catalog, BY_NAME)
        super().__init__(config=given, validate_config=False, **kwargs)
        for stream in self.metrika_streams:
            try:
                _ = stream.is_batched
            except (AttributeError, TypeError, ValueError):
                line = f"Setting 'batch_config' is invalid: {BATCH_HELP}."
                raise invalid(line) from None
            if catalog is not None and stream.selected:
                _ = stream.decoder  # checks the types of the catalog

    @cached_property
    def run(self) -> Run:
        """What the streams of this sync share."""
        return Run(self.config, self.logger, self.message_writer)

    @property
    @override
    def state_writer(self) -> StateWriter:  # type: ignore[override]
        return self.run.state_writer

    @property
    @override
    def catalog(self) -> Catalog:
        """The catalog for stream maps, which may name deselected streams too."""
        catalog: Catalog = deepcopy(super().catalog)
        for entry in catalog.streams:
            entry.metadata.root.selected = True
        return catalog

    @property
    def metrika_streams(self) -> list[MetrikaStream]:
        """The streams as what they are."""
        return t.cast("list[MetrikaStream]", list(self.streams.values()))

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [stream(self, self.run) for stream in STREAMS]

    @override
    def setup_mapper(self) -> None:
        try:
            super().setup_mapper()
        except SingerSDKError:
            raise
        except Exception as error:
            text = type(error).__name__
            line = f"Setting 'stream_maps' cannot be used ({text}): {MAPS_HELP}."
            raise invalid(line) from error
        for name, stream_map in (self.config.get("stream_maps") or {}).items():
            is_special = name.startswith("__") or "__source__" in (stream_map or ())
            if not (is_special or fnmatch.filter(BY_NAME, name)):
                self.logger.warning("Setting 'stream_maps': no stream %r.", name)

    @override
    def load_state(self, state: dict[str, t.Any]) -> None:
        errors = validate_state(state, UPLOADS_STREAMS)
        if errors:
            raise invalid(*(f"{error}. {REPAIR_STATE}" for error in errors))
        self.run.load_state(state, UPLOADS_STREAMS)
        super().load_state(msgspec.to_builtins(self.run.state()))

    @override
    def sync(self) -> None:
        selected = self._selected_streams()
        if not selected:
            self.logger.warning("No stream is selected: nothing is read.")
        run, failures = self.run, self.run.failures
        try:
            for stream in selected:
                stream.sync()
            for stream in selected:
                if isinstance(stream, UploadsStream) and stream.postponed:
                    stream.sync()
            if termination.received() is None:
                failures.finish(run.states, self.logger)
                if not (failures.failed or failures.skipped):
                    self._activate_versions(selected)
        finally:
            run.finish()
        failures.raise_if_failed()

    @override
    def check(self) -> None:
        run, checked = self.run, 0
        try:
            for stream in self._selected_streams():
                if isinstance(stream, UploadsStream):
                    checked += stream.check(click.echo)
            if not checked:
                count = counted(len(run.counters), "counter")
                click.echo(f"The token works: it has access to {count}.")
        except FatalError as error:
            run.failures.add(error)
        finally:
            run.client.close()
        run.failures.finish({}, self.logger)
        run.failures.raise_if_failed()

    def _selected_streams(self) -> list[MetrikaStream]:
        """Return the streams, beginning with the one where the last sync stopped."""
        selected = [stream for stream in self.metrika_streams if stream.selected]
        uploads = [each for each in selected if isinstance(each, UploadsStream)]
        self.run.failures.names_streams = len(uploads) > 1
        for index, stream in enumerate(selected):
            state = self.run.states.get(stream.name)
            if state is not None and state.resume_from is not None:
                return selected[index:] + selected[:index]
        return selected

    def _activate_versions(self, streams: list[MetrikaStream]) -> None:
        """Let targets delete what the source no longer has; only after a whole sync."""
        for stream in streams:
            for stream_map in stream.stream_maps:
                removed = isinstance(stream_map, RemoveRecordTransform)
                if stream.version is not None and not removed:
                    self.write_message(
                        ActivateVersionMessage(stream_map.stream_alias, stream.version)
                    )
