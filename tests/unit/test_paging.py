"""Reading a list whose rows move while it is read."""

from __future__ import annotations

import typing as t
from array import array
from concurrent.futures import Future
from dataclasses import dataclass

import msgspec
import pytest

from tap_metrika_calls.api import limits
from tap_metrika_calls.api.client import Page
from tap_metrika_calls.api.errors import MetrikaError, OutageError, RejectedError
from tap_metrika_calls.sync.paging import ListReader, SeenPage, unseen

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_metrika_calls.api.client import MetrikaClient

LIMIT = 10
LAST = 4  # only a page with fewer rows can be the last
HUGE = 2**62


@dataclass
class Row:
    id: int | None
    create_time: datetime | None = None


class List:
    """A list of the API, requests of which are responded to when they are awaited.

    Attributes:
        ids: What is listed; 0 stands for a row without a valid ID.
        cap: Most rows of a page.
        requested: Offset and limit of each request that was sent.
        cancelled: Offset of each request that was dropped before it was sent.
        before: Called with the number of each request before it is responded to.
        responses: IDs by offset, each instead of the true response, once.
        smaller: Limit that works, where a larger one comes too late.
    """

    def __init__(self, ids: t.Iterable[int], cap: int = LIMIT) -> None:
        self.ids = list(ids)
        self.cap = cap
        self.requested: list[tuple[int, int]] = []
        self.submitted: list[int] = []
        self.futures: dict[Future[Page], Callable[[], Page]] = {}
        self.before: Callable[[int], object] = lambda _: None
        self.responses: dict[int, list[list[int]]] = {}
        self.smaller: int | None = None
        self.failures: dict[int, MetrikaError] = {}

    def request(self, offset: int, limit: int) -> Page:
        self.before(len(self.requested))
        self.requested.append((offset, limit))
        if offset in self.failures:
            raise self.failures[offset]
        worked = limit if self.smaller is None else min(limit, self.smaller)
        ids = self.ids[offset : offset + min(worked, self.cap)]
        if self.responses.get(offset):
            ids = self.responses[offset].pop(0)
        rows = [msgspec.Raw(str(n).encode()) for n in ids]
        return Page(rows, worked, worked < limit)

    def submit(self, function: Callable[..., Page], *args: t.Any) -> Future[Page]:
        future: Future[Page] = Future()
        self.futures[future] = lambda: function(*args)
        self.submitted.append(args[0] if len(args) > 1 else 0)
        return future

    def wait(self, future: Future[Page]) -> Page:
        """Respond to a request: one by one, and only those that are awaited."""
        if not future.done():
            future.set_result(self.futures[future]())
        return future.result()

    def reader(self, *, parallel: int = 1, **options: t.Any) -> ListReader[Row]:
        self.parallel = parallel
        chosen = {"limit": LIMIT} | options
        client = t.cast("MetrikaClient", self)
        return ListReader(client, self.request, decode, **chosen)

    @property
    def offsets(self) -> list[int]:
        return [offset for offset, _ in self.requested]

    @property
    def dropped(self) -> int:
        return sum(future.cancelled() for future in self.futures)


def decode(raw: msgspec.Raw) -> Row:
    number = int(bytes(raw))
    return Row(number or None)


def read(listed: List, **options: t.Any) -> list[int]:
    """All IDs that a reader yields, in order."""
    reader = listed.reader(**options)
    ids = [row.id for rows in reader.read() for row in rows]
    assert reader.is_complete
    assert reader.pages == len(listed.requested)
    assert None not in ids
    return t.cast("list[int]", ids)


def drain(pages: t.Iterable[list[Row]], ids: list[int | None]) -> None:
    """Note all IDs that are yielded, also if the reading fails in the end."""
    for rows in pages:
        ids += [row.id for row in rows]


@pytest.fixture(autouse=True)
def small_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAST_PAGE_ROWS", LAST)


# Overlap.


@pytest.mark.parametrize(
    ("count", "offsets"),
    [
        (0, [0]),
        (1, [0]),
        (3, [0]),
        (4, [0, 3]),
        (9, [0, 8]),
        (10, [0, 9]),
        (11, [0, 9]),
        (12, [0, 9]),
        (13, [0, 9, 12]),
        (19, [0, 9, 18]),
        (30, [0, 9, 18, 27]),
    ],
)
def test_each_page_begins_with_the_last_row_so_far(
    count: int, offsets: list[int]
) -> None:
    listed = List(range(1, count + 1))
    assert read(listed) == list(range(1, count + 1))
    assert listed.offsets == offsets


@pytest.mark.parametrize("cap", [4, 5, 9])
def test_a_capped_page_is_not_the_last(cap: int) -> None:
    listed = List(range(1, 51), cap)
    assert read(listed) == list(range(1, 51))
    assert listed.offsets[1:3] == [cap - 1, 2 * (cap - 1)]


def test_a_short_page_that_was_asked_for_is_not_the_last() -> None:
    listed = List(range(1, 11))
    assert read(listed, first_limit=2) == list(range(1, 11))
    assert listed.requested == [(0, 2), (1, LIMIT), (9, LIMIT)]


def test_only_the_first_page_may_be_smaller_by_choice() -> None:
    listed = List(range(1, 31))
    assert read(listed, first_limit=5) == list(range(1, 31))
    assert [limit for _, limit in listed.requested] == [5, *[LIMIT] * 4]


# A list that moves.


@pytest.mark.parametrize("place", [0, 5, 9])
@pytest.mark.parametrize("deleted", [1, 2, 9])
def test_deleted_rows_take_no_others_along(place: int, deleted: int) -> None:
    listed = List(range(1, 41))
    gone = listed.ids[place : place + deleted]

    def delete(number: int) -> None:
        if number == 1:
            listed.ids = [n for n in listed.ids if n not in gone]

    listed.before = delete
    ids = read(listed)
    assert set(ids) >= set(listed.ids)
    assert len(ids) == len(set(ids))


def test_after_an_invalid_page_reading_goes_back_by_one_page() -> None:
    listed = List(range(1, 41))

    def delete(number: int) -> None:
        if number == 2:
            del listed.ids[3]

    listed.before = delete
    assert read(listed) == list(range(1, 41))
    assert listed.offsets[:5] == [0, 9, 18, 9, 18]


def test_a_row_may_go_before_each_request() -> None:
    listed = List(range(1, 200))
    listed.before = lambda _: len(listed.ids) > 100 and listed.ids.pop(0)
    ids = read(listed)
    assert set(ids) >= set(listed.ids)


@pytest.mark.parametrize("added", [1, 9, 10, 25])
def test_rows_that_arrive_while_reading_come_once(added: int) -> None:
    listed = List(range(1, 31))

    def add(number: int) -> None:
        if number == 1:
            listed.ids = [*range(100, 100 + added), *listed.ids]

    listed.before = add
    ids = read(listed)
    assert set(ids) >= set(range(1, 31))
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("offset", [9, 18, 27])
def test_an_empty_page_is_not_the_end(offset: int) -> None:
    listed = List(range(1, 31))
    listed.responses[offset] = [[]]
    assert read(listed) == list(range(1, 31))


def test_two_empty_pages_in_a_row_are_not_the_end_either() -> None:
    listed = List(range(1, 31))
    listed.responses = {9: [[]], 0: [list(range(1, 11)), []]}
    try:
        assert read(listed) == list(range(1, 31))
    except RejectedError:
        return  # nothing is taken for complete that is not


def test_a_short_page_of_a_moved_list_is_not_the_end() -> None:
    listed = List(range(1, 31))
    listed.responses[9] = [[20, 21]]
    assert read(listed) == list(range(1, 31))


# What cannot be read.


def failed(listed: List) -> list[int | None]:
    """The IDs yielded before a list is given up."""
    ids: list[int | None] = []
    with pytest.raises(RejectedError, match="changes too much") as error:
        drain(listed.reader().read(), ids)
    assert "\n" not in str(error.value)
    return ids


def test_four_futile_pages_in_a_row_are_the_limit() -> None:
    listed = List(range(1, 31))
    listed.responses[9] = [[]] * 2
    assert failed(listed) == list(range(1, 11))
    assert listed.offsets == [0, 9, 0, 9, 0], "two empty pages, two without news"


def test_three_futile_pages_in_a_row_are_read_over() -> None:
    listed = List(range(1, 31))
    listed.responses = {9: [[], [7, 8, 9, 10]], 12: [[10, *range(11, 20)]]}
    assert read(listed) == list(range(1, 31))


def test_the_same_page_at_every_offset_is_given_up() -> None:
    listed = List([])
    same = [[*range(1, 11)]] * 9
    listed.responses = {offset: list(same) for offset in range(100)}
    assert failed(listed) == list(range(1, 11))
    assert len(listed.requested) == 5


def test_a_failing_request_fails_the_reading_after_what_came_before() -> None:
    listed = List(range(1, 31))
    listed.failures[18] = OutageError("x")
    ids: list[int | None] = []
    reader = listed.reader()
    with pytest.raises(OutageError):
        drain(reader.read(), ids)
    assert ids == list(range(1, 20))
    assert not reader.is_complete


# Rows without an ID.


def test_rows_without_a_valid_id_are_counted_and_not_yielded() -> None:
    listed = List([0, 1, 0, 2, 3, 4])
    reader = listed.reader()
    assert not reader.is_complete
    (first, second) = reader.read()
    assert [row.id for row in first] == [1, 2, 3, 4]
    assert second == []
    assert reader.invalid_ids == 2
    assert reader.is_complete


def test_a_row_without_a_valid_id_may_be_shared_by_two_pages() -> None:
    listed = List([*range(1, 10), 0, *range(10, 21)])
    reader = listed.reader()
    ids = [row.id for rows in reader.read() for row in rows]
    assert ids == list(range(1, 21))
    assert reader.invalid_ids == 1, "one row, received twice"


# Pages ahead.


def test_the_first_page_is_requested_before_reading() -> None:
    listed = List(range(1, 4))
    listed.reader()
    assert listed.submitted == [0]


@pytest.mark.parametrize(("parallel", "ahead"), [(1, 1), (2, 2), (3, 2), (100, 2)])
def test_pages_ahead_are_bounded(parallel: int, ahead: int) -> None:
    listed = List(range(1, 1_001))
    reader = listed.reader(parallel=parallel)
    most = 0
    for _ in reader.read():
        waiting = [f for f in listed.futures if not f.done()]
        most = max(most, len(waiting))
        offsets = [n for n in listed.submitted if n not in listed.offsets]
        assert all(offset % (LIMIT - 1) == 0 for offset in offsets)
    assert most == ahead


def test_pages_ahead_need_a_full_page_for_each() -> None:
    listed = List(range(1, 1_001))
    reading = listed.reader(parallel=3).read()
    counts = []
    for _ in range(4):
        next(reading)
        counts.append(len([f for f in listed.futures if not f.done()]))
    assert counts == [1, 2, 2, 2]


def test_no_more_than_two_requests_lie_beyond_the_end() -> None:
    for count in range(100, 140):
        listed = List(range(1, count + 1))
        assert read(listed, parallel=3) == list(range(1, count + 1))
        beyond = [n for n in listed.submitted if n >= count]
        assert len(beyond) <= 2, count


def test_a_lookup_has_no_pages_ahead() -> None:
    listed = List(range(1, 101))
    reading = listed.reader(parallel=3, first_limit=LIMIT).read()
    for _ in range(5):
        next(reading)
        assert len([f for f in listed.futures if not f.done()]) == 1


@pytest.mark.parametrize("first_limit", [5, LIMIT])
def test_a_first_page_to_look_at_brings_no_request_along(first_limit: int) -> None:
    listed = List(range(1, 5))
    listed.reader(first_limit=first_limit)
    listed.wait(next(iter(listed.futures)))
    assert listed.submitted == [0]


def test_a_capped_list_has_no_pages_ahead() -> None:
    listed = List(range(1, 101), cap=5)
    assert read(listed, parallel=3) == list(range(1, 101))
    assert len(listed.submitted) == len(listed.requested)


def test_requests_at_wrong_offsets_are_dropped() -> None:
    listed = List(range(1, 1_001))
    reader = listed.reader(parallel=3)
    reading = reader.read()
    for _ in range(3):
        next(reading)
    assert listed.dropped == 0
    listed.responses[27] = [list(range(28, 34))]  # a page that is not full
    next(reading)
    assert listed.dropped == 1
    ids = {row.id for rows in reading for row in rows}
    assert ids == set(range(34, 1_001))


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_in_a_list_that_moves(parallel: int, seed: int) -> None:
    import random  # noqa: PLC0415

    chance = random.Random(seed)  # noqa: S311
    listed = List(range(1, 200))
    new = iter(range(1_000, 2_000))

    def move(_: int) -> None:
        if chance.random() < 0.2:
            del listed.ids[chance.randrange(len(listed.ids))]
        if chance.random() < 0.2:
            listed.ids.insert(0, next(new))

    listed.before = move
    ids = read(listed, parallel=parallel)
    assert set(ids) >= {n for n in listed.ids if n < 1_000}
    assert len(ids) == len(set(ids))


def test_a_first_page_that_is_not_full_brings_the_next_request_along() -> None:
    listed = List(range(1, 9))
    reader = listed.reader()
    listed.wait(next(iter(listed.futures)))
    assert listed.submitted == [0, 7], "before the first page is looked at"
    assert [row.id for rows in reader.read() for row in rows] == [*range(1, 9)]
    assert listed.submitted == [0, 7]


@pytest.mark.parametrize("count", [0, 3, 10, 30])
def test_a_full_or_a_last_first_page_brings_none_along(count: int) -> None:
    listed = List(range(1, count + 1))
    listed.reader()
    listed.wait(next(iter(listed.futures)))
    assert listed.submitted == [0]


def test_cancelling_drops_what_is_not_sent() -> None:
    listed = List(range(1, 1_001))
    reader = listed.reader(parallel=3)
    reading = reader.read()
    for _ in range(4):
        next(reading)
    reader.cancel()
    assert listed.dropped == 2
    assert not reader.is_complete


# Smaller pages, and early ends.


def test_a_counter_keeps_the_size_that_worked() -> None:
    listed = List(range(1, 31))
    listed.smaller = 5
    assert read(listed) == list(range(1, 31))
    assert [limit for _, limit in listed.requested] == [LIMIT, *[5] * 7]
    assert listed.offsets[:3] == [0, 4, 8]


def test_what_is_enough_ends_the_reading() -> None:
    listed = List(range(1, 1_001))
    reader = listed.reader(parallel=3)
    told: list[list[int | None]] = []

    def is_enough(rows: list[Row]) -> bool:
        told.append([row.id for row in rows])
        return len(told) == 2

    pages = list(reader.read(is_enough))
    assert [[row.id for row in rows] for rows in pages] == told
    assert told == [[*range(1, 11)], [*range(11, 20)]]
    assert not reader.is_complete
    assert listed.offsets == [0, 9]


def test_enough_on_the_last_page_is_a_whole_list() -> None:
    listed = List([1, 2, 3])
    reader = listed.reader()
    list(reader.read(lambda _: True))
    assert reader.is_complete


# The IDs so far.


def test_seen_ids() -> None:
    seen: list[SeenPage] = []
    for ids, fresh in (
        ([5, 6, 7], [5, 6, 7]),
        ([], []),
        ([1, 2, 5], [1, 2]),
        ([7, 8], [8]),
        ([1, 2, 5, 6, 7, 8], []),
        ([3, 4], [3, 4]),
        ([2, 3], []),
        ([-1, HUGE], [-1, HUGE]),
        ([9, 9], [9]),
    ):
        rows = [Row(number) for number in ids]
        found = unseen(rows, seen)
        assert list(found) == fresh
        if found:
            seen.append((min(found), max(found), array("q", found)))
        assert not unseen(rows, seen)
    assert not unseen([Row(None)], seen)
