"""The tap: settings' check, streams, one sync from start to end."""

from __future__ import annotations

import fnmatch
import typing as t
from copy import deepcopy
from functools import cached_property

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from singer_sdk.mapper import PluginMapper, RemoveRecordTransform
from singer_sdk.singerlib import ActivateVersionMessage
from typing_extensions import override

from tap_metrika_calls import settings, termination
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.base_stream import MetrikaStream, UploadsStream
from tap_metrika_calls.catalog import invalid, normalize_catalog
from tap_metrika_calls.cli import read_object
from tap_metrika_calls.output.lines import counted
from tap_metrika_calls.output.writer import StateWriter, Writer
from tap_metrika_calls.run import Run
from tap_metrika_calls.streams import STREAMS
from tap_metrika_calls.sync.state import load_states

if t.TYPE_CHECKING:
    from collections.abc import Iterator

BY_NAME = {each.name: each for each in STREAMS}
UPLOADS_STREAMS = [each.name for each in STREAMS if issubclass(each, UploadsStream)]
FILE_OPTIONS = ("catalog", "state")
REPAIR_STATE = "Repair the state, or start without it (meltano: --full-refresh)."


class TapMetrikaCalls(Tap):
    """Yandex Metrica: processing status of call uploads."""

    name = "tap-metrika-calls"
    config_jsonschema = deepcopy(settings.SETTINGS)  # the SDK adds its own
    message_writer_class = Writer
    message_writer: Writer

    def __init__(self, **options: t.Any) -> None:
        """Check settings, catalog and state; the options are those of the SDK.

        Raises:
            ConfigValidationError: If any of them is wrong; with a line for each error.
        """
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        config = options.pop("config", None) or {}
        if options.pop("parse_env_config", False):
            config = config | settings.read_environment(schema, self.logger)
        config = settings.normalize_config(config)
        errors = settings.validate_config(config, schema)
        if options.pop("validate_config", True) and errors:
            raise invalid(*errors)
        if options.get("catalog") is not None:
            options["catalog"] = normalize_catalog(options["catalog"], BY_NAME)
        super().__init__(config=config, validate_config=False, **options)

    @cached_property
    def run(self) -> Run:
        """What the streams of this sync share."""
        return Run(self.config, self.logger, self.message_writer)

    @property
    @override
    def state_writer(self) -> StateWriter:  # type: ignore[override]
        return self.run.state_writer

    @override
    def discover_streams(self) -> list[MetrikaStream]:
        return [stream(self, self.run) for stream in STREAMS]

    @override
    def setup_mapper(self) -> None:
        selected = self._selected_streams()
        _ = [stream.decoder for stream in selected]  # checks the types of the catalog
        setting = "stream_maps"
        try:
            self.mapper = PluginMapper(dict(self.config), self.logger)
            catalog = deepcopy(self.catalog)
            for entry in catalog.streams:  # maps may name deselected streams too
                entry.metadata.root.selected = True
            self.mapper.register_raw_streams_from_catalog(catalog)
            setting = "batch_config"
            _ = [stream.is_batched for stream in selected]
        except ConfigValidationError:
            raise
        except Exception as error:
            text = error if isinstance(error, SingerSDKError) else settings.SDK_HELP
            line = settings.INVALID.format(setting, " ".join(str(text).split()))
            raise invalid(line) from error
        for name, stream_map in self.config.get("stream_maps", {}).items():
            is_special = name.startswith("__") or "__source__" in (stream_map or ())
            if not (is_special or fnmatch.filter(BY_NAME, name)):
                self.logger.warning("Setting 'stream_maps': no stream %r.", name)

    @override
    def load_state(self, state: dict[str, t.Any]) -> None:
        self.run.states, errors = load_states(state, UPLOADS_STREAMS)
        if errors:
            raise invalid(*(f"{error}. {REPAIR_STATE}" for error in errors))

    def sync(self) -> None:
        """Sync all streams."""
        selected = self._selected_streams()
        if not selected:
            self.logger.warning("No stream is selected: nothing is read.")
        run, failures = self.run, self.run.failures
        try:
            for stream in _in_turn(selected):
                stream.sync()
            if termination.received() is None:
                failures.finish(run.states, self.logger)
                if not (failures.failed or failures.skipped):
                    self._activate_versions(selected)
        finally:
            run.finish()
        failures.raise_if_failed()

    def check(self) -> None:
        """Report whether what is configured can be read."""
        run = self.run
        run.failures.again = "Try again later."
        try:
            for stream in _in_turn(self._selected_streams()):
                if isinstance(stream, UploadsStream):
                    stream.check(click.echo)
            if not run.client.requests:
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
        streams = t.cast("list[MetrikaStream]", list(self.streams.values()))
        selected = [stream for stream in streams if stream.selected]
        uploads = sum(isinstance(each, UploadsStream) for each in selected)
        self.run.failures.names_streams = uploads > 1
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
                    alias = stream_map.stream_alias
                    self.write_message(ActivateVersionMessage(alias, stream.version))

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        for option in command.params:
            if option.name != "version":  # `invoke` decides, when it has all options
                option.callback, option.expose_value = None, True
            if option.name in FILE_OPTIONS:
                option.type = click.Path(readable=False)
        return command

    @classmethod
    @override
    def invoke(cls, **options: t.Any) -> None:
        if options["about"]:
            cls.print_about(options["about_format"])
            return
        given: dict[str, t.Any] = {"config": {}}
        for path in options["config"]:
            given["config"] |= read_object("config", path) if path != "ENV" else {}
        given["parse_env_config"] = "ENV" in options["config"]
        if options["discover"]:
            cls(**given, validate_config=False, setup_mapper=False).run_discovery()
            return
        cls.print_version(print_fn=cls.logger.info)
        files = {
            n: read_object(n, options[n])
            for n in FILE_OPTIONS
            if options[n] is not None
        }
        tap = cls(**given, **files)
        actions = {"disabled": tap.sync, "schema": tap.write_schemas}
        actions.get(options["test"], tap.check)()

    @override
    def _setup_signal_handlers(self) -> None:
        """Leave signals to the process; the SDK would raise wherever the sync is."""


def _in_turn(streams: list[MetrikaStream]) -> Iterator[MetrikaStream]:
    """Yield all streams, and then again those with counters left for later."""
    yield from streams
    for stream in streams:
        if isinstance(stream, UploadsStream) and stream.postponed:
            yield stream
