"""Loads uploads of calls into DuckDB through Meltano, and shows them: `make demo`.

Reads the bundled mock API; with TAP_METRIKA_CALLS_OAUTH_TOKEN set, the real
one. All that it makes lies in `.demo`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".demo"
TOKEN = "TAP_METRIKA_CALLS_OAUTH_TOKEN"  # noqa: S105
PLUGINS = ("tap-metrika-calls", "target-duckdb")
STOPS = (signal.SIGINT, signal.SIGTERM)
STEP = timedelta(hours=2)  # in which an upload is processed


def main() -> int:
    """Run the demo.

    Returns:
        Exit code.
    """
    for signum in STOPS:
        signal.signal(signum, stop)
    FOLDER.mkdir(exist_ok=True)
    real = bool(os.environ.get(TOKEN))
    database = FOLDER / ("metrika.duckdb" if real else "trial.duckdb")
    environment = os.environ | {
        "MELTANO_ENVIRONMENT": "prod" if real else "trial",
        "MELTANO_CLI_LOG_LEVEL": "warning",
        "MELTANO_SYS_DIR_ROOT": str(FOLDER / "meltano"),
        "TARGET_DUCKDB_PATH": str(database),
    }
    try:
        with contextlib.ExitStack() as stack:
            if not real:
                url, token = stack.enter_context(sandbox())
                environment |= {"SANDBOX_URL": url, "SANDBOX_TOKEN": token}
            say(f"Loading {'from Yandex Metrica' if real else 'from the mock API'}")
            # It installs what is missing.
            run(*meltano(), "run", *PLUGINS, environment=environment)
            show(database)
            print("`make report` turns this into a page: .demo/report.html")
    except subprocess.CalledProcessError as error:
        say(f"Stopped: {' '.join(map(str, error.cmd[:4]))} ended with an error")
        return 1
    return 0


def stop(signum: int, _: object) -> t.NoReturn:
    """Stop what was started; the signal comes again from those that pass it on."""
    for known in STOPS:
        signal.signal(known, signal.SIG_IGN)
    sys.exit(128 + signum)


@contextlib.contextmanager
def sandbox() -> Iterator[tuple[str, str]]:
    """Run the mock API; gives its URL and its token."""
    epoch, now = world_times()
    command = [sys.executable, "-m", "sandbox", "--epoch", epoch, "--now", now]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            if process.stdout is None or not (ready := process.stdout.readline()):
                raise subprocess.CalledProcessError(process.wait(), command)
            url, *_, token = ready.split()
            yield url, token
        finally:
            process.terminate()


def world_times() -> tuple[str, str]:
    """Return when the mock API's world began, and its time.

    It began with the first demo. Each demo is later than the one before by the time in
    which an upload is processed, so that there is something new to see.
    """
    times = FOLDER / "world.json"
    now = datetime.now(UTC).replace(microsecond=0)
    epoch = now.isoformat()
    if times.exists():
        epoch, last = json.loads(times.read_text("utf-8"))
        now = max(now, datetime.fromisoformat(last) + STEP)
    times.write_text(json.dumps([epoch, now.isoformat()]), encoding="utf-8")
    return epoch, now.isoformat()


def meltano() -> tuple[str, ...]:
    """The command of Meltano, installed on its first use."""
    version = os.environ["MELTANO_VERSION"]
    return (os.environ["UV"], "tool", "run", "--from", f"meltano=={version}", "meltano")


def run(*command: str, environment: dict[str, str]) -> None:
    """Run a command; it is shown only if it fails, or if it warns.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        if code := process.wait():
            raise subprocess.CalledProcessError(code, command)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def show(database: Path) -> None:
    """Print what the database holds, with the DuckDB of the loader."""
    loader = FOLDER / "meltano" / "loaders" / "target-duckdb"
    python = loader / "venv" / "bin" / "python"
    table = ROOT / "scripts" / "show_calls.py"
    seen = FOLDER / f"{database.stem}.seen.json"
    subprocess.run([python, table, database, seen], check=True)


def say(text: str) -> None:
    """Tell how far the demo is."""
    print(f"{text} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
