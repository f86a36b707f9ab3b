"""The command line: files of options, and every error as plain lines."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import typing as t
from pathlib import Path

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from singer_sdk.helpers.capabilities import EMIT_ACTIVATE_VERSION_CONFIG
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import override

from tap_metrika_calls import termination
from tap_metrika_calls.catalog import invalid

if t.TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = (
    "Please report it with the debug log: TAP_METRIKA_CALLS_LOGLEVEL=DEBUG, or "
    "`meltano --log-level=debug` (see README)."
)
SDK_NOISE = frozenset(
    {"Config validation failed", "Skipping parse of env var settings..."}
)


class SyncFailedError(Exception):
    """What made a sync fail.

    Attributes:
        lines: One line for each failure.
    """

    def __init__(self, lines: t.Sequence[str]) -> None:
        super().__init__(*lines)
        self.lines = tuple(lines)


@contextlib.contextmanager
def errors_as_lines(logger: logging.Logger) -> Iterator[None]:
    """Log what is raised as plain lines, and exit with code 1.

    A traceback is logged only at level DEBUG, because the text of an error that nobody
    foresaw may repeat a secret.
    """
    try:
        yield
    except (click.exceptions.Exit, click.ClickException):
        raise
    except Exception as error:
        for line in _lines(error):
            logger.error("%s", line)  # noqa: TRY400
        logger.debug("Traceback:", exc_info=error)
        sys.exit(1)


def _lines(error: Exception) -> t.Sequence[str]:
    if isinstance(error, ConfigValidationError):
        return error.errors
    if isinstance(error, SyncFailedError):
        return error.lines
    if isinstance(error, SingerSDKError):
        return [" ".join(f"{type(error).__name__}: {error}".split())]
    if isinstance(error, ImportError):
        return [f"A package is missing: {error}"]
    if isinstance(error, OSError):
        what = error.filename or "Standard output"
        return [f"{what} cannot be used: {error.strerror or type(error).__name__}"]
    return [f"Unexpected error: {type(error).__name__}. {REPORT}"]


def read_json_option(
    _: click.Context, option: click.Parameter, file: t.IO[str] | None
) -> dict[str, t.Any] | None:
    """Return the object in the file of an option; a callback of click.

    Raises:
        click.Exit: If it is not a JSON object.
    """
    if file is None:
        return None
    logger = logging.getLogger("tap-metrika-calls")
    suppressed = contextlib.suppress(ValueError, RecursionError)
    with errors_as_lines(logger), file, suppressed:
        content = json.loads(file.read())
        if isinstance(content, dict):
            return content
    logger.error("The file of --%s is not a JSON object.", option.name)
    sys.exit(1)


def drop_sdk_noise(logger: logging.Logger) -> None:
    """Keep lines of the SDK out of the log that repeat or contradict the tap's own."""
    if not logger.filters:
        logger.addFilter(lambda record: record.msg not in SDK_NOISE)


class CommandLineTap(Tap):
    """A tap whose every error is a plain line, and whose exit code tells the end."""

    def sync(self) -> None:
        """Sync all streams."""
        raise NotImplementedError

    def check(self) -> None:
        """Report whether what is configured can be read."""
        raise NotImplementedError

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, t.Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        for name, schema in EMIT_ACTIVATE_VERSION_CONFIG["properties"].items():
            config_jsonschema["properties"].setdefault(name, schema)

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        for option in command.params:
            if option.name in {"catalog", "state"}:
                option.is_eager = True  # before --test, which needs the catalog
                option.callback = read_json_option
        return command

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: t.Any) -> t.Any:
        with errors_as_lines(cls.logger):
            try:
                files = [Path(path) for path in value if path != "ENV"]
                contents = [json.loads(file.read_bytes()) for file in files]
                if all(isinstance(content, dict) for content in contents):
                    return super().cb_config(ctx, param, value)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                line = f"The file of --config cannot be read: {reason}."
                raise invalid(line) from None
            except (ValueError, RecursionError):
                pass
            line = "The file of --config is not a JSON object with settings."
            raise invalid(line)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        no_check = CliTestOptionValue.Disabled, CliTestOptionValue.Schema
        with errors_as_lines(cls.logger):
            if value in [option.value for option in no_check]:
                super().cb_test(ctx, param, value)
                return
            config = ctx.params.get("config")
            cls(
                config=config.config if config else {},
                catalog=ctx.params.get("catalog"),
                parse_env_config=bool(config and config.parse_env),
            ).check()
        ctx.exit()

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: t.Any = None,
        state: dict[str, t.Any] | None = None,
        catalog: dict[str, t.Any] | None = None,
    ) -> None:
        if about:
            super().invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        try:
            with errors_as_lines(cls.logger):
                cls(
                    config=config.config if config else {},
                    parse_env_config=bool(config and config.parse_env),
                    state=state,
                    catalog=catalog,
                ).sync()
        finally:
            signum = termination.received()
            termination.forget()
            if signum is not None:
                cls.logger.info("Received %s, stopped.", signum.name)
                raise SystemExit(128 + signum)

    @override
    def _setup_signal_handlers(self) -> None:
        """Record signals; the SDK would raise wherever the sync is, and exit with 0."""
        termination.install()
