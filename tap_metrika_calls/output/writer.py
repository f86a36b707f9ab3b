"""Singer messages on standard output, whole lines only."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
import typing as t
from collections import Counter
from datetime import UTC, datetime

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk.helpers.types import Record
    from singer_sdk.singerlib.messages import Message

BUFFER_BYTES = 2**16
POLL_MILLISECONDS = 200
SIGPIPE_EXIT = 141


class Writer(MsgSpecWriter):
    """Encodes each message completely before any of it is written.

    Records are kept back until another message, a wait, or some 64 KiB of them.

    Attributes:
        record_counts: Number of records written, by stream.
        is_broken: Whether standard output failed; nothing is written after that.
    """

    def __init__(self) -> None:
        """Prepare; standard output is looked up with the first write."""
        self.record_counts: Counter[str] = Counter()
        self.is_broken = False
        self._buffer = bytearray()

    @override
    def write_message(self, message: Message) -> None:
        self.write(message.to_dict())
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_record(self, stream: str, record: Record, version: int | None) -> None:
        """Write a record of a stream, with the version that ACTIVATE_VERSION names."""
        message: dict[str, t.Any] = {
            "type": "RECORD",
            "stream": stream,
            "record": record,
            "time_extracted": datetime.now(UTC),
        }
        if version is not None:
            message["version"] = version
        self.write(message)
        self.record_counts[stream] += 1

    def write(self, message: dict[str, t.Any]) -> None:
        """Write a message, sooner or later."""
        line = encoder.encode(message)  # before any of it is in the buffer
        self._buffer += line
        self._buffer += b"\n"
        if len(self._buffer) >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was kept back.

        Raises:
            OSError: If standard output does not take all of it.
            SystemExit: If the target closed the pipe, which it explains itself.
        """
        if not self._buffer or self.is_broken:
            return
        data, self._buffer = self._buffer, bytearray()
        self.is_broken = True
        try:
            write_completely(data)
        except BrokenPipeError:
            raise SystemExit(SIGPIPE_EXIT) from None
        self.is_broken = False


class StateWriter:
    """Writes STATE messages, not too often: each of them holds every counter.

    Attributes:
        is_changed: Whether there is something new to write.
    """

    def __init__(self, writer: Writer, state: Callable[[], dict[str, t.Any]]) -> None:
        """Prepare; `state` returns the state as it is then."""
        self._writer = writer
        self._state = state
        self._due_at = 0.0
        self.is_changed = False

    def write_state(self, _: object = None) -> None:
        """Write the state if it changed, and what was kept back: after each stream."""
        if self.is_changed:
            self.write_now()
        self._writer.flush()

    def write_if_due(self) -> None:
        """Write the state if it changed, and the last time is a while ago."""
        if time.monotonic() >= self._due_at:
            self.write_state()

    def write_now(self) -> None:
        """Write the state."""
        began = time.monotonic()
        self.is_changed = False
        self._writer.write({"type": "STATE", "value": self._state()})
        self._writer.flush()
        now = time.monotonic()
        self._due_at = now + max(1.0, 20 * (now - began))


def write_completely(data: bytes | bytearray) -> None:
    """Write to standard output, also if it takes only part of the data at a time.

    A pipe that is ready takes PIPE_BUF bytes without blocking, so that signals are
    handled while a target does not read.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation):  # replaced, as in tests
        sys.stdout.buffer.write(data)
        return
    sys.stdout.flush()
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    view = memoryview(data)
    while view:
        if poll.poll(POLL_MILLISECONDS):
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]
