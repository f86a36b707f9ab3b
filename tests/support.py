"""Runs the tap, in this process or as one of its own, and reads what it wrote."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from singer_sdk.exceptions import ConfigValidationError

from sandbox import TOKEN
from tap_metrika_calls.errors import SyncFailedError
from tap_metrika_calls.tap import TapMetrikaCalls

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox

JSON: t.TypeAlias = dict[str, t.Any]
RecordProperty: t.TypeAlias = Callable[[str, object], None]

TAP = Path(sys.executable).with_name("tap-metrika-calls")
PREFIX = "TAP_METRIKA_CALLS_"


@dataclass
class Run:
    """What one run of the tap wrote.

    Attributes:
        code: Exit code; of a run in this process, 1 if it raised.
        lines: Standard output.
        errors: Lines of standard error at ERROR.
        log: Standard error.
    """

    code: int
    lines: list[str]
    errors: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def messages(self) -> list[JSON]:
        """All Singer messages; each line has to be one."""
        return [json.loads(line) for line in self.lines]

    def records(self, stream: str = "calls_uploadings") -> list[JSON]:
        """The records of a stream, in order."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    @property
    def ids(self) -> list[int]:
        """The IDs of the uploads, in order."""
        return [record["id"] for record in self.records()]

    @property
    def states(self) -> list[JSON]:
        """All states, in order."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"]

    @property
    def state(self) -> JSON:
        """The last state."""
        return self.states[-1]

    @property
    def bookmarks(self) -> dict[int, str]:
        """The bookmark of each counter in the last state."""
        partitions = self.state["bookmarks"]["calls_uploadings"].get("partitions", ())
        return {
            partition["context"]["counter_id"]: partition["replication_key_value"]
            for partition in partitions
        }


def config_for(api: Sandbox, **settings: object) -> JSON:
    """A configuration that reads a sandbox."""
    return {"oauth_token": TOKEN, "api_url": api.url, **settings}


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without settings of the tap, and with these variables."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    return {**kept, **variables}


def start(
    *arguments: str | Path,
    cwd: Path,
    env: dict[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Start the installed tap."""
    return subprocess.Popen(
        [TAP, *arguments],
        cwd=cwd,
        env=env or clean_environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def running(
    *arguments: str | Path, cwd: Path, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Start the installed tap, and leave nothing running behind."""
    with start(*arguments, cwd=cwd, stdout=stdout) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str], timeout: float = 60) -> Run:
    """Wait for a started tap, and read what it wrote."""
    out, log = process.communicate(timeout=timeout)
    return Run(process.returncode, (out or "").splitlines(), _errors(log or ""), log)


def run(
    config: JSON,
    folder: Path,
    *arguments: str,
    state: JSON | None = None,
    catalog: JSON | None = None,
    env: dict[str, str] | None = None,
) -> Run:
    """Run the installed tap on a configuration file."""
    options: list[str | Path] = []
    for name, content in (("config", config), ("state", state), ("catalog", catalog)):
        if content is not None:
            path = folder / f"{name}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            options += [f"--{name}", path]
    environment = clean_environment(**(env or {}))
    return finish(start(*options, *arguments, cwd=folder, env=environment))


def sync(config: JSON, state: JSON | None = None, catalog: JSON | None = None) -> Run:
    """Sync in this process."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code, errors = 0, []
    with contextlib.redirect_stdout(out):
        try:
            tap = TapMetrikaCalls(config=dict(config), state=state, catalog=catalog)
            tap.sync_all()
        except SyncFailedError as error:
            code, errors = 1, list(error.lines)
        except ConfigValidationError as error:
            code, errors = 1, list(error.errors)
    out.seek(0)
    return Run(code, out.read().splitlines(), errors)


def catalog_of(*streams: str, **root: object) -> JSON:
    """A catalog with these streams selected, and these metadata on their roots."""
    catalog: JSON = TapMetrikaCalls(config={}, validate_config=False).catalog_dict
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["stream"] in streams
                entry["metadata"] |= root
    return catalog


def _errors(log: str) -> list[str]:
    return [
        line.split(" | ", 3)[3] for line in log.splitlines() if " | ERROR    | " in line
    ]
