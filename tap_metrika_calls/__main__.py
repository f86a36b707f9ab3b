"""The process: signals from its first moment on, and its end."""

from __future__ import annotations

import gc
import logging
import os
import sys
import typing as t

from tap_metrika_calls import termination

LEVEL_VARIABLES = ("TAP_METRIKA_CALLS_LOGLEVEL", "LOGLEVEL")


def main() -> t.NoReturn:
    """Run the tap as a process of its own."""
    termination.install()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    code: int | str | None
    try:
        _check_environment()
        # Late, so that a signal during the import is recorded. What is imported lives
        # as long as the process: to look for garbage in it costs a tenth of the start.
        gc.disable()
        from tap_metrika_calls.tap import TapMetrikaCalls  # noqa: PLC0415

        gc.freeze()
        gc.enable()
        code = TapMetrikaCalls.cli()
    except SystemExit as done:
        code = done.code
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        code = code or 1
        print(f"Standard output cannot be used: {error.strerror}", file=sys.stderr)  # noqa: T201
    finally:
        os._exit(code or 0)  # requests under way are not waited for


def _check_environment() -> None:
    """Check what would fail before any error can be logged.

    Raises:
        SystemExit: If the log level is unknown, or there is no standard output.
    """
    for variable in LEVEL_VARIABLES:
        level = os.environ.get(variable, "").strip().upper()
        if not level:
            os.environ.pop(variable, None)
        elif level not in logging.getLevelNamesMapping():
            expected = "DEBUG, INFO, WARNING, ERROR or CRITICAL"
            sys.exit(f"Variable {variable}: unknown log level: expected {expected}.")
    if sys.stdout is None:
        sys.exit("Standard output is closed: there is nowhere to write messages.")


if __name__ == "__main__":
    main()
