"""Messages on standard output of every kind: whole lines, or an error."""

from __future__ import annotations

import io
import json
import os
import select
import threading
import typing as t
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from singer_sdk.singerlib import StateMessage

from tap_metrika_calls.output import writer as writer_module
from tap_metrika_calls.output.writer import StateWriter, Writer, write_completely

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support import JSON

PAGE = 4_096
RECORD: JSON = {"id": 1, "comment": "Звонки"}
SURROGATE = "\ud83d"


def set_stdout(monkeypatch: pytest.MonkeyPatch, stdout: t.TextIO) -> None:
    """Let the writer find another standard output; pytest has its own in `sys`."""
    monkeypatch.setattr(writer_module, "sys", SimpleNamespace(stdout=stdout))


class Pipe:
    """Standard output as a pipe.

    Attributes:
        stdout: The end that is written to.
        descriptor: The end that is read.
    """

    def __init__(self, stdout: t.TextIO, descriptor: int) -> None:
        self.stdout = stdout
        self.descriptor = descriptor

    def read_all(self) -> bytes:
        """Read until the other end is closed."""
        with open(self.descriptor, "rb", closefd=False) as file:
            return file.read()

    def stop_reading(self) -> None:
        """Close the end that is read, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    read_end, write_end = os.pipe()
    with open(write_end, "w", encoding="utf-8") as stdout:  # noqa: PTH123
        set_stdout(monkeypatch, stdout)
        made = Pipe(stdout, read_end)
        yield made
        made.stop_reading()


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Standard output without a descriptor."""
    buffer = io.BytesIO()
    set_stdout(monkeypatch, io.TextIOWrapper(buffer, encoding="ascii"))
    return buffer


def messages(written: bytes) -> list[JSON]:
    assert written.endswith(b"\n")
    return [json.loads(line) for line in written.splitlines()]


def read_in_background(pipe: Pipe) -> tuple[threading.Thread, list[bytes]]:
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(pipe.read_all()))
    thread.start()
    return thread, read


def end(pipe: Pipe, thread: threading.Thread, read: list[bytes]) -> bytes:
    """Close standard output, and return what arrived."""
    pipe.stdout.close()
    thread.join(30)
    return read[0]


# Pipes, files, devices.


@pytest.mark.parametrize("is_blocking", [True, False])
@pytest.mark.parametrize("size", [1, PAGE, PAGE + 1, 300_000])
def test_a_full_pipe_gets_everything_in_the_end(
    pipe: Pipe,
    size: int,
    is_blocking: bool,  # noqa: FBT001
) -> None:
    os.set_blocking(pipe.stdout.fileno(), is_blocking)
    data = bytes(range(256)) * (size // 256 + 1)
    thread, read = read_in_background(pipe)
    write_completely(data[:size])
    assert end(pipe, thread, read) == data[:size]


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_write_that_takes_only_a_part_is_continued(
    pipe: Pipe,
    is_blocking: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    os.set_blocking(pipe.stdout.fileno(), is_blocking)
    write = os.write
    turns = iter([3, 0, None, 5, 1] + [None, 7] * 100)

    def write_a_part(descriptor: int, data: bytes) -> int:
        size = next(turns)
        if size is None:
            raise BlockingIOError
        return write(descriptor, data[:size]) if size else 0

    monkeypatch.setattr(os, "write", write_a_part)
    write_completely(b"0123456789" * 20)
    assert os.read(pipe.descriptor, PAGE) == b"0123456789" * 20


class Poll:
    """A poll that finds a descriptor ready only the third time."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def register(self, *watched: int) -> None:
        self.calls.append(watched)

    def poll(self, milliseconds: int) -> list[tuple[int, int]]:
        self.calls.append((milliseconds,))
        return [] if len(self.calls) < 4 else [(0, 0)]


def test_a_wait_has_steps_in_which_signals_are_handled(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = Poll()
    sizes: list[int] = []
    write = os.write

    def write_and_note(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(select, "poll", lambda: poll)
    monkeypatch.setattr(os, "write", write_and_note)
    write_completely(b"x" * (2 * select.PIPE_BUF + 1))
    watched = (pipe.stdout.fileno(), select.POLLOUT)
    assert poll.calls == [watched, *[(200,)] * 5]
    assert sizes == [select.PIPE_BUF, select.PIPE_BUF, 1]


def test_what_a_text_layer_holds_comes_first(pipe: Pipe) -> None:
    pipe.stdout.write("before ")
    write_completely(b"after")
    assert os.read(pipe.descriptor, PAGE) == b"before after"


def test_a_file_takes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="utf-8") as stdout:
        set_stdout(monkeypatch, stdout)
        write_completely(b"x" * 300_000)
        write_completely(b"y")
    assert path.read_bytes() == b"x" * 300_000 + b"y"


def test_a_stream_without_a_descriptor_takes_everything(captured: io.BytesIO) -> None:
    write_completely(b"x" * 300_000)
    assert captured.getvalue() == b"x" * 300_000


def test_a_closed_pipe_ends_the_process_as_the_target_explains_why(pipe: Pipe) -> None:
    pipe.stop_reading()
    writer = Writer()
    writer.write({"type": "STATE", "value": {}})
    with pytest.raises(SystemExit) as ended:
        writer.flush()
    assert ended.value.code == 141
    writer.write({"type": "STATE", "value": {}})
    writer.flush()
    assert writer.is_broken


def test_a_full_disk_is_an_error_after_which_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, captured: io.BytesIO
) -> None:
    writer = Writer()
    with open("/dev/full", "w", encoding="utf-8") as stdout:  # noqa: PTH123
        set_stdout(monkeypatch, stdout)
        writer.write_record("calls", RECORD, None)
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    assert writer.is_broken
    set_stdout(monkeypatch, io.TextIOWrapper(captured, encoding="ascii"))
    writer.write({"type": "STATE", "value": {}})
    writer.write_message(StateMessage(value={}))
    writer.flush()
    assert captured.getvalue() == b"", "a state beyond lost records"


# Messages.


def test_a_record(captured: io.BytesIO) -> None:
    writer = Writer()
    writer.write_record("calls", RECORD, None)
    writer.write_record("calls", RECORD, 5)
    writer.flush()
    first, second = messages(captured.getvalue())
    assert list(first) == ["type", "stream", "record", "time_extracted"]
    assert (first["type"], first["stream"], first["record"]) == (
        "RECORD",
        "calls",
        RECORD,
    )
    extracted = datetime.fromisoformat(first["time_extracted"])
    assert abs(datetime.now(UTC) - extracted) < timedelta(minutes=5)
    assert second["version"] == 5


def test_records_are_kept_back_until_another_message(captured: io.BytesIO) -> None:
    writer = Writer()
    for _ in range(10):
        writer.write_record("calls", RECORD, None)
    assert captured.getvalue() == b""
    writer.write_message(StateMessage(value={"a": 1}))
    types = [message["type"] for message in messages(captured.getvalue())]
    assert types == ["RECORD"] * 10 + ["STATE"]
    writer.flush()
    assert len(messages(captured.getvalue())) == 11


def test_no_more_than_64_kib_are_kept_back(captured: io.BytesIO) -> None:
    writer = Writer()
    for _ in range(1_000):
        writer.write_record("calls", {"comment": "x" * 1_000}, None)
    missing = 1_000 - len(messages(captured.getvalue()))
    assert 0 < missing < 70
    writer.flush()
    assert len(messages(captured.getvalue())) == 1_000


@pytest.mark.parametrize("size", [0, 100_000])
def test_a_message_that_cannot_be_encoded_leaves_nothing_behind(
    captured: io.BytesIO, size: int
) -> None:
    writer = Writer()
    writer.write_record("calls", {"id": 1}, None)
    with pytest.raises(UnicodeEncodeError):
        writer.write_record("calls", {"a": "x" * size, "b": SURROGATE}, None)
    with pytest.raises(UnicodeEncodeError):
        writer.write({"type": "STATE", "value": {SURROGATE: 1}})
    writer.write_record("calls", {"id": 2}, None)
    writer.flush()
    written = messages(captured.getvalue())
    assert [message["record"]["id"] for message in written] == [1, 2]
    assert writer.record_counts == {"calls": 2}


def test_records_are_counted_by_stream(captured: io.BytesIO) -> None:
    writer = Writer()
    for stream in ("a", "b", "a"):
        writer.write_record(stream, RECORD, None)
    assert writer.record_counts == {"a": 2, "b": 1}
    assert captured.getvalue() == b""


# States.


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(writer_module, "time", clock)
    return clock


class States:
    """Counts the states that were written."""

    def __init__(self, captured: io.BytesIO, clock: Clock, took: float = 0) -> None:
        self.captured = captured
        self.value: JSON = {"a": 0}
        self.writer = Writer()

        def state() -> JSON:
            clock.now += took
            return self.value

        self.states = StateWriter(self.writer, state)
        self.states.is_changed = True

    @property
    def written(self) -> list[JSON]:
        text = self.captured.getvalue()
        found = messages(text) if text else []
        return [message["value"] for message in found if message["type"] == "STATE"]


def test_the_last_state_is_written_also_if_it_is_the_same(
    captured: io.BytesIO, clock: Clock
) -> None:
    states = States(captured, clock)
    states.states.write_if_due()
    states.writer.write_record("calls", RECORD, None)
    states.states.write_now()
    assert states.written == [{"a": 0}, {"a": 0}]
    assert messages(captured.getvalue())[-1]["type"] == "STATE"


def test_states_are_at_least_a_second_apart(captured: io.BytesIO, clock: Clock) -> None:
    states = States(captured, clock)
    numbers = []
    for number in range(30):
        states.value = {"a": number}
        states.states.is_changed = True
        states.states.write_if_due()
        if states.written[-1] == states.value:
            numbers.append(number)
        clock.now += 0.25
    assert numbers == list(range(0, 30, 4))


def test_a_state_that_did_not_change_is_not_written(
    captured: io.BytesIO, clock: Clock
) -> None:
    states = States(captured, clock)
    for _ in range(3):
        states.states.write_if_due()
        clock.now += 10
    assert len(states.written) == 1
    StateWriter(states.writer, lambda: {"a": 2}).write_state()
    assert len(states.written) == 1, "nothing is new to begin with"


def test_large_states_take_a_twentieth_of_the_time(
    captured: io.BytesIO, clock: Clock
) -> None:
    states = States(captured, clock, took=0.5)
    states.states.write_if_due()
    clock.now += 9.9
    states.value = {"a": 1}
    states.states.is_changed = True
    states.states.write_if_due()
    assert len(states.written) == 1
    clock.now += 0.1
    states.states.write_if_due()
    assert len(states.written) == 2
    states.value = {"a": 2}
    states.states.write_now()
    assert len(states.written) == 3, "the last one is written in any case"
