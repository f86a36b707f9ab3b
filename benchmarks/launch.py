"""Runs a command as the child of a small process: `python -IS launch.py OUT LOG ...`.

The kernel counts the memory of the process that starts a command as the command's own.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Run the command, and print what it took."""
    out, log, *command = sys.argv[1:]
    began = time.monotonic()
    process = os.fork()
    if not process:
        for path, descriptor in ((out, 1), (log, 2)):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, descriptor)
        os.execvp(command[0], command)  # noqa: S606
    _, status, usage = os.wait4(process, 0)
    seconds = time.monotonic() - began
    cpu = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss / 1024
    print(json.dumps([os.waitstatus_to_exitcode(status), seconds, cpu, peak]))


main()
