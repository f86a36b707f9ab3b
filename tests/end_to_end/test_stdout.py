"""Standard output and standard error as they are in the wild."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import time
import typing as t
from pathlib import Path

import pytest

from tests.end_to_end.conftest import COUNTERS
from tests.support import (
    Run,
    assert_no_state_beyond_the_records,
    clean_environment,
    config_for,
    finish,
    run,
    running,
)

if t.TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sandbox import Sandbox
    from tests.end_to_end.conftest import Uploads

UPLOADS = 60  # of each counter: in all, many times what a pipe holds
SETTINGS = {"requests_per_second": 1_000}
PIPE = 65_536  # bytes
BUFFERING = ["", "1"]
SLOW_STEP = 1_000  # bytes
LOOK_AGAIN = 0.002  # seconds


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that is full long before the end: its ends for reading and writing."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE)
    try:
        yield read, write
    finally:
        for end in (read, write):
            with contextlib.suppress(OSError):
                os.close(end)


def environment(unbuffered: str = "") -> dict[str, str]:
    return clean_environment(PYTHONUNBUFFERED=unbuffered)


def wait_until_full(write: int) -> None:
    """Wait until nothing more can be written to a pipe."""
    poll = select.poll()
    poll.register(write, select.POLLOUT)
    while poll.poll(0):
        time.sleep(LOOK_AGAIN)


def wait_until_taken(process: subprocess.Popen[str], signum: int) -> None:
    """Wait until a process got a signal that was sent."""
    status = Path(f"/proc/{process.pid}/status")
    pending = re.compile(r"ShdPnd:\s*([0-9a-f]+)")
    while found := pending.search(status.read_text(encoding="utf-8")):
        if not int(found[1], 16) >> (signum - 1) & 1:
            return
        time.sleep(LOOK_AGAIN)


def read_all(read: int) -> bytes:
    return b"".join(iter(lambda: os.read(read, SLOW_STEP), b""))


def run_of(process: subprocess.Popen[str], out: bytes) -> Run:
    """Wait for a process whose output was read; each line has to be whole."""
    ended = finish(process)
    assert not out or out.endswith(b"\n")
    return Run(ended.code, out.decode().splitlines(), ended.log)


def running_into(
    descriptor: int, config: Path, unbuffered: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start the tap with this as its standard output."""
    return running(
        "--config",
        config,
        cwd=config.parent,
        env=environment(unbuffered),
        stdout=descriptor,
    )


def assert_everything(run: Run, uploads: Uploads) -> None:
    """Assert that a run wrote all uploads, and then their state."""
    assert run.code == 0
    assert len(run.keys) == len(COUNTERS) * UPLOADS
    assert_no_state_beyond_the_records(run, uploads)
    assert sorted(run.bookmarks) == list(COUNTERS)


@pytest.mark.parametrize("unbuffered", BUFFERING)
def test_a_signal_while_the_pipe_is_full_cuts_no_line(
    uploads: Uploads, config: Path, unbuffered: str
) -> None:
    with (
        pipe() as (read, write),
        running_into(write, config, unbuffered) as process,
    ):
        wait_until_full(write)
        os.close(write)
        process.send_signal(signal.SIGTERM)
        wait_until_taken(process, signal.SIGTERM)
        result = run_of(process, read_all(read))
    assert (result.code, result.errors) == (128 + signal.SIGTERM, [])
    assert_no_state_beyond_the_records(result, uploads)
    assert result.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("unbuffered", BUFFERING)
def test_a_pause_of_the_process_loses_no_record(
    uploads: Uploads, config: Path, unbuffered: str
) -> None:
    with (
        pipe() as (read, write),
        running_into(write, config, unbuffered) as process,
    ):
        out = b""
        for _ in range(2):
            wait_until_full(write)
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            process.send_signal(signal.SIGCONT)
            out += os.read(read, PIPE)
        os.close(write)
        result = run_of(process, out + read_all(read))
    assert result.errors == []
    assert_everything(result, uploads)


@pytest.mark.parametrize("unbuffered", BUFFERING)
def test_a_pipe_that_does_not_block_gets_everything(
    uploads: Uploads, config: Path, unbuffered: str
) -> None:
    with pipe() as (read, write):
        os.set_blocking(write, False)
        with running_into(write, config, unbuffered) as process:
            wait_until_full(write)
            os.close(write)
            result = run_of(process, read_all(read))
    assert result.errors == []
    assert_everything(result, uploads)


@pytest.mark.parametrize("unbuffered", BUFFERING)
def test_a_full_disk_is_one_plain_line(config: Path, unbuffered: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with running_into(full, config, unbuffered) as process:
            result = finish(process)
    finally:
        os.close(full)
    assert result.code == 1
    (line,) = result.errors
    assert "standard output" in line.lower() or "stdout" in line.lower()
    assert "No space left on device" in line
    assert "Traceback" not in result.log


@pytest.mark.parametrize(
    "arguments", [["--discover"], ["--about"], ["--about", "--format=json"]]
)
def test_a_full_disk_is_noticed_by_every_command(
    tmp_path: Path, arguments: list[str]
) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        running(*arguments, cwd=tmp_path, stdout=full.fileno()) as process,
    ):
        result = finish(process)
    assert result.code == 1
    assert result.errors == ["Standard output cannot be used: No space left on device"]
    assert len(result.log.splitlines()) == 1


def test_closed_standard_output_is_one_plain_line(api: Sandbox, config: Path) -> None:
    with running(
        "--config", config, cwd=config.parent, wrapper='exec "$@" >&-'
    ) as process:
        result = finish(process)
    assert (result.code, result.lines) == (1, [])
    (line,) = result.log.splitlines()
    assert "standard output" in line.lower() or "stdout" in line.lower()
    assert "Unexpected" not in line
    assert all(request.method == "GET" for request in api.requests)


def test_closed_standard_error_costs_nothing(uploads: Uploads, config: Path) -> None:
    with running(
        "--config", config, cwd=config.parent, wrapper='exec "$@" 2>&-'
    ) as process:
        result = finish(process)
    assert_everything(result, uploads)


def test_a_failure_with_closed_standard_error_keeps_its_code(config: Path) -> None:
    settings = json.loads(config.read_text(encoding="utf-8"))
    counters = [{"counter_id": 1}, {"counter_id": 99}]
    config.write_text(json.dumps({**settings, "counters": counters}))
    with running(
        "--config", config, cwd=config.parent, wrapper='exec "$@" 2>&-'
    ) as process:
        result = finish(process)
    assert result.code == 1
    assert len(result.records()) == UPLOADS
    assert list(result.bookmarks) == [1]


@pytest.mark.parametrize(("unbuffered", "closed_after"), [("", 1), ("1", 40)])
def test_a_target_that_goes_away(
    config: Path, unbuffered: str, closed_after: int
) -> None:
    with running(
        "--config", config, cwd=config.parent, env=environment(unbuffered)
    ) as process:
        assert process.stdout
        assert process.stderr
        for _ in range(closed_after):
            process.stdout.readline()
        process.stdout.close()
        log = process.stderr.read()
        assert process.wait(timeout=30) == 128 + signal.SIGPIPE
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_standard_output_may_be_a_file(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with (
        path.open("wb") as file,
        running("--config", config, cwd=tmp_path, stdout=file.fileno()) as process,
    ):
        result = run_of(process, b"")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert result.code == 0
    assert len(Run(0, lines).keys) == len(COUNTERS) * UPLOADS


def test_the_same_bytes_with_and_without_a_buffer(api: Sandbox, tmp_path: Path) -> None:
    api.add_counter(7, uploads=3)
    config = config_for(api, counter_id=7)
    runs = [run(config, tmp_path, env={"PYTHONUNBUFFERED": v}) for v in BUFFERING]
    assert [r.code for r in runs] == [0, 0]
    assert runs[0].records() == runs[1].records()
    assert [m["type"] for m in runs[0].messages] == [
        m["type"] for m in runs[1].messages
    ]
