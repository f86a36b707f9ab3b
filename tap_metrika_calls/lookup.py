"""What one counter is asked, with the fewest requests."""

from __future__ import annotations

import typing as t
from array import array
from collections import deque
from itertools import islice

from tap_metrika_calls.answers import Fields, fields, usable_id
from tap_metrika_calls.client import UPLOADINGS_LIMIT
from tap_metrika_calls.errors import (
    CounterError,
    MetrikaError,
    UploadingUnknownError,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from msgspec import Raw

    from tap_metrika_calls.client import MetrikaClient
    from tap_metrika_calls.settings import Wanted


class Cancellable(t.Protocol):
    """What is under way and may be called off."""

    def cancel(self) -> object:
        """Call it off, as far as it has not begun."""


_Item = t.TypeVar("_Item")
_Made = t.TypeVar("_Made", bound=Cancellable)

A_HANDFUL = 10
# A page without news is possible while uploads arrive, but not again and again.
MOST_BARREN_PAGES = 3


class Ahead(t.Generic[_Item, _Made]):
    """Makes things in order, a bounded number of them before they are taken."""

    def __init__(
        self, make: Callable[[_Item], _Made], items: Iterable[_Item], depth: int
    ) -> None:
        self._make = make
        self._items = iter(items)
        self._made = deque(make(item) for item in islice(self._items, depth))

    def __iter__(self) -> Iterator[_Made]:
        """Take what is made, and make the next."""
        while self._made:
            made = self._made.popleft()
            self._made.extend(self._make(item) for item in islice(self._items, 1))
            yield made

    def stop(self) -> None:
        """Make nothing more; what is made can still be taken."""
        self._items = iter(())

    def cancel(self) -> None:
        """Make nothing more, and call off what is made and not taken."""
        self.stop()
        for made in self._made:
            made.cancel()


class Lookup:
    """The uploads wanted of one counter; the first questions are asked at once.

    Iterating gives the uploads as the API sent them, page by page, each once.

    Attributes:
        wanted: What is wanted of the counter.
        missing: IDs that the API does not know; complete after the last page.
        refused: How many uploads came that no usable ID could be read of.
    """

    def __init__(self, client: MetrikaClient, wanted: Wanted, method: str) -> None:
        self.wanted = wanted
        self.missing: list[int] = []
        self.refused = 0
        self._client = client
        self._ids = dict.fromkeys(wanted.uploading_ids)
        self._by_price = method == "auto" and not wanted.whole
        by_list = method == "list" or len(self._ids) > A_HANDFUL
        self._page: Future[list[Raw]] | None = None
        self._by_id: Ahead[int, Future[Fields]] | None = None
        if wanted.whole or (by_list and method != "by_id"):
            self._page = self._ask_page(0)
        else:
            self._by_id = self._ask_by_id()

    def __iter__(self) -> Iterator[dict[int, Fields]]:
        """Read the list, if that is the way, then what it lacks by ID.

        Raises:
            CounterError: If the counter cannot be read; so not the others.
            MetrikaError: If the sync has to stop.
        """
        if self._page is not None:
            yield from self._listed()
        by_id = self._by_id = self._by_id or self._ask_by_id()
        failure: MetrikaError | None = None
        for uploading_id, answer in zip(self._ids, by_id, strict=False):
            try:
                yield {uploading_id: self._client.wait(answer)}
            except UploadingUnknownError:
                self.missing.append(uploading_id)
            except MetrikaError as error:
                # The answers that are under way were paid for with the quota.
                failure = failure or error
                by_id.stop()
        if failure is not None:
            raise failure

    def cancel(self) -> None:
        """Call off the questions that are not sent yet."""
        for asked in (self._page, self._by_id):
            if asked is not None:
                asked.cancel()

    def _listed(self) -> Iterator[dict[int, Fields]]:
        offset = pages = barren = 0
        seen = SeenIds()
        while self._page is not None:
            raws = self._client.wait(self._page)
            page = self._usable(raws)
            had_any = bool(page)
            seen.keep_fresh(page)
            barren = barren + 1 if had_any and not page else 0
            if barren >= MOST_BARREN_PAGES:
                raise CounterError(_endless(self.wanted.counter_id))
            pages += 1
            offset += len(raws)
            found = self._ids.keys() & page.keys()
            for uploading_id in found:
                del self._ids[uploading_id]
            more = len(raws) >= UPLOADINGS_LIMIT and self._is_worth_a_page(pages)
            self._page = self._ask_page(offset) if more else None
            del raws
            if self.wanted.whole:
                yield page
            else:
                yield {key: page[key] for key in page if key in found}

    def _usable(self, raws: list[Raw]) -> dict[int, Fields]:
        page = {}
        for uploading in map(fields, raws):
            uploading_id = usable_id(uploading)
            if uploading_id is None:
                self.refused += 1
            else:
                page[uploading_id] = uploading
        return page

    def _is_worth_a_page(self, pages: int) -> bool:
        """Whether to read on: a page may cost no more than asking for the rest by ID.

        How long a list is nobody says, so `auto` gives the list as many requests as
        the IDs would have cost: at worst it takes twice the fewest.
        """
        if self.wanted.whole:
            return True
        return pages < len(self._ids) if self._by_price else bool(self._ids)

    def _ask_page(self, offset: int) -> Future[list[Raw]]:
        return self._client.submit(
            self._client.uploadings, self.wanted.counter_id, offset
        )

    def _ask_by_id(self) -> Ahead[int, Future[Fields]]:
        def ask(uploading_id: int) -> Future[Fields]:
            return self._client.submit(
                self._client.uploading, self.wanted.counter_id, uploading_id
            )

        return Ahead(ask, self._ids, 2 * self._client.parallel)


def _endless(counter_id: int) -> str:
    return (
        f"Counter {counter_id} cannot be read: the API sends the same list of uploads "
        "again and again. Run the sync again later; if it stays so, ask the support of "
        "Yandex Metrica."
    )


class SeenIds:
    """The IDs of the pages so far: uploads that arrive while paging move others on.

    A page is kept as an array of eight bytes an ID, and compared only with the pages
    whose range of IDs overlaps its own: of a list in the order of time, with none.
    """

    def __init__(self) -> None:
        self._pages: list[tuple[int, int, array[int]]] = []

    def keep_fresh(self, page: dict[int, Fields]) -> None:
        """Take out of a page what came on a page before."""
        if not page:
            return
        low, high = min(page), max(page)
        for other_low, other_high, others in self._pages:
            if low <= other_high and other_low <= high:
                for uploading_id in page.keys() & set(others):
                    del page[uploading_id]
        self._pages.append((low, high, array("q", page)))
