"""Runs a tap against a mock API, and measures it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from sandbox import TOKEN

if t.TYPE_CHECKING:
    from sandbox import Sandbox

OURS = (sys.executable, "-m", "tap_metrika_calls")
PLAIN = (sys.executable, "-m", "benchmarks.plain_tap")
LAUNCH = (sys.executable, "-IS", str(Path(__file__).with_name("launch.py")))
# A start must not compile all modules anew.
SLOWING = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
NO_QUOTAS = {"requests_per_second": 1_000_000}


@dataclass(frozen=True)
class Measured:
    """What a piece of work took.

    Attributes:
        seconds: Wall time of the process.
        cpu: Seconds of CPU time of the process.
        rows: Number of records emitted.
        requests: What the API was asked.
        throttled: How many responses were 429.
        megabytes: Peak of the memory.
    """

    seconds: float
    cpu: float
    rows: int = 0
    requests: int = 0
    throttled: int = 0
    megabytes: float = 0


class Runner:
    """Runs one tap against one mock API, from sync to sync."""

    def __init__(
        self, tap: tuple[str, ...], api: Sandbox | None, folder: str, **settings: t.Any
    ) -> None:
        """Write the configuration; the counters are all of the API, whole."""
        self.folder = Path(folder)
        self._tap = tap
        self.api = api
        config: dict[str, t.Any] = {
            "oauth_token": TOKEN,
            "api_url": api.url if api else "http://localhost",
            "counters": [{"counter_id": each} for each in api.counters] if api else [],
        }
        if tap is OURS and api is not None and api.quotas is None:
            config |= NO_QUOTAS
        self._write("config.json", config | settings)

    @property
    def out(self) -> Path:
        """Messages of the last run."""
        return self.folder / "out"

    def state(self) -> dict[str, t.Any]:
        """Return the last state."""
        with self.out.open("rb") as lines:
            states = [line for line in lines if b'"STATE"' in line[:20]]
        state: dict[str, t.Any] = json.loads(states[-1])["value"]
        return state

    def sync(
        self,
        *,
        state: dict[str, t.Any] | None = None,
        streams: tuple[str, ...] = (),
        may_fail: bool = False,
    ) -> Measured:
        """Sync once, with a state and of the given streams if any."""
        arguments = []
        if state is not None:
            arguments += ["--state", self._write("state.json", state)]
        if streams:
            arguments += ["--catalog", self._catalog(streams)]
        return self.run(*arguments, may_fail=may_fail)

    def run(self, *arguments: str, may_fail: bool = False) -> Measured:
        """Run the tap once.

        Raises:
            RuntimeError: If it fails.
        """
        if self.api:
            self.api.reset()
        log = self.folder / "log"
        config = str(self.folder / "config.json")
        output = subprocess.check_output(
            (*LAUNCH, self.out, log, *self._tap, "--config", config, *arguments),
            env={k: v for k, v in os.environ.items() if k not in SLOWING},
        )
        code, seconds, cpu, megabytes = json.loads(output)
        if code and not may_fail:
            raise RuntimeError(log.read_text("utf-8")[-2_000:])
        requests = len(self.api.requests) if self.api else 0
        throttled = self.api.throttled if self.api else 0
        with self.out.open("rb") as lines:
            rows = sum(b'"RECORD"' in line[:20] for line in lines)
        return Measured(seconds, cpu, rows, requests, throttled, megabytes)

    def _catalog(self, streams: tuple[str, ...]) -> str:
        self.run("--discover")
        catalog = json.loads(self.out.read_bytes())
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    selected = stream["tap_stream_id"] in streams
                    entry["metadata"]["selected"] = selected
        return self._write("catalog.json", catalog)

    def _write(self, name: str, content: object) -> str:
        path = self.folder / name
        path.write_text(json.dumps(content), "utf-8")
        return str(path)
