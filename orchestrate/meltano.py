"""One run of Meltano: its command, its environment, and what its failure means."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EXTRACTOR = "tap-metrika-calls"
PREFIX = "TAP_METRIKA_CALLS_"
DATABASE = "MELTANO_DATABASE_URI"
PROJECT = "MELTANO_PROJECT_ROOT"
ENGINE = "METRIKA_CALLS_TARGET"  # of the profile in transform/

# What a row of the file of logins decides, whatever the worker's environment says.
OWN_SETTINGS = (
    "OAUTH_TOKEN",
    "ULOGIN",
    "COUNTER_ID",
    "UPLOADING_IDS",
    "COUNTERS",
    "REQUESTS_PER_SECOND",
    "MAX_PARALLEL_REQUESTS",
)
# The API's own words, and those that only time or a person can change: another attempt
# would say the same, and cost requests of the day's quota.
FINAL_ERRORS = re.compile(
    r"\b(quota_requests_by_uid|quota_requests_by_counter_id"
    r"|unauthorized|invalid_token|access_denied)\b"
)
# How Meltano writes the errors of its plugins, and its own.
ERROR = re.compile(r"\[error *\] +(\S+ +\S.*)")


class RunError(Exception):
    """A run of Meltano failed, and may succeed when it is tried again."""


class FinalRunError(RunError):
    """A run failed in a way that another attempt now would repeat."""


def load_command(login: str, loader: str) -> list[str]:
    """Return the command that loads one login.

    `meltano run` would share files between the runs of one extractor. `--force` takes
    over the lock of a run that was killed, which else stays for five minutes: Airflow
    already runs each login once at a time.
    """
    return ["meltano", "el", "--force", f"--state-id={login}", EXTRACTOR, loader]


def environment(
    inherited: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a run.

    Airflow's variables stay behind, because they may hold the tokens of other logins.
    """
    own = {PREFIX + name for name in OWN_SETTINGS}
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in own and not name.lstrip("_").startswith("AIRFLOW")
    }
    given = {PREFIX + name: value for name, value in settings.items()}
    return {**kept, "NO_COLOR": "1", **given}


def report_settings(loader: str) -> dict[str, str]:
    """Return what the report is about, where the worker's environment does not say it.

    Without it, that would be any file of DuckDB that lies in the project.
    """
    return {ENGINE: loader.removeprefix("target-")}


def project_folder() -> Path:
    """Return where the Meltano project of this worker is, or should be."""
    return Path(os.environ.get(PROJECT) or Path(__file__).parents[1])


def usable_project() -> Path:
    """Return the Meltano project of this worker.

    Raises:
        RunError: If this worker cannot run it.
    """
    folder = project_folder()
    if not (folder / "meltano.yml").is_file():
        message = f"No Meltano project in {folder} on this worker: set {PROJECT}"
        raise RunError(message)
    if not os.environ.get(DATABASE):
        # Without it, the state would be in a file of whichever worker comes first.
        message = f"{DATABASE} is not set on this worker: workers share one state"
        raise RunError(message)
    return folder


def remove_left_files(login: str) -> None:
    """Delete what loads of a login that were killed left behind on this worker.

    Meltano writes the settings of the tap into a file, the token too, for as long as a
    load runs.
    """
    folder = project_folder() / ".meltano" / "run" / "elt" / login
    shutil.rmtree(folder, ignore_errors=True)


class Run:
    """A process and all that it starts."""

    def __init__(self, log: Callable[[str], object]) -> None:
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Run a command and log what it prints.

        Raises:
            RunError: If it fails.
        """
        reason = final = last = ""
        with self._started(command, env) as process:
            for line in process.stdout or ():
                text = line.rstrip()
                self._log(text)
                final = final or "".join(FINAL_ERRORS.findall(text)[:1])
                last = text.strip() or last
                if not reason and (found := ERROR.search(text)):
                    reason = " ".join(found[1].split())
        if process.returncode:
            message = reason or last or "nothing was printed"
            message = f"{message} (exit code {process.returncode})"
            raise (FinalRunError if final else RunError)(message)

    def stop(self) -> None:
        """End what runs; the tap sends its state first."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def _started(
        self, command: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                cwd=usable_project(),
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            message = f"{command[0]} cannot be run on this worker: {error.strerror}"
            raise RunError(message) from None
        return self._process
