"""A process that is told to stop, killed, or left by its target."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import threading
import time
import typing as t

import pytest

from tests.support import RecordProperty, Run, config_for, finish, running, start

if t.TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from sandbox import Request, Sandbox

SIGNALS = [signal.SIGTERM, signal.SIGINT]
UPLOADS = 6  # of each counter: a pipe holds the records of all
KILLS = int(os.environ.get("KILLS", "8"))


@pytest.fixture
def config(api: Sandbox, tmp_path: Path) -> Path:
    """A configuration of 20 counters, read one after another."""
    api.quotas = None
    for number in range(1, 21):
        api.add_counter(number, uploads=UPLOADS)
    counters = [{"counter_id": number} for number in range(1, 21)]
    path = tmp_path / "config.json"
    settings = config_for(api, counters=counters, max_parallel_requests=1)
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def stop_at(api: Sandbox, path: str, config: Path, signum: int) -> tuple[Run, float]:
    """Send a signal when a path is asked for; the run, and the seconds it took."""
    asked = threading.Event()
    api.on_request = lambda request: asked.set() if path in request.path else None
    with running("--config", config, cwd=config.parent) as process:
        assert asked.wait(30)
        sent = time.monotonic()
        process.send_signal(signum)
        result = finish(process)
        return result, time.monotonic() - sent


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("fault", ["slow", "503"])
def test_a_signal_ends_the_sync_with_the_state(
    api: Sandbox, config: Path, signum: int, fault: str
) -> None:
    api.fail(fault, times=100, path="counter/9/")
    api.slow_seconds = 30
    result, took = stop_at(api, "counter/9/", config, signum)
    assert result.code == 128 + signum
    assert took < 2
    assert result.errors == []
    assert "Traceback" not in result.log
    assert sorted(result.bookmarks) == list(range(1, 9))
    assert len(result.records()) == 8 * UPLOADS


def test_a_signal_while_the_target_does_not_read(api: Sandbox, config: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4_096)  # less than the first counters
    asked = threading.Event()
    api.on_request = lambda request: asked.set() if "/2/" in request.path else None
    with running("--config", config, cwd=config.parent, stdout=write) as process:
        os.close(write)
        assert asked.wait(30)
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
        assert time.monotonic() - sent < 2
    os.close(read)


@pytest.mark.parametrize("closed_after", [1, 2, 40])
def test_a_target_that_goes_away(config: Path, closed_after: int) -> None:
    with running("--config", config, cwd=config.parent) as process:
        assert process.stdout
        assert process.stderr
        for _ in range(closed_after):
            process.stdout.readline()
        process.stdout.close()
        log = process.stderr.read()
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_killed_anywhere_the_next_run_makes_the_table_whole(
    api: Sandbox, config: Path, record_property: RecordProperty
) -> None:
    expected = {
        (counter.id, upload.fields["id"])
        for counter in api.counters.values()
        for upload in counter.uploads
    }
    seeds = random.Random(7)  # noqa: S311
    killed = 0
    for _ in range(KILLS):
        victim = seeds.randint(1, 20)
        process = start("--config", config, cwd=config.parent)
        delay = seeds.uniform(0, 0.02)
        api.on_request = kill_when(f"counter/{victim}/", process, delay)
        first = finish(process)
        killed += first.code == -signal.SIGKILL
        table = keys(first)
        state = config.parent / "state.json"
        state.write_text(json.dumps(first.states[-1] if first.states else {}))
        api.on_request = lambda _: None
        second = finish(start("--config", config, "--state", state, cwd=config.parent))
        assert second.code == 0
        assert table | keys(second) == expected
    record_property("killed", f"{killed} of {KILLS} runs; whole {KILLS} times")
    assert killed > KILLS // 2


def kill_when(
    path: str, process: subprocess.Popen[str], delay: float
) -> t.Callable[[Request], None]:
    """A hook that kills a process some time after a path was asked for."""

    def hook(request: Request) -> None:
        if path in request.path:
            threading.Timer(delay, process.kill).start()

    return hook


def keys(result: Run) -> set[tuple[int, int]]:
    """The keys of the records, of whole lines only."""
    return {(r["counter_id"], r["id"]) for r in result.records()}
