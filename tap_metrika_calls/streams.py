"""What is extracted: uploads of calls, conversions and chats, and the counters."""

from __future__ import annotations

import typing as t

from typing_extensions import override

from tap_metrika_calls.api.endpoints import CALLS, CHATS, CONVERSIONS
from tap_metrika_calls.base_stream import MetrikaStream, UploadsStream

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record


class CallsUploadingsStream(UploadsStream):
    """Uploads of calls, also by their IDs."""

    name = "calls_uploadings"
    kind = CALLS
    selected_by_default = True


class ConversionsUploadingsStream(UploadsStream):
    """Uploads of conversions."""

    name = "conversions_uploadings"
    kind = CONVERSIONS


class ChatsUploadingsStream(UploadsStream):
    """Uploads of chats."""

    name = "chats_uploadings"
    kind = CHATS


class CountersStream(MetrikaStream):
    """The counters that the token has access to, whose names make a report readable."""

    name = "counters"
    primary_keys = ("id",)
    selected_by_default = False
    reports_others = False  # the API documents far more fields of a counter

    @override
    def read(self) -> Iterator[Record]:
        for raw in self.run.counters.values():
            yield self.decoder.record(self.decoder.decode(raw), {})
        self.run.failures.has_read = True


STREAMS: tuple[type[MetrikaStream], ...] = (
    CallsUploadingsStream,
    ChatsUploadingsStream,
    ConversionsUploadingsStream,
    CountersStream,
)
