"""Runs a tap against a stand-in of the API, and measures it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import requests

from sandbox import TOKEN

if t.TYPE_CHECKING:
    from collections.abc import Iterator

OURS = (str(Path(sys.executable).with_name("tap-metrika-calls")),)
PLAIN = (sys.executable, "-m", "benchmarks.plain_tap")
MEGABYTE = 1024  # of the KiB that the kernel counts in


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: Wall time of the process.
        megabytes: Peak of its memory.
        requests: What the API was asked.
        throttled: How many answers were 429.
    """

    seconds: float
    megabytes: float
    requests: int
    throttled: int


@contextlib.contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """Run the stand-in as a process; gives its URL."""
    command = (sys.executable, "-m", "sandbox", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout  # noqa: S101
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def measure(
    tap: tuple[str, ...], url: str, settings: dict[str, t.Any], *arguments: str
) -> Measured:
    """Run a tap once.

    Raises:
        RuntimeError: If the tap fails.
    """
    if url:
        requests.post(f"{url}/sandbox/reset", timeout=60)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps({"oauth_token": TOKEN, **settings}), "utf-8")
        began = time.monotonic()
        with (
            Path(folder, "out").open("wb") as out,
            Path(folder, "log").open("wb") as log,
        ):
            process = subprocess.Popen(
                (*tap, "--config", str(config), *arguments), stdout=out, stderr=log
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if process.returncode:
            raise RuntimeError(Path(folder, "log").read_text("utf-8")[-2_000:])
    stats = requests.get(f"{url}/sandbox/stats", timeout=60).json() if url else {}
    return Measured(
        seconds,
        usage.ru_maxrss / MEGABYTE,
        stats.get("requests", 0),
        stats.get("throttled", 0),
    )


def ids_of(url: str) -> list[dict[str, t.Any]]:
    """A configuration of every upload by its ID."""
    headers = {"Authorization": f"OAuth {TOKEN}"}
    base = f"{url}/management/v1"
    answer = requests.get(f"{base}/counters", headers=headers, timeout=60).json()
    counters = []
    for counter in answer["counters"]:
        path = f"{base}/counter/{counter['id']}/offline_conversions/calls_uploadings"
        page = requests.get(path, headers=headers, timeout=60).json()["uploadings"]
        ids = [uploading["id"] for uploading in page]
        counters.append({"counter_id": counter["id"], "uploading_ids": ids})
    return counters


def all_counters(url: str) -> list[dict[str, t.Any]]:
    """A configuration of every counter, whole."""
    headers = {"Authorization": f"OAuth {TOKEN}"}
    path = f"{url}/management/v1/counters?per_page=10000"
    answer = requests.get(path, headers=headers, timeout=60).json()
    return [{"counter_id": counter["id"]} for counter in answer["counters"]]
