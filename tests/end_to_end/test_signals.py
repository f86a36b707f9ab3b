"""A process that is told to stop, killed, or never read."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest

import tap_metrika_calls.tap
from tests.end_to_end.conftest import COUNTERS
from tests.support import (
    SIGNALS,
    RecordProperty,
    Run,
    assert_no_state_beyond_the_records,
    bookmarks_of,
    catalog_of,
    clean_environment,
    config_for,
    finish,
    running,
    start,
    sync,
)

if t.TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection
    from types import FrameType

    from sandbox import Request, Sandbox
    from tests.end_to_end.conftest import Uploads

UPLOADS = 6  # of each counter: a pipe holds the records of all
SETTINGS = {"max_parallel_requests": 1}  # one counter after another
KILLS = int(os.environ.get("KILLS", "3"))
MOMENTS = int(os.environ.get("SIGNAL_MOMENTS", "8"))
SOON = 5  # seconds: 1.5 for a target that does not read, and a busy machine
TERMINATED = 128 + signal.SIGTERM
PACKAGE = str(Path(tap_metrika_calls.tap.__file__).parent)
# What knows about the state, or writes messages.
CHANGES_STATE = ("bookmark.py", "reader.py", "state.py", "streams.py", "writer.py")


def requested(api: Sandbox, path: str) -> threading.Event:
    """An event that is set when a path is requested."""
    event = threading.Event()
    api.on_request = lambda request: event.set() if path in request.path else None
    return event


@pytest.mark.parametrize(
    ("signum", "fault"),
    [
        (signal.SIGTERM, "slow"),
        (signal.SIGINT, "503"),
        (signal.SIGHUP, "drip"),
        (signal.SIGHUP, "503"),
    ],
)
def test_a_signal_ends_the_sync_with_its_state(
    api: Sandbox, config: Path, uploads: Uploads, signum: signal.Signals, fault: str
) -> None:
    api.fail(fault, times=100, path="counter/9/")
    api.slow_seconds = 30
    at_nine = requested(api, "counter/9/")
    with running("--config", config, cwd=config.parent) as process:
        assert at_nine.wait(30)
        sent = time.monotonic()
        process.send_signal(signum)
        result = finish(process)
        took = time.monotonic() - sent
    assert (result.code, result.errors) == (128 + signum, [])
    assert took < SOON
    assert "Traceback" not in result.log
    assert f"Received {signum.name}" in result.log
    assert_read_up_to_eight(result, uploads)


def assert_read_up_to_eight(result: Run, uploads: Uploads) -> None:
    """Assert that the state covers what was read when counter 9 was requested."""
    # What is requested ahead may be under way while counter 8 is written.
    assert sorted(result.bookmarks) in (list(range(1, 8)), list(range(1, 9)))
    assert {1, 2, 3, 4, 5, 6, 7} <= {number for number, _ in result.keys}
    assert result.messages[-1]["type"] == "STATE"
    assert_no_state_beyond_the_records(result, uploads)


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)],
    ids=["ctrl-c-forwarded", "twice"],
)
def test_a_second_signal_changes_nothing(
    api: Sandbox, config: Path, uploads: Uploads, signals: tuple[signal.Signals, ...]
) -> None:
    api.fail("slow", times=100, path="counter/9/")
    api.slow_seconds = 30
    at_nine = requested(api, "counter/9/")
    with running("--config", config, cwd=config.parent) as process:
        assert at_nine.wait(30)
        for signum in signals * 3:
            process.send_signal(signum)
            time.sleep(0.001)  # or they come as one
        result = finish(process)
    assert result.code in {128 + signum for signum in signals}
    assert result.errors == []
    assert "Traceback" not in result.log
    assert_read_up_to_eight(result, uploads)


def test_a_signal_ends_the_connection_test(api: Sandbox, config: Path) -> None:
    api.fail("slow", times=100, path="counter/9/")
    api.slow_seconds = 30
    at_nine = requested(api, "counter/9/")
    with running("--config", config, "--test", cwd=config.parent) as process:
        assert at_nine.wait(30)
        process.send_signal(signal.SIGTERM)
        result = finish(process)
    assert (result.code, result.errors) == (TERMINATED, [])
    assert "Traceback" not in result.log
    assert "Received SIGTERM" in result.log


def test_signals_that_are_ignored_or_mean_nothing_do_nothing(
    api: Sandbox, config: Path, uploads: Uploads
) -> None:
    event = threading.Event()
    ids: list[int] = []
    nothing = (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT)

    def send(request: Request) -> None:
        if "counter/9/" in request.path:
            event.wait(30)
            for signum in (*nothing, signal.SIGHUP):
                os.kill(ids[0], signum)

    api.on_request = send
    with running(
        "--config", config, cwd=config.parent, wrapper="trap '' HUP; exec \"$@\""
    ) as process:
        ids.append(process.pid)
        event.set()
        result = finish(process)
    assert (result.code, result.errors) == (0, [])
    assert sorted(result.bookmarks) == list(COUNTERS)
    assert len(result.keys) == sum(map(len, uploads.values()))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_target_does_not_read(
    api: Sandbox, tmp_path: Path, signum: signal.Signals
) -> None:
    api.quotas = None
    api.add_counter(7, uploads=999)  # much more than a pipe holds
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_for(api, counter_id=7)), encoding="utf-8")
    read, write = os.pipe()
    seen = requested(api, "counter/7/")
    with running("--config", path, cwd=tmp_path, stdout=write) as process:
        os.close(write)
        assert seen.wait(30)
        sent = time.monotonic()
        process.send_signal(signum)
        assert process.wait(timeout=10) == 128 + signum
        assert time.monotonic() - sent < SOON
    os.close(read)


def test_a_signal_during_the_imports_is_not_lost(config: Path, tmp_path: Path) -> None:
    # As process 1 of a container, what no handler takes is ignored by the kernel.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'singer_sdk':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Finder)\n",
        encoding="utf-8",
    )
    paths = [str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = clean_environment(PYTHONPATH=os.pathsep.join(paths))
    with running("--config", config, cwd=tmp_path, env=environment) as process:
        result = finish(process)
    assert result.code == TERMINATED
    assert result.records() == []
    assert "Traceback" not in result.log


class Interrupted(t.NamedTuple):
    """A run that got signals.

    Attributes:
        run: What it wrote.
        lines: How many lines were executed that change the state or write messages.
        sent: How many signals it got.
        was_over: Whether its last message was out before the first of them.
    """

    run: Run
    lines: int
    sent: int
    was_over: bool


def signalled(moments: Collection[int], config: object, catalog: object) -> Interrupted:
    """Send SIGTERM at some of the lines that change the state or write messages."""
    lines = sent = 0
    was_over = False
    missed = signal.default_int_handler
    handler = signal.signal(signal.SIGTERM, missed)

    def trace_line(frame: FrameType, event: str, _: object) -> t.Any:
        nonlocal lines, sent, was_over
        if event != "line" or signal.getsignal(signal.SIGTERM) is missed:
            return trace_line
        lines += 1
        if lines - 1 in moments:
            was_over = was_over if sent else ends_with_final_state(frame)
            sent += 1
            os.kill(os.getpid(), signal.SIGTERM)
        return trace_line

    def trace_call(frame: FrameType, event: str, argument: object) -> t.Any:
        path = frame.f_code.co_filename
        if path.startswith(PACKAGE) and path.endswith(CHANGES_STATE):
            return trace_line(frame, event, argument) or trace_line
        return None

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        result = sync(config, None, catalog)
    finally:
        sys.settrace(before)
        signal.signal(signal.SIGTERM, handler)
    return Interrupted(result, lines, sent, was_over)


def ends_with_final_state(_: FrameType) -> bool:
    """Whether the STATE behind all counters is written already."""
    out = t.cast("t.Any", sys.stdout).buffer.getvalue()
    last = out[:-1].rpartition(b"\n")[2]
    return b'"STATE"' in last and all(b":%d}" % n in last for n in (7, 8, 9))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends no process, whatever is told to do so a little later."""
    monkeypatch.setattr(os, "_exit", lambda _: None)
    monkeypatch.setattr(threading.Timer, "start", lambda _: None)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("then", [(), (1, 2, 5, 10, 20)], ids=["once", "again"])
def test_a_signal_at_any_line_that_changes_the_state(
    api: Sandbox, then: tuple[int, ...], record_property: RecordProperty
) -> None:
    api.quotas = None
    uploads = {
        number: [u.fields["id"] for u in api.add_counter(number, 3).uploads]
        for number in (7, 8, 9)
    }
    config = config_for(api, counters=[{"counter_id": n} for n in uploads])
    catalog = catalog_of("calls_uploadings")
    whole = signalled((), config, catalog)
    assert (whole.run.code, len(whole.run.keys)) == (0, 9)
    assert whole.lines > 50
    step = max(1, whole.lines // MOMENTS)
    stopped = 0
    for moment in range(random.randrange(step), whole.lines, step):  # noqa: S311
        moments = [moment, *(moment + later for later in then)]
        result, _, sent, was_over = signalled(moments, config, catalog)
        where = f"line {moment} of {whole.lines}"
        if not sent:  # one wait for a response less than in the first run
            continue
        stopped += result.code == TERMINATED
        assert was_over or result.code == TERMINATED, where
        assert result.errors == [], where
        assert not result.lines or result.messages[-1]["type"] == "STATE", where
        for state in result.states:
            for stream in state.get("bookmarks", {}).values():
                for partition in stream.get("partitions", ()):
                    assert partition.get("context"), where
        assert_no_state_beyond_the_records(result, uploads)
        again = sync(config, result.state if result.lines else None, catalog)
        assert again.code == 0, where
        assert again.keys | result.keys == whole.run.keys, where
    record_property("stopped", f"{stopped} times in {whole.lines} lines")
    assert stopped


@pytest.mark.usefixtures("in_this_process")
def test_a_run_leaves_no_handler_behind(api: Sandbox) -> None:
    api.add_counter(7, uploads=1)
    before = [signal.getsignal(signum) for signum in SIGNALS]
    assert sync(config_for(api, counter_id=7)).code == 0
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


def test_killed_anywhere_the_next_run_makes_the_table_whole(
    api: Sandbox, config: Path, uploads: Uploads, record_property: RecordProperty
) -> None:
    expected = {(number, key) for number, ids in uploads.items() for key in ids}
    settings = json.loads(config.read_text(encoding="utf-8"))
    seeds = random.Random(7)  # noqa: S311
    killed = 0
    for _ in range(KILLS):
        victim = seeds.choice(COUNTERS)
        process = start("--config", config, cwd=config.parent)
        api.on_request = kill_when(
            f"counter/{victim}/", process, seeds.uniform(0, 0.02)
        )
        out, _ = process.communicate(timeout=60)
        killed += process.returncode == -signal.SIGKILL
        whole = out.splitlines(keepends=True)
        if whole and not whole[-1].endswith("\n"):
            whole.pop()
        first = Run(process.returncode, whole)
        assert_no_state_beyond_the_records(first, uploads)
        api.on_request = None
        second = sync(settings, first.states[-1] if first.states else None)
        assert second.code == 0
        assert first.keys | second.keys == expected
    record_property("killed", f"{killed} of {KILLS} runs; whole {KILLS} times")
    assert killed


def kill_when(
    path: str, process: subprocess.Popen[str], delay: float
) -> t.Callable[[Request], None]:
    """Return a hook that kills a process some time after a path was requested."""

    def hook(request: Request) -> None:
        if path in request.path:
            threading.Timer(delay, process.kill).start()

    return hook


def test_what_is_completed_is_saved_while_a_response_is_awaited(
    api: Sandbox, config: Path, uploads: Uploads
) -> None:
    api.fail("slow", times=100, path="counter/9/")
    api.slow_seconds = 120
    lines: list[str] = []
    completed: set[int] = set()
    with running("--config", config, cwd=config.parent) as process:
        assert process.stdout
        while completed != set(range(1, 9)):
            lines.append(process.stdout.readline())
            message = json.loads(lines[-1])
            if message["type"] == "STATE":
                completed = set(bookmarks_of(message["value"]))
        process.kill()
    assert_no_state_beyond_the_records(Run(0, lines), uploads)
