"""Reading a list whose rows may move while it is read.

An offset is a position, and positions move: a deleted row lets every later one come up.
So each page after the first begins with the last row received so far, which shows that
nothing was passed over.
"""

from __future__ import annotations

import typing as t
from array import array

from tap_metrika_calls.api import limits
from tap_metrika_calls.api.errors import RejectedError
from tap_metrika_calls.api.prefetch import MAX_PAGES_AHEAD

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import msgspec

    from tap_metrika_calls.api.client import MetrikaClient, Page
    from tap_metrika_calls.sync.records import Row

MAX_FUTILE_PAGES = 4  # in a row
UNREADABLE = (
    "the list changes too much to be read, or is the same at every offset. Run the "
    "sync again later; if it stays so, ask the support of Yandex Metrica"
)

# IDs in eight bytes each, and the lowest and the highest of them.
SeenPage: t.TypeAlias = tuple[int, int, "array[int]"]
_Row = t.TypeVar("_Row", bound="Row")


class ListReader(t.Generic[_Row]):
    """Reads one list; the first page is requested at once.

    Attributes:
        pages: How many pages were received.
        invalid_ids: How many rows had no valid ID.
        is_complete: Whether the end of the list was reached.
    """

    def __init__(
        self,
        client: MetrikaClient,
        request: Callable[[int, int], Page],
        decode: Callable[[msgspec.Raw], _Row],
        *,
        limit: int,
        first_limit: int | None = None,
    ) -> None:
        """Request the first page.

        Args:
            client: Runs the requests in the background.
            request: Requests a page of an offset and a number of rows.
            decode: Makes a row of what the API sent.
            limit: How many rows to request.
            first_limit: How many rows to request of the first page, which is looked at
                before the next request; without it, a first page that is not full is
                followed by the next request at once. The same as `limit`: each page is
                looked at before the next request.
        """
        self.pages = 0
        self.invalid_ids = 0
        self.is_complete = False
        self._client = client
        self._request = request
        self._decode = decode
        self._limit = limit
        self._is_eager = first_limit is None
        max_ahead = 1 if first_limit == limit else MAX_PAGES_AHEAD
        self._max_ahead = min(client.parallel, max_ahead)
        self._ahead: dict[int, Future[Page]] = {}
        self._ahead[0] = client.submit(self._first_page, first_limit or limit)

    def read(
        self, is_enough: Callable[[list[_Row]], bool] = lambda _: False
    ) -> Iterator[list[_Row]]:
        """Yield the rows of each page, each row once.

        Args:
            is_enough: Called with each page's rows; ends the reading if it says so.

        Raises:
            MetrikaError: If a request failed, or the list moves too much to be read.
        """
        seen: list[SeenPage] = []
        offset = step = futile = full = 0
        while futile < MAX_FUTILE_PAGES:
            page = self._client.wait(self._ahead.pop(offset))
            self.pages += 1
            self._limit = page.limit if page.is_smaller else self._limit
            rows = [self._decode(raw) for raw in page.rows]
            fresh = unseen(rows, seen)
            if self.pages == 1 or (rows and (not offset or rows[0].id not in fresh)):
                if fresh:
                    seen.append((min(fresh), max(fresh), array("q", fresh)))
                self.invalid_ids += sum(row.id is None for row in rows[offset > 0 :])
                self.is_complete = len(rows) < min(limits.LAST_PAGE_ROWS, page.limit)
                full = full + 1 if len(rows) == page.limit else 0
                step = len(rows) - 1
                offset += step
                if is_enough(list(fresh.values())) or self.is_complete:
                    self.cancel()
                    yield list(fresh.values())
                    return
            else:
                fresh = {}
                offset = max(0, offset - step)
            futile = 0 if fresh else futile + 1
            self._request_ahead(offset, step, min(full, self._max_ahead))
            del page, rows
            yield list(fresh.values())
            del fresh  # before the next page is decoded
        raise RejectedError(UNREADABLE)

    def cancel(self) -> None:
        """Drop the requests that are not sent yet."""
        for page in list(self._ahead.values()):
            page.cancel()

    def _request_ahead(self, offset: int, step: int, count: int) -> None:
        """Request the next page, and after full pages some more behind it."""
        wanted = [offset + k * step for k in range(max(1, count))]
        for wrong in self._ahead.keys() - set(wanted):
            self._ahead.pop(wrong).cancel()
        for position in wanted:
            if position not in self._ahead:
                page = self._client.submit(self._request, position, self._limit)
                self._ahead[position] = page

    def _first_page(self, limit: int) -> Page:
        """Request the first page and, where it is not full, at once the next one."""
        page = self._request(0, limit)
        rows = len(page.rows)
        if self._is_eager and limits.LAST_PAGE_ROWS <= rows < page.limit:
            self._ahead[rows - 1] = self._client.submit(
                self._request, rows - 1, self._limit
            )
        return page


def unseen(rows: list[_Row], seen: list[SeenPage]) -> dict[int, _Row]:
    """Return the rows that have a valid ID and were not received before, by ID.

    A page is compared only with those pages whose range of IDs overlaps its own: in a
    list in the order of time, with its neighbors.
    """
    page = {row.id: row for row in rows if row.id is not None}
    lowest, highest = min(page, default=0), max(page, default=0)
    for low, high, ids in seen:
        if lowest <= high and low <= highest:
            for known in page.keys() & set(ids):
                del page[known]
    return page
