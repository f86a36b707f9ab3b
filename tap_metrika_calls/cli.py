"""The command line: options, plain error lines, signals."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import typing as t

import click
from singer_sdk import Tap
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers._util import load_json
from singer_sdk.plugin_base import SingerCommand, _ConfigInput
from singer_sdk.singerlib import Catalog, Schema
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from tap_metrika_calls import settings, state
from tap_metrika_calls.errors import SyncFailedError
from tap_metrika_calls.writer import BufferedWriter

if t.TYPE_CHECKING:
    from types import FrameType


class Terminated(SystemExit):
    """The process was asked to stop by a signal; `code` is 128 + the signal."""


class TapCommand(SingerCommand):
    """Shows each error as one plain line, and a traceback only when debugging."""

    @override
    def invoke(self, ctx: click.Context) -> t.Any:
        logging.captureWarnings(capture=True)
        return click.Command.invoke(self, ctx)

    @override
    def main(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        lines: t.Sequence[str]
        failure: Exception
        try:
            return super().main(*args, **kwargs)
        except ConfigValidationError as error:
            failure, lines = error, error.errors
        except SyncFailedError as error:
            failure, lines = error, error.lines
        except SingerSDKError as error:
            failure = error
            lines = [" ".join(f"{type(error).__name__}: {error}".split())]
        except ImportError as error:
            failure, lines = error, [f"A package is missing: {error}"]
        except OSError as error:
            what = f"{error.strerror or type(error).__name__}: {error.filename}"
            failure, lines = error, [f"A file cannot be used ({what})"]
        except Exception as error:  # noqa: BLE001
            # The text of an error that nobody foresaw might hold a secret.
            msg = (
                f"Unexpected error {type(error).__name__}. Please report it, with what "
                "is logged when TAP_METRIKA_CALLS_LOGLEVEL is DEBUG."
            )
            failure, lines = error, [msg]
        for line in lines:
            self.logger.error("%s", line)
        self.logger.debug("Where it happened:", exc_info=failure)
        sys.exit(1)


class CommandLineTap(Tap):
    """A tap that tells users what is wrong in the configuration and the state."""

    message_writer_class = BufferedWriter
    message_writer: BufferedWriter

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        return TapCommand(
            name=command.name,
            callback=command.callback,
            context_settings=command.context_settings,
            params=command.params,
            help=command.help,
            logger=cls.logger,
        )

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        try:
            return super().cb_config(ctx, param, value)
        except OSError as error:
            msg = f"The file of --config cannot be read: {error.strerror or error}"
        except (TypeError, ValueError, RecursionError):
            msg = "The file of --config is not a JSON object with settings"
        raise ConfigValidationError(msg, errors=[msg])

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        if value != CliTestOptionValue.All.value:
            super().cb_test(ctx, param, value)
            return
        config = ctx.params.get("config", _ConfigInput())
        tap = cls(config=config.config, parse_env_config=config.parse_env)
        tap.check_connection()
        ctx.exit()

    def check_connection(self) -> None:
        """Tell whether everything configured can be read."""
        raise NotImplementedError

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, t.Any]:  # noqa: N805
        """The settings in the environment; those not readable as raw strings.

        The check of the configuration then tells what the setting takes.
        """
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        prefix = cls._env_var_prefix
        config: dict[str, t.Any] = {}
        for name, prop in schema["properties"].items():
            try:
                one = {"properties": {name: prop}}
                config |= parse_environment_config(one, prefix)
            except (ValueError, RecursionError):
                config[name] = os.environ[prefix + name.upper()]
        known = {name.upper() for name in config} | {"LOGLEVEL"}
        for variable, value in os.environ.items():
            name = variable.removeprefix(prefix)
            if name != variable and name not in known and not name.startswith("_"):
                config[name.lower()] = value
        return config

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        given = settings.with_lists(self._config)
        self._config = {k: v for k, v in given.items() if v is not None}
        errors = settings.errors_of(self._config, schema)
        if errors and raise_errors:
            msg = "The configuration is not valid"
            raise ConfigValidationError(msg, errors=errors)
        return errors

    @override
    def setup_mapper(self) -> None:
        try:
            super().setup_mapper()
        except SingerSDKError:
            raise
        except Exception as error:
            msg = (
                f"Setting stream_maps cannot be used ({type(error).__name__}): see "
                "https://sdk.meltano.com/en/latest/stream_maps.html"
            )
            raise ConfigValidationError(msg, errors=[msg]) from error

    @override
    def load_state(self, state_dict: dict[str, t.Any]) -> None:
        if errors := list(state.errors_of(state_dict)):
            msg = "The state is not valid"
            hint = (
                "Repair the state, or start anew without it (meltano: --full-refresh)."
            )
            raise ConfigValidationError(msg, errors=[f"{e}. {hint}" for e in errors])
        super().load_state(state_dict)

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        state: t.IO[str] | None = None,
        catalog: t.IO[str] | None = None,
    ) -> None:
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        config = config or _ConfigInput()
        tap = cls(
            config=config.config,
            state=_read_json("--state", state),
            catalog=_read_catalog(catalog),
            parse_env_config=config.parse_env,
        )
        tap.sync_all()

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Unwind from wherever the sync is, but never from inside of a line."""
        code = 128 + signum
        self.logger.info("Stopping on signal %d", signum)
        if not self.message_writer.is_writing:
            raise Terminated(code)
        self.message_writer.interrupt = Terminated(code)


def _read_json(option: str, file: t.IO[str] | None) -> dict[str, t.Any] | None:
    if file is None:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        content = load_json(file.read())
        if isinstance(content, dict):
            return content
    msg = f"The file of {option} is not a JSON object"
    raise ConfigValidationError(msg, errors=[msg])


def _read_catalog(file: t.IO[str] | None) -> dict[str, t.Any] | None:
    content = _read_json("--catalog", file)
    try:
        streams = Catalog.from_dict(content or {}).streams
        if all(_is_typed(stream.schema) for stream in streams):
            return content
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    msg = "The file of --catalog is not a catalog: make one with --discover"
    raise ConfigValidationError(msg, errors=[msg])


def _is_typed(schema: Schema) -> bool:
    properties = schema.properties or {}
    types = [prop.type for prop in properties.values()]
    return bool(types) and all(isinstance(kind, str | list) for kind in types)
