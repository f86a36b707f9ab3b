"""The process: its end, whatever the sync is doing."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import typing as t

import click

SECONDS_TO_STOP = 1.5


def _end_soon_after_a_signal() -> None:
    """End the process on time, whatever the main thread is doing.

    Handlers run on the main thread between two of its steps. One of them may last for
    ever: a write to a target that does not read.
    """
    told, teller = socket.socketpair()
    teller.settimeout(0)
    signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        with teller, told:
            (signum,) = told.recv(1)
            time.sleep(SECONDS_TO_STOP)
            os._exit(128 + signum)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def _command() -> click.Command:
    # Late, so that a signal during the import is handled as any other.
    from tap_metrika_calls.tap import TapMetrikaCalls  # noqa: PLC0415

    try:
        return TapMetrikaCalls.cli
    except Exception as error:  # noqa: BLE001
        told = (
            f"Logging cannot be set up ({type(error).__name__}): check "
            "TAP_METRIKA_CALLS_LOGLEVEL and LOGLEVEL, which take DEBUG, INFO, WARNING, "
            "ERROR or CRITICAL, and SINGER_SDK_LOG_CONFIG."
        )
        click.echo(told, err=True)
        sys.exit(1)


def main() -> t.NoReturn:
    """Run the tap as a process of its own."""
    code: int | str | None = 0
    _end_soon_after_a_signal()
    try:
        _command()()
    except SystemExit as done:
        code = done.code
    except KeyboardInterrupt:
        code = 130
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Requests under way would otherwise be waited for.
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
