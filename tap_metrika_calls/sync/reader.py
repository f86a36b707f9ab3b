"""The uploads of one counter, with the fewest requests."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import partial

from tap_metrika_calls.api import errors, limits
from tap_metrika_calls.api.prefetch import prefetch
from tap_metrika_calls.output.lines import counted
from tap_metrika_calls.sync.bookmark import Bookmark
from tap_metrika_calls.sync.paging import ListReader
from tap_metrika_calls.sync.state import Partition
from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    import msgspec

    from tap_metrika_calls.api.client import MetrikaClient
    from tap_metrika_calls.api.endpoints import UploadKind
    from tap_metrika_calls.sync.records import RecordDecoder, UploadRow
    from tap_metrika_calls.sync.selection import CounterSelection

MAX_PENDING_BY_ID = 100  # in flight, and not in the part of the list that was read
INVALID_IDS = (
    "{} without a valid ID cannot be loaded; the bookmark stays. Tell the support of "
    "Yandex Metrica"
)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How counters are read, the same for all of a stream.

    Attributes:
        client: The API.
        decoder: Makes rows of what the API sent.
        kind: Where the API serves the uploads.
        config: The settings of the tap.
        is_incremental: Whether the state says where to begin.
    """

    client: MetrikaClient
    decoder: RecordDecoder
    kind: UploadKind
    config: Mapping[str, t.Any]
    is_incremental: bool


class CounterReader:
    """Reads one counter; the first request is sent at once.

    Attributes:
        selection: What is configured.
        bookmark: What is emitted of a whole counter, from the first response on.
        unknown_ids: Configured IDs that the API says are unknown.
        lost_ids: IDs in flight that the API does not know any more.
        seen: How many uploads were received.
    """

    def __init__(
        self, options: ReadOptions, selection: CounterSelection, last: Partition
    ) -> None:
        """Send the first request; `last` is what the last sync left in the state."""
        self.selection = selection
        self.bookmark: Bookmark | None = None
        self.unknown_ids: list[int] = []
        self.lost_ids: list[int] = []
        self.seen = 0
        self._client, self._options = options.client, options
        uses_state = selection.is_whole and options.is_incremental
        self._last = last if uses_state else Partition(last.context)
        self._configured = frozenset(selection.uploading_ids)
        self._pending = dict.fromkeys((*selection.uploading_ids, *self._last.in_flight))
        self._tracked = frozenset(self._pending)
        self._list: ListReader[UploadRow] | None = None
        self._by_id: Iterator[tuple[int, Future[msgspec.Raw]]] = iter(())
        if selection.needs_list(options.config["lookup"]):
            self._list = self._request_list()
        else:
            self._by_id = self._request_by_id()

    @property
    def pages(self) -> int:
        """How many pages of the list were received."""
        return self._list.pages if self._list else 0

    @property
    def stopped_early(self) -> bool:
        """Whether a list was not read to its end, because what follows is known."""
        return self._list is not None and not self._list.is_complete

    def __iter__(self) -> Iterator[list[UploadRow]]:
        """Yield the uploads to emit, page by page, each once.

        Raises:
            MetrikaError: If not all could be read; what was received has been yielded.
        """
        if self._list is not None:
            for page in self._list.read(self._is_enough):
                self.seen += len(page)
                yield self._selected(page)
                del page  # before the next one is decoded
            in_flight = self._pending.keys() - self._configured
            # More than that were not listed, though the list was read to its end.
            if len(in_flight) > MAX_PENDING_BY_ID or not self.seen:
                self.lost_ids = sorted(in_flight) if self.seen else []
                self._pending = dict.fromkeys(self._pending.keys() & self._configured)
            self._by_id = self._request_by_id()
        yield from self._read_by_id()
        if self._list and self._list.invalid_ids and self.selection.is_whole:
            msg = INVALID_IDS.format(counted(self._list.invalid_ids, "upload"))
            raise errors.RejectedError(msg)

    def cancel(self) -> None:
        """Drop the requests that are not sent yet."""
        if self._list is not None:
            self._list.cancel()

    def _request_list(self) -> ListReader[UploadRow]:
        first_limit = None if self.selection.is_whole else limits.UPLOADS_PER_PAGE
        if self._last.full_read is not None:
            first_limit = limits.QUIET_PAGE_ROWS
        request = partial(
            self._client.uploads, self._options.kind, self.selection.counter_id
        )
        return ListReader(
            self._client,
            request,
            self._options.decoder.decode,
            limit=limits.UPLOADS_PER_PAGE,
            first_limit=first_limit,
        )

    def _is_enough(self, page: list[UploadRow]) -> bool:
        """Return whether what follows a page is not worth a request.

        How long a list is nobody says, so `auto` gives it as many requests as the IDs
        would have cost: at worst it takes twice as many as the cheaper way.
        """
        for row in page:
            self._pending.pop(row.id, None)  # type: ignore[arg-type]
        pending, config = len(self._pending), self._options.config
        if not self.selection.is_whole:
            is_auto = config["lookup"] == "auto"
            return not pending or (is_auto and self.pages >= pending)
        if self.bookmark is None:  # it needs the clock of the first response
            self.bookmark = Bookmark(
                self._last,
                now=self._client.now,
                start_date=parse_time(config.get("start_date")),
                in_flight_days=config["in_flight_days"],
            )
        return self.bookmark.observe_page(page) and pending <= MAX_PENDING_BY_ID

    def _selected(self, page: list[UploadRow]) -> list[UploadRow]:
        bookmark = self.bookmark
        if bookmark is None:
            return [row for row in page if row.id in self._configured]
        selected = [r for r in page if bookmark.includes(r) or r.id in self._tracked]
        for row in selected:
            bookmark.track(row)
        return selected

    def _request_by_id(self) -> Iterator[tuple[int, Future[msgspec.Raw]]]:
        """Request the pending uploads, as they are taken; the first ones at once."""
        request = partial(
            self._client.upload, self._options.kind, self.selection.counter_id
        )
        return prefetch(
            list(self._pending),
            lambda upload_id: (upload_id, self._client.submit(request, upload_id)),
            2 * self._client.parallel,
        )

    def _read_by_id(self) -> Iterator[list[UploadRow]]:
        failure: errors.MetrikaError | None = None
        outages = 0
        for upload_id, future in self._by_id:
            try:
                yield [self._row(upload_id, self._client.wait(future))]
                outages = 0
            except errors.UnknownUploadError:
                outages = 0
                is_configured = upload_id in self._configured
                ids = self.unknown_ids if is_configured else self.lost_ids
                ids.append(upload_id)
            except errors.FatalError as error:
                failure = error  # what is under way was paid for with the quota
            except errors.OutageError as error:
                failure = failure or error
                outages += 1
                if outages == limits.MAX_OUTAGES:
                    break
        if failure is not None:
            raise failure

    def _row(self, upload_id: int, raw: msgspec.Raw) -> UploadRow:
        row: UploadRow = self._options.decoder.decode(raw)
        row.id = upload_id if row.id is None else row.id
        if row.id != upload_id:
            msg = f"the response about upload {upload_id} is about another one"
            raise errors.OutageError(msg)
        self.seen += 1
        if self.bookmark is not None:
            self.bookmark.track(row)
        return row
