"""The command line: files of options, and every error as plain lines."""

from __future__ import annotations

import json
import sys
import typing as t

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError

from tap_metrika_calls import termination
from tap_metrika_calls.catalog import invalid
from tap_metrika_calls.failures import SyncFailedError

if t.TYPE_CHECKING:
    import logging

    from singer_sdk import Tap

UNREADABLE = "The file of --{} cannot be read: {}."
NO_OBJECT = "The file of --{} is not a JSON object."
REPORT = (
    "Please report it with the debug log: TAP_METRIKA_CALLS_LOGLEVEL=DEBUG, or "
    "`meltano --log-level=debug` (see README)."
)
# Lines of the SDK that repeat or contradict the tap's own.
SDK_NOISE = {"Config validation failed", "Skipping parse of env var settings..."}


def run(tap: type[Tap], arguments: list[str] | None = None) -> int:
    """Run the command, and log what it raises as plain lines.

    A traceback is logged only at level DEBUG, because the text of an error that nobody
    foresaw may repeat a secret.

    Returns:
        The exit code.
    """
    code: t.Any = None
    tap.logger.addFilter(_is_of_interest)
    try:
        try:
            tap.cli(arguments)
        finally:
            sys.stdout.flush()
    except (SystemExit, termination.Terminated) as end:
        code = getattr(end, "code", None)
    except Exception as error:
        for line in _lines(error):
            tap.logger.error("%s", line)  # noqa: TRY400
        tap.logger.debug("Traceback:", exc_info=error)
        code = 1
    signum = termination.received()
    if signum is not None:
        tap.logger.info("Received %s, stopped.", signum.name)
        code = 128 + signum
    return code or 0


def read_object(option: str, path: str) -> dict[str, t.Any]:
    """Return the JSON object in the file of an option.

    Raises:
        ConfigValidationError: If there is none.
    """
    try:
        with click.open_file(path, "rb") as file:
            content = json.loads(file.read())
        if isinstance(content, dict):
            return content
    except OSError as error:
        raise invalid(UNREADABLE.format(option, error.strerror)) from None
    except (ValueError, RecursionError):
        pass
    raise invalid(NO_OBJECT.format(option))


def _is_of_interest(record: logging.LogRecord) -> bool:
    return record.msg not in SDK_NOISE


def _lines(error: Exception) -> list[str]:
    if isinstance(error, ConfigValidationError | SyncFailedError):
        return list(error.errors)
    if isinstance(error, SingerSDKError | ImportError):
        return [" ".join(f"{type(error).__name__}: {error}".split())]
    if isinstance(error, OSError):
        what = error.filename or "Standard output"
        return [f"{what} cannot be used: {error.strerror or type(error).__name__}"]
    return [f"Unexpected error: {type(error).__name__}. {REPORT}"]
