"""Which requests the uploads of a counter take, and which of them are emitted."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tap_metrika_calls.api import limits
from tap_metrika_calls.api.client import Page
from tap_metrika_calls.api.endpoints import CALLS
from tap_metrika_calls.api.errors import (
    FatalError,
    MetrikaError,
    OutageError,
    RejectedError,
    TransientError,
    UnavailableError,
    UnknownUploadError,
)
from tap_metrika_calls.output.lines import GroupedLines
from tap_metrika_calls.sync import reader as reader_module
from tap_metrika_calls.sync import selection
from tap_metrika_calls.sync.reader import CounterReader, ReadOptions
from tap_metrika_calls.sync.records import RecordDecoder
from tap_metrika_calls.sync.selection import CounterSelection
from tap_metrika_calls.sync.state import Context, FullRead, Partition
from tap_metrika_calls.timestamps import format_time

if t.TYPE_CHECKING:
    from tap_metrika_calls.api.client import MetrikaClient
    from tests.support import JSON

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TYPES = {
    "id": "integer",
    "create_time": "date-time",
    "status": "string",
    "type": "string",
}
PAGE = 10


def upload(number: int, hours: float = 1, status: str = "PROCESSED") -> JSON:
    created = format_time(NOW - timedelta(hours=hours))
    return {"id": number, "create_time": created, "status": status}


class Client:
    """Responds from a list of uploads, when a response is awaited."""

    parallel = 2

    def __init__(self, *listed: JSON, hidden: t.Iterable[JSON] = ()) -> None:
        self.listed = list(listed)
        self.known = {row["id"]: row for row in (*listed, *hidden)}
        self.requested: list[str] = []
        self.failures: dict[int, MetrikaError] = {}
        self.waiting: dict[Future[t.Any], t.Callable[[], object]] = {}
        self.now = datetime(1, 1, 1, tzinfo=UTC)  # until the first response

    def submit(self, function: t.Any, *args: t.Any) -> Future[t.Any]:
        future: Future[t.Any] = Future()
        self.waiting[future] = lambda: function(*args)
        return future

    def wait(self, future: Future[t.Any]) -> t.Any:
        for each in list(self.waiting):  # in the order of the requests
            if not each.cancelled():
                call = self.waiting.pop(each)
                try:
                    each.set_result(call())
                except MetrikaError as error:
                    each.set_exception(error)
            if each is future:
                break
        return future.result()

    def uploads(self, kind: object, counter_id: int, offset: int, limit: int) -> Page:
        assert (kind, counter_id) == (CALLS, 7)
        self.requested.append(f"{offset}+{limit}")
        self.now = NOW
        rows = self.listed[offset : offset + limit]
        return Page([msgspec.Raw(json.dumps(row).encode()) for row in rows], limit)

    def upload(self, kind: object, counter_id: int, upload_id: int) -> msgspec.Raw:
        assert (kind, counter_id) == (CALLS, 7)
        self.requested.append(f"id {upload_id}")
        self.now = NOW
        if upload_id in self.failures:
            raise self.failures[upload_id]
        if upload_id not in self.known:
            msg = "unknown"
            raise UnknownUploadError(msg)
        return msgspec.Raw(json.dumps(self.known[upload_id]).encode())


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPLOADS_PER_PAGE", PAGE)
    monkeypatch.setattr(limits, "QUIET_PAGE_ROWS", 5)
    monkeypatch.setattr(limits, "LAST_PAGE_ROWS", 3)
    monkeypatch.setattr(selection, "MAX_IDS_BY_ID", 3)
    monkeypatch.setattr(reader_module, "MAX_PENDING_BY_ID", 4)


def reader_of(
    client: Client,
    *ids: int,
    whole: bool = False,
    last: Partition | None = None,
    is_incremental: bool = True,
    **options: t.Any,
) -> CounterReader:
    config = {"lookup": "auto", "in_flight_days": 21}
    return CounterReader(
        ReadOptions(
            t.cast("MetrikaClient", client),
            RecordDecoder(TYPES, GroupedLines()),
            CALLS,
            config | options,
            is_incremental=is_incremental,
        ),
        CounterSelection(7, whole, ids),
        last or Partition(Context(7)),
    )


def left(reader: CounterReader) -> Partition:
    """The state of the counter after the sync."""
    assert reader.bookmark is not None
    return reader.bookmark.partition(is_complete=not reader.stopped_early)


def ids_of(reader: CounterReader) -> list[int]:
    """All IDs that a reader yields, in order."""
    ids = [row.id or 0 for page in reader for row in page]
    assert len(ids) == len(set(ids))
    reader.cancel()
    return ids


def drain(reader: CounterReader, ids: list[int]) -> None:
    """Note all IDs that a reader yields, also if it fails in the end."""
    for page in reader:
        ids += [row.id or 0 for row in page]


def remembered(
    hours: float, *in_flight: int, read_at: float | None = None
) -> Partition:
    """What the last sync left; with the time of a full read if there was one."""
    full_read = None
    if read_at is not None:
        at = format_time(NOW - timedelta(hours=read_at))
        full_read = FullRead(at, at)
    return Partition(
        Context(7),
        "create_time",
        format_time(NOW - timedelta(hours=hours)),
        in_flight=list(in_flight),
        full_read=full_read,
    )


# Configured IDs.


def test_a_few_are_requested_by_id() -> None:
    client = Client(upload(1), upload(2), upload(3))
    reader = reader_of(client, 1, 3, 2)
    assert ids_of(reader) == [1, 3, 2]
    assert client.requested == ["id 1", "id 3", "id 2"]
    assert (reader.seen, reader.pages, reader.stopped_early) == (3, 0, False)


def test_more_are_looked_up_in_the_list_and_the_rest_by_id() -> None:
    client = Client(*map(upload, (4, 3, 2, 1)), hidden=[upload(9)])
    reader = reader_of(client, 1, 2, 8, 9)
    assert ids_of(reader) == [2, 1, 9]
    assert reader.unknown_ids == [8]
    assert client.requested == ["0+10", "3+10", "id 8", "id 9"]


@pytest.mark.parametrize("count", [1, 9])
def test_the_lookup_can_be_forced(count: int) -> None:
    rows = [upload(number) for number in range(1, count + 1)]
    ids = tuple(row["id"] for row in rows)
    client = Client(*rows)
    assert sorted(ids_of(reader_of(client, *ids, lookup="by_id"))) == list(ids)
    assert client.requested == [f"id {number}" for number in ids]
    client = Client(*rows)
    assert sorted(ids_of(reader_of(client, *ids, lookup="list"))) == list(ids)
    assert client.requested == ["0+10"]


def test_a_list_is_read_only_until_all_is_found() -> None:
    client = Client(*map(upload, range(1, 101)))
    assert ids_of(reader_of(client, 1, 2, 11, 12)) == [1, 2, 11, 12]
    assert client.requested == ["0+10", "9+10"]
    short = Client(*map(upload, range(1, 9)))
    assert ids_of(reader_of(short, 1, 2, 3, 8)) == [1, 2, 3, 8]
    assert short.requested == ["0+10"], "whether it goes on is not asked ahead"


@pytest.mark.parametrize("lookup", ["auto", "list"])
def test_auto_never_takes_more_than_twice_the_requests_of_the_cheaper_way(
    lookup: str,
) -> None:
    client = Client(*map(upload, range(1, 1_001)))
    ids = (900, 901, 902, 903)
    assert ids_of(reader_of(client, *ids, lookup=lookup)) == list(ids)
    by_list = [text for text in client.requested if "+" in text]
    by_id = [text for text in client.requested if "+" not in text]
    if lookup == "auto":
        assert (len(by_list), len(by_id)) == (4, 4)
    else:
        assert (len(by_list), len(by_id)) == (101, 0)


def test_configured_ids_leave_no_bookmark() -> None:
    last = remembered(5, 1)
    for ids in ((1,), (1, 2, 3, 4)):
        client = Client(*(upload(n, hours=1, status="MATCHED") for n in ids))
        reader = reader_of(client, *ids, last=last)
        assert sorted(ids_of(reader)) == list(ids)
        assert reader.bookmark is None
        assert reader.lost_ids == [], "what is in flight is another day's business"


def test_damaged_rows_of_a_list_cost_no_configured_id() -> None:
    client = Client(upload(1))
    client.listed = [{"id": None}, {"id": "x"}, upload(1)]
    assert ids_of(reader_of(client, 1, lookup="list")) == [1]


def test_a_failing_id_is_passed_over() -> None:
    client = Client(*map(upload, range(1, 10)))
    client.failures = {2: OutageError("two"), 3: OutageError("three")}
    reader = reader_of(client, *range(1, 6), lookup="by_id")
    ids: list[int] = []
    with pytest.raises(OutageError, match="two"):
        drain(reader, ids)
    assert len(client.requested) == 5


def test_two_failing_ids_in_a_row_are_passed_over_again_and_again() -> None:
    client = Client(*map(upload, range(1, 10)))
    client.failures = {n: OutageError(str(n)) for n in (1, 2, 4, 5, 7, 8)}
    ids: list[int] = []
    with pytest.raises(OutageError, match=r"^1$"):
        drain(reader_of(client, *range(1, 10), lookup="by_id"), ids)
    assert ids == [3, 6, 9]


@pytest.mark.parametrize("between", [None, UnknownUploadError("unknown")])
def test_three_failing_ids_in_a_row_fail_the_counter(
    between: MetrikaError | None,
) -> None:
    client = Client(*map(upload, range(1, 30)))
    client.failures = {n: OutageError(str(n)) for n in (2, 3, 5, 6, 7)}
    if between is not None:
        client.failures[4] = between
    reader = reader_of(client, *range(1, 30), lookup="by_id")
    ids: list[int] = []
    with pytest.raises(OutageError, match=r"^2$"):
        drain(reader, ids)
    assert ids == ([1] if between else [1, 4])
    assert len(client.requested) < 20
    assert reader.unknown_ids == ([4] if between else [])


@pytest.mark.parametrize("kind", [UnavailableError, RejectedError])
def test_a_counter_that_the_api_refuses_is_not_asked_for_each_id(
    kind: type[MetrikaError],
) -> None:
    client = Client(*map(upload, range(1, 30)))
    client.failures = {n: kind("refused") for n in range(2, 30)}
    reader = reader_of(client, *range(1, 30), lookup="by_id")
    ids: list[int] = []
    with pytest.raises(kind):
        drain(reader, ids)
    assert ids == [1]
    assert len(client.requested) <= 2 * client.parallel


def test_what_was_under_way_when_everything_stopped_is_yielded() -> None:
    client = Client(*map(upload, range(1, 30)))
    client.failures = {n: FatalError("stop") for n in (2, *range(6, 30))}
    ids: list[int] = []
    with pytest.raises(FatalError, match="stop"):
        drain(reader_of(client, *range(1, 10), lookup="by_id"), ids)
    assert ids == [1, 3, 4, 5]


@pytest.mark.parametrize("row", [{"status": "MATCHED"}, {"id": None}, {"id": "5"}])
def test_a_response_without_an_id_gets_the_one_requested(row: JSON) -> None:
    client = Client()
    client.known[5] = row
    assert ids_of(reader_of(client, 5)) == [5]


def test_a_response_about_another_upload_is_no_response() -> None:
    client = Client(upload(6))
    client.known[5] = upload(6)
    with pytest.raises(OutageError, match="upload 5"):
        ids_of(reader_of(client, 5))


def test_requests_run_ahead_but_not_without_bound() -> None:
    client = Client(*map(upload, range(1, 30)))
    reader = reader_of(client, *range(1, 30), lookup="by_id")
    assert len(client.waiting) == 2 * client.parallel
    pages = iter(reader)
    next(pages)
    assert len(client.waiting) <= 2 * client.parallel


# Whole counters.


def test_a_whole_counter_is_read_to_its_end_and_its_ids_besides() -> None:
    rows = [upload(n, hours=n) for n in range(1, 13)]
    client = Client(*rows, hidden=[upload(77), upload(5, hours=5)])
    reader = reader_of(client, 3, 77, 88, whole=True)
    assert ids_of(reader) == [*range(1, 13), 77]
    assert client.requested == ["0+10", "9+10", "11+10", "id 77", "id 88"]
    assert reader.unknown_ids == [88]
    assert (reader.seen, reader.pages) == (13, 3)
    partition = left(reader)
    assert partition.replication_key_value == rows[0]["create_time"]


def test_the_first_request_is_sent_at_once() -> None:
    client = Client()
    reader_of(client, whole=True)
    reader_of(client, 1, 2)
    assert len(client.waiting) == 3


def test_a_quiet_sync_emits_the_last_hour_and_what_was_in_flight() -> None:
    rows = [upload(n, hours=n / 2) for n in range(1, 21)]
    client = Client(*rows)
    reader = reader_of(client, whole=True, last=remembered(2, 15, 18))
    assert ids_of(reader) == [1, 2, 3, 4, 5, 6, 15, 18]
    assert reader.lost_ids == []
    assert reader.seen == 20


def test_configured_ids_of_a_whole_counter_are_emitted_whatever_the_state_says() -> (
    None
):
    client = Client(*(upload(n, hours=n) for n in range(1, 10)))
    reader = reader_of(client, 8, whole=True, last=remembered(1))
    assert 8 in ids_of(reader)


def test_without_incremental_replication_everything_is_emitted() -> None:
    client = Client(*(upload(n, hours=n) for n in range(1, 21)))
    last = remembered(1, 5, 99, read_at=1)
    reader = reader_of(client, whole=True, last=last, is_incremental=False)
    assert ids_of(reader) == list(range(1, 21))
    assert client.requested[0] == "0+10", "no quiet page"
    assert reader.lost_ids == []


def test_start_date_filters_whole_counters_but_no_ids() -> None:
    client = Client(*(upload(n, hours=n) for n in range(1, 10)))
    start = NOW - timedelta(hours=3)
    assert ids_of(reader_of(client, 8, whole=True, start_date=format_time(start))) == [
        1,
        2,
        3,
        8,
    ]
    assert ids_of(reader_of(client, 8, start_date=format_time(start))) == [8]


def test_an_empty_counter_leaves_the_state_as_it_was() -> None:
    last = remembered(1, 5, read_at=1)
    client = Client()
    reader = reader_of(client, whole=True, last=last)
    assert ids_of(reader) == []
    assert left(reader) is last
    assert client.requested == ["0+5"]
    assert reader.lost_ids == [], "an empty response proves nothing"


def test_the_clock_is_that_of_the_first_response() -> None:
    client = Client(upload(1, hours=24 * 20, status="MATCHED"))
    reader = reader_of(client, whole=True)
    assert ids_of(reader) == [1]
    partition = left(reader)
    assert partition.replication_key_value == format_time(NOW - timedelta(days=20))
    assert partition.in_flight == [1]


def test_rows_without_a_valid_id_fail_the_counter_in_the_end() -> None:
    client = Client(upload(1), upload(2))
    client.listed.insert(1, {"id": "x"})
    ids: list[int] = []
    with pytest.raises(RejectedError, match="1 upload without a valid ID"):
        drain(reader_of(client, 2, 99, whole=True), ids)
    assert ids == [1, 2]


def test_a_failing_list_yields_what_was_received() -> None:
    class Failing(Client):
        def uploads(
            self, kind: object, counter_id: int, offset: int, limit: int
        ) -> Page:
            if offset:
                msg = "list"
                raise OutageError(msg)
            return super().uploads(kind, counter_id, offset, limit)

    client = Failing(*(upload(n, hours=n) for n in range(1, 30)))
    ids: list[int] = []
    with pytest.raises(OutageError, match="list"):
        drain(reader_of(client, whole=True), ids)
    assert ids == list(range(1, 11))


# Early stop.


def long_list(newest: float = 0) -> list[JSON]:
    """200 uploads, newest first, one every half an hour."""
    return [upload(n, hours=newest + n / 2) for n in range(1, 201)]


def test_a_long_list_in_order_is_left_early_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(*long_list())
    first = reader_of(client, whole=True)
    assert len(ids_of(first)) == 200
    assert not first.stopped_early
    client.requested.clear()
    second = reader_of(client, whole=True, last=left(first))
    assert ids_of(second) == [1, 2, 3]
    assert client.requested == ["0+5", "4+10"]
    assert second.stopped_early
    monkeypatch.setattr(limits, "QUIET_PAGE_ROWS", 8)
    client.requested.clear()
    third = reader_of(client, whole=True, last=left(second))
    assert ids_of(third) == [1, 2, 3]
    assert client.requested == ["0+8"]


def test_what_is_in_flight_behind_an_early_stop_is_requested_by_id() -> None:
    client = Client(*long_list())
    client.known[150]["status"] = "MATCHED"
    last = remembered(0.5, 150, 160, 999, read_at=0.5)
    reader = reader_of(client, whole=True, last=last)
    assert ids_of(reader) == [1, 2, 3, 150, 160]
    assert client.requested == ["0+5", "4+10", "id 150", "id 160", "id 999"]
    assert reader.lost_ids == [999]
    assert reader.unknown_ids == []
    assert left(reader).in_flight == [150]


def test_while_many_are_in_flight_the_list_is_read_on() -> None:
    client = Client(*long_list())
    pending = (50, 60, 70, 80, 90)
    reader = reader_of(client, whole=True, last=remembered(0.5, *pending, read_at=0.5))
    assert ids_of(reader) == [1, 2, 3, *pending]
    assert reader.stopped_early
    by_id = [text for text in client.requested if "id" in text]
    assert by_id == ["id 60", "id 70", "id 80", "id 90"], "no more than are allowed"
    assert reader.pages == 6


def test_an_id_in_flight_that_nobody_knows_is_lost_without_a_failure() -> None:
    client = Client(*(upload(n, hours=n) for n in range(1, 3)))
    reader = reader_of(client, whole=True, last=remembered(5, 2, 98, 99))
    assert ids_of(reader) == [1, 2]
    assert reader.lost_ids == [98, 99]
    assert client.requested == ["0+10", "id 98", "id 99"]


def test_thousands_that_were_not_listed_are_not_requested_one_by_one() -> None:
    client = Client(*(upload(n, hours=n) for n in range(1, 3)))
    lost = tuple(range(1_000, 3_000))
    reader = reader_of(client, 2_500, whole=True, last=remembered(5, *lost))
    assert ids_of(reader) == [1, 2]
    assert client.requested == ["0+10", "id 2500"]
    assert reader.unknown_ids == [2_500]
    assert reader.lost_ids == sorted({*lost} - {2_500})


def test_a_list_out_of_order_is_read_to_its_end() -> None:
    rows = long_list()
    rows[2], rows[150] = rows[150], rows[2]
    client = Client(*rows)
    reader = reader_of(client, whole=True, last=remembered(0.5, read_at=48))
    ids = ids_of(reader)
    assert not reader.stopped_early
    assert set(ids) >= set(range(1, 99)), "all since the last full read"
    assert left(reader).full_read is None


def test_cancelling_drops_the_requests_of_the_list() -> None:
    client = Client(*long_list())
    reader = reader_of(client, whole=True)
    reader.cancel()
    assert all(future.cancelled() for future in client.waiting)


def test_a_transient_error_is_never_seen_here() -> None:
    assert not issubclass(TransientError, OutageError)
