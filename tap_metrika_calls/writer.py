"""Singer messages on standard output, in whole lines and few system calls."""

from __future__ import annotations

import sys
import typing as t
from datetime import UTC, datetime

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.helpers._state import StateWriter
from singer_sdk.singerlib import RecordMessage, StateMessage
from typing_extensions import override

if t.TYPE_CHECKING:
    from singer_sdk.helpers.types import Record, TapState
    from singer_sdk.singerlib.encoding.simple import Message

BUFFER_BYTES = 2**16
SIGPIPE_EXIT = 141


class BufferedWriter(MsgSpecWriter):
    """Keeps records back until the message that needs them, or some 64 KiB.

    Attributes:
        is_writing: Whether a line is half written, so that nothing may be raised now.
        interrupt: What to raise once the line is whole.
    """

    def __init__(self) -> None:
        self.is_writing = False
        self.interrupt: BaseException | None = None
        self._buffer = bytearray()

    @override
    def write_message(self, message: Message) -> None:
        self.is_writing = True
        self._add(message.to_dict())
        if not isinstance(message, RecordMessage):
            self._write_out()
        self._written()

    def write_record(self, stream: str, record: Record, version: int | None) -> None:
        """Write a record that no stream map changes, without a message around it."""
        message: dict[str, t.Any] = {
            "type": "RECORD",
            "stream": stream,
            "record": record,
            "time_extracted": datetime.now(UTC),
        }
        if version is not None:
            message["version"] = version
        self.is_writing = True
        self._add(message)
        self._written()

    def flush(self) -> None:
        """Write out what is kept back."""
        self.is_writing = True
        self._write_out()
        self._written()

    def _add(self, message: dict[str, t.Any]) -> None:
        encoder.encode_into(message, self._buffer, -1)
        self._buffer += b"\n"
        if len(self._buffer) >= BUFFER_BYTES:
            self._write_out()

    def _write_out(self) -> None:
        if not self._buffer:
            return
        try:
            sys.stdout.buffer.write(self._buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # The target went away and has said why: nothing is left to say here.
            raise SystemExit(SIGPIPE_EXIT) from None
        self._buffer.clear()

    def _written(self) -> None:
        self.is_writing = False
        if self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            raise interrupt


class EncodedStateWriter(StateWriter):
    """Compares states by their bytes: the SDK's deep copy of each is far slower."""

    def __init__(self, writer: BufferedWriter) -> None:
        super().__init__(writer)
        self._last = b""

    @override
    def write_state(self, state: TapState) -> None:
        encoded = encoder.encode(state)
        if encoded != self._last:
            self._message_writer.write_message(EncodedState(state))
            self._last = encoded


class EncodedState(StateMessage):
    """A STATE message that is encoded as it is, without a copy."""

    __slots__ = ()

    @override
    def to_dict(self) -> dict[str, t.Any]:
        return {"type": "STATE", "value": self.value}
