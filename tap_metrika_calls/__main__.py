"""The process: signals from its first moment on, and its end."""

from __future__ import annotations

import gc
import logging
import os
import sys

from tap_metrika_calls import termination


def main() -> None:
    """Run the tap as a process of its own."""
    termination.install()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    _check_environment()
    # Late, so that a signal during the import is recorded. What is imported lives as
    # long as the process: to look for garbage in it costs a tenth of the start.
    gc.disable()
    from tap_metrika_calls.cli import run  # noqa: PLC0415
    from tap_metrika_calls.tap import TapMetrikaCalls  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    os._exit(run(TapMetrikaCalls))  # requests under way are not waited for


def _check_environment() -> None:
    """Check what would fail before any error can be logged."""
    for variable in ("TAP_METRIKA_CALLS_LOGLEVEL", "LOGLEVEL"):
        level = os.environ.pop(variable, "").strip().upper()
        if level in logging.getLevelNamesMapping():
            os.environ[variable] = level
        elif level:
            expected = "DEBUG, INFO, WARNING, ERROR or CRITICAL"
            sys.exit(f"Variable {variable}: expected {expected}.")
    if sys.stdout is None:
        sys.exit("Standard output is closed: there is nowhere to write messages.")


if __name__ == "__main__":
    main()
