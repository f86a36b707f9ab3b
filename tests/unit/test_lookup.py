"""Which questions a lookup asks, and how far ahead."""

from __future__ import annotations

import re
import typing as t
from concurrent.futures import Future

import msgspec
import pytest

from tap_metrika_calls import lookup
from tap_metrika_calls.errors import (
    CounterError,
    MetrikaError,
    UploadingUnknownError,
)
from tap_metrika_calls.lookup import Ahead, Lookup, SeenIds
from tap_metrika_calls.settings import Wanted

if t.TYPE_CHECKING:
    from tap_metrika_calls.client import MetrikaClient

PAGE = 5


class Client:
    """Answers from a list of IDs, and remembers what it was asked."""

    parallel = 2

    def __init__(self, listed: list[int], hidden: tuple[int, ...] = ()) -> None:
        self.listed = listed
        self.known = {*listed, *hidden}
        self.asked: list[str] = []
        self.refuse: dict[int, MetrikaError] = {}

    def submit(self, ask: t.Any, *args: t.Any) -> Future[t.Any]:
        future: Future[t.Any] = Future()
        try:
            future.set_result(ask(*args))
        except MetrikaError as error:
            future.set_exception(error)
        return future

    def wait(self, future: Future[t.Any]) -> t.Any:
        return future.result()

    def uploadings(self, counter_id: int, offset: int) -> list[msgspec.Raw]:
        assert counter_id == 7
        self.asked.append(f"list {offset}")
        page = self.listed[offset : offset + PAGE]
        return [
            msgspec.Raw(b'{"id":%d}' % number if number else b"{}") for number in page
        ]

    def uploading(self, counter_id: int, uploading_id: int) -> dict[str, int]:
        assert counter_id == 7
        self.asked.append(f"id {uploading_id}")
        if uploading_id in self.refuse:
            raise self.refuse[uploading_id]
        if uploading_id not in self.known:
            raise UploadingUnknownError
        return {"id": uploading_id}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "UPLOADINGS_LIMIT", PAGE)
    monkeypatch.setattr(lookup, "A_HANDFUL", 3)


def look_up(
    client: Client, *ids: int, method: str = "auto", whole: bool = False
) -> tuple[list[int], Lookup]:
    """All IDs that a lookup gives, in order."""
    wanted = Wanted(7, whole, ids)
    found = Lookup(t.cast("MetrikaClient", client), wanted, method)
    pages = list(found)
    assert all(fields["id"] == key for page in pages for key, fields in page.items())
    return [key for page in pages for key in page], found


def test_uploads_without_a_usable_id_are_counted() -> None:
    ids, found = look_up(Client([1, 2, 3]), whole=True)
    assert (ids, found.refused) == ([1, 2, 3], 0)
    ids, found = look_up(Client([1, 0, 2, 0, 0, 3, 0]), whole=True)
    assert (ids, found.refused) == ([1, 2, 3], 4)


def test_a_cancelled_lookup_asks_nothing_more() -> None:
    class Slow(Client):
        def submit(self, ask: t.Any, *args: t.Any) -> Future[t.Any]:
            self.asked.append(f"{ask.__name__} {args[1]}")
            return Future()

    client = Slow([])
    for wanted in (Wanted(7), Wanted(7, whole=False, uploading_ids=(1, 2))):
        found = Lookup(t.cast("MetrikaClient", client), wanted, "auto")
        found.cancel()
        assert all(future.cancelled() for future in under_way(found))
    assert client.asked == ["uploadings 0", "uploading 1", "uploading 2"]


def under_way(found: Lookup) -> list[Future[t.Any]]:
    """The questions that a lookup waits for."""
    pages = [] if found._page is None else [found._page]
    by_id = [] if found._by_id is None else list(found._by_id._made)
    assert pages or by_id
    return [*pages, *by_id]


def test_a_handful_is_asked_for_by_id() -> None:
    client = Client([1, 2, 3])
    assert look_up(client, 1, 3, 2)[0] == [1, 3, 2]
    assert client.asked == ["id 1", "id 3", "id 2"]


def test_more_than_a_handful_is_asked_for_by_list_and_the_rest_by_id() -> None:
    client = Client([4, 3, 2, 1], hidden=(9,))
    ids, found = look_up(client, 1, 2, 8, 9)
    assert ids == [2, 1, 9]
    assert found.missing == [8]
    assert client.asked == ["list 0", "id 8", "id 9"]


@pytest.mark.parametrize("count", [1, 9])
def test_the_methods_can_be_forced(count: int) -> None:
    ids = tuple(range(1, count + 1))
    client = Client(list(ids))
    assert sorted(look_up(client, *ids, method="by_id")[0]) == list(ids)
    assert client.asked == [f"id {number}" for number in ids]
    client = Client(list(ids))
    assert sorted(look_up(client, *ids, method="list")[0]) == list(ids)
    assert client.asked == ["list 0", "list 5"][: 1 + count // PAGE]


def test_a_list_is_read_only_until_all_is_found() -> None:
    client = Client(list(range(1, 101)))
    assert look_up(client, 1, 2, 7, 8)[0] == [1, 2, 7, 8]
    assert client.asked == ["list 0", "list 5"]


def test_auto_gives_up_a_list_that_costs_more_than_the_ids() -> None:
    client = Client(list(range(1, 1_001)))
    ids = (900, 901, 902, 903)
    assert look_up(client, *ids)[0] == list(ids)
    assert client.asked == [
        *(f"list {offset}" for offset in (0, 5, 10, 15)),
        *(f"id {number}" for number in ids),
    ]
    client = Client(list(range(1, 1_001)))
    assert look_up(client, 100, method="list")[0] == [100]
    assert client.asked[-1] == "list 95"


def test_a_whole_counter_is_read_to_the_end_and_its_ids_besides() -> None:
    client = Client(list(range(1, 13)), hidden=(77,))
    assert look_up(client, 3, 77, whole=True)[0] == [*range(1, 13), 77]
    assert client.asked == ["list 0", "list 5", "list 10", "id 77"]


def test_an_empty_page_ends_a_list() -> None:
    client = Client(list(range(1, 11)))
    assert look_up(client, whole=True)[0] == list(range(1, 11))
    assert client.asked == ["list 0", "list 5", "list 10"]
    assert look_up(Client([]), whole=True)[0] == []


def test_what_comes_on_two_pages_is_given_once() -> None:
    client = Client([1, 2, 3, 4, 5, 5, 4, 6, 1, 7, 7, 8])
    assert look_up(client, whole=True)[0] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_same_page_again_and_again_is_an_error() -> None:
    client = Client([1, 2, 3, 4, 5] * 10)
    told = (
        "Counter 7 cannot be read: the API sends the same list of uploads again and "
        "again. Run the sync again later; if it stays so, ask the support of Yandex "
        "Metrica."
    )
    with pytest.raises(CounterError, match=f"^{re.escape(told)}$"):
        look_up(client, whole=True)
    assert len(client.asked) == 4


def test_some_pages_without_news_are_read_over() -> None:
    client = Client([1, 2, 3, 4, 5] * 3 + [6, 7, 8, 9, 10] * 3 + [11])
    assert look_up(client, whole=True)[0] == list(range(1, 12))


def test_after_a_failure_the_answers_under_way_are_taken() -> None:
    client = Client(list(range(1, 30)))
    client.refuse = {2: CounterError("closed"), 4: MetrikaError("later")}
    wanted = Wanted(7, whole=False, uploading_ids=tuple(range(1, 20)))
    found = Lookup(t.cast("MetrikaClient", client), wanted, "by_id")
    with pytest.raises(CounterError, match="closed"):
        list(found)
    asked = [key for key in range(1, 20) if f"id {key}" in client.asked]
    assert asked == [1, 2, 3, 4, 5, 6]


def test_ahead_makes_a_bounded_number_in_order() -> None:
    made: list[int] = []

    def make(item: int) -> Future[int]:
        made.append(item)
        future: Future[int] = Future()
        return future

    ahead = Ahead(make, range(10), 3)
    assert made == [0, 1, 2]
    taken = iter(ahead)
    first = next(taken)
    assert made == [0, 1, 2, 3]
    ahead.stop()
    rest = [next(taken)]
    assert made == [0, 1, 2, 3]
    ahead.cancel()
    assert not first.cancelled()
    assert not rest[0].cancelled()
    assert [future.cancelled() for future in taken] == [True, True]


def test_seen_ids_compares_overlapping_pages_only() -> None:
    seen = SeenIds()
    for ids, fresh in (
        ([5, 6, 7], [5, 6, 7]),
        ([], []),
        ([1, 2, 5], [1, 2]),
        ([7, 8], [8]),
        ([1, 2, 5, 6, 7, 8], []),
        ([3, 4], [3, 4]),
        ([2, 3], []),
        ([-1, 2**62], [-1, 2**62]),
    ):
        page: dict[int, dict[str, t.Any]] = {number: {} for number in ids}
        seen.keep_fresh(page)
        assert list(page) == fresh
