"""The command line: files of options, and every error as plain lines."""

from __future__ import annotations

import contextlib
import json
import sys
import typing as t
from pathlib import Path

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from typing_extensions import override

from tap_metrika_calls import termination
from tap_metrika_calls.catalog import invalid
from tap_metrika_calls.failures import SyncFailedError

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence

REPORT = (
    "Please report it with the debug log: TAP_METRIKA_CALLS_LOGLEVEL=DEBUG, or "
    "`meltano --log-level=debug` (see README)."
)
# Lines of the SDK that repeat or contradict the tap's own.
SDK_NOISE = {"Config validation failed", "Skipping parse of env var settings..."}


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


def _lines(error: Exception) -> Sequence[str]:
    if isinstance(error, ConfigValidationError | SyncFailedError):
        return error.errors
    if isinstance(error, SingerSDKError):
        return [" ".join(f"{type(error).__name__}: {error}".split())]
    if isinstance(error, ImportError):
        return [f"A package is missing: {error}"]
    if isinstance(error, OSError):
        what = error.filename or "Standard output"
        return [f"{what} cannot be used: {error.strerror or type(error).__name__}"]
    return [f"Unexpected error: {type(error).__name__}. {REPORT}"]


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
    def get_singer_command(cls) -> click.Command:
        if not cls.logger.filters:
            cls.logger.addFilter(lambda record: record.msg not in SDK_NOISE)
        command = super().get_singer_command()
        for option in command.params:
            if option.name in {"catalog", "state"}:
                option.is_eager = True  # before --test, which needs the catalog
                option.callback = cls.cb_json_file
        return command

    @classmethod
    def cb_json_file(
        cls, _: click.Context, option: click.Parameter, file: t.IO[str] | None
    ) -> dict[str, t.Any] | None:
        """Return the object in the file of an option, or exit: a callback of click."""
        content: t.Any = None
        if file is not None:
            with errors_as_lines(cls.logger), file:
                with contextlib.suppress(ValueError, RecursionError):
                    content = json.loads(file.read().removeprefix("\ufeff"))
                if not isinstance(content, dict):
                    line = f"The file of --{option.name} is not a JSON object."
                    raise invalid(line)
        return t.cast("dict[str, t.Any] | None", content)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: t.Any) -> t.Any:
        with errors_as_lines(cls.logger):
            try:
                files = [Path(path) for path in value if path != "ENV"]
                if all(isinstance(json.loads(f.read_bytes()), dict) for f in files):
                    return super().cb_config(ctx, param, value)
            except OSError as error:
                line = f"The file of --config cannot be read: {error.strerror}."
                raise invalid(line) from None
            except (ValueError, RecursionError):
                pass
            line = "The file of --config is not a JSON object with settings."
            raise invalid(line)

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        with errors_as_lines(cls.logger):
            super().cb_discover(ctx, param, value)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        with errors_as_lines(cls.logger):
            if value in {"disabled", "schema"}:
                super().cb_test(ctx, param, value)
                return
            config, catalog = ctx.params.get("config"), ctx.params.get("catalog")
            cls._from_options(config, catalog=catalog).check()
        ctx.exit()

    @classmethod
    @override
    def invoke(
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: t.Any = None,
        **files: t.Any,
    ) -> None:
        if about:
            super().invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        try:
            with errors_as_lines(cls.logger):
                cls._from_options(config, **files).sync()
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

    @classmethod
    def _from_options(cls, config: t.Any, **files: t.Any) -> t.Self:  # noqa: ANN401
        values, parse_env = (config.config, config.parse_env) if config else ({}, False)
        return cls(config=values, parse_env_config=parse_env, **files)
