"""What a sync emits of a counter, and what it leaves for the next: each boundary."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tap_metrika_calls.sync import bookmark as bookmark_module
from tap_metrika_calls.sync.bookmark import FINAL_STATUSES, HELD, STATUSES, Bookmark
from tap_metrika_calls.sync.state import Context, FullRead, Partition
from tap_metrika_calls.timestamps import format_time, parse_time

if t.TYPE_CHECKING:
    from tap_metrika_calls.sync.records import UploadRow

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LAST_READ = datetime(2026, 2, 27, tzinfo=UTC)
IN_FLIGHT = ["PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "UNHEARD_OF", "", None]


@dataclass
class Row:
    id: int | None
    create_time: datetime | None
    status: str | None = "PROCESSED"
    type: str | None = None


def day(number: int) -> datetime:
    """A day of February."""
    return datetime(2026, 2, number, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def partition_of(
    value: datetime | str | None = None,
    *,
    start: datetime | None = None,
    in_flight: tuple[int, ...] = (),
    read_at: datetime | None = None,
    read_bookmark: datetime | None = None,
) -> Partition:
    """What the last sync left; with the time of a full read if there was one."""
    full_read = None
    if read_at is not None:
        full_read = FullRead(
            format_time(read_at), format_time(read_bookmark or read_at)
        )
    text = format_time(value) if isinstance(value, datetime) else value
    return Partition(
        Context(7),
        replication_key="create_time" if text else None,
        replication_key_value=text,
        start_date=format_time(start) if start else None,
        in_flight=list(in_flight),
        full_read=full_read,
    )


def resume(
    last: Partition | None = None,
    start_date: datetime | None = None,
    *,
    now: datetime = NOW,
    days: int = 21,
) -> Bookmark:
    return Bookmark(
        last or partition_of(), now=now, start_date=start_date, in_flight_days=days
    )


def observe(bookmark: Bookmark, *rows: Row) -> bool:
    """Observe a page, and track what is emitted of it."""
    uploads = t.cast("list[UploadRow]", rows)
    is_enough = bookmark.observe_page(uploads)
    for row in uploads:
        if bookmark.includes(row):
            bookmark.track(row)
    return is_enough


def includes(bookmark: Bookmark, created: datetime | None) -> bool:
    return bookmark.includes(t.cast("UploadRow", Row(1, created)))


def left(bookmark: Bookmark, *, is_complete: bool = True) -> Partition:
    return bookmark.partition(is_complete=is_complete)


def value_of(bookmark: Bookmark) -> datetime | None:
    return parse_time(left(bookmark).replication_key_value)


def long_list(*, newest: datetime = NOW, count: int = 100) -> list[Row]:
    """Uploads newest first, one a minute."""
    return [Row(n, newest - timedelta(minutes=n)) for n in range(1, count + 1)]


def test_what_is_final_and_what_is_known() -> None:
    assert {"PROCESSED", "LINKAGE_FAILURE"} == FINAL_STATUSES
    assert FINAL_STATUSES | {"PREPARED", "UPLOADED", "EXPORTED", "MATCHED"} == STATUSES


# What is emitted.


def test_a_new_counter_is_read_from_its_start() -> None:
    bookmark = resume()
    for created in (None, datetime.min.replace(tzinfo=UTC), NOW, NOW + DAY):
        assert includes(bookmark, created)


def test_a_new_counter_is_read_from_the_start_date() -> None:
    bookmark = resume(start_date=day(5))
    assert includes(bookmark, day(5))
    assert not includes(bookmark, day(5) - TICK)
    assert includes(bookmark, None)


def test_an_hour_before_the_bookmark_is_emitted_again() -> None:
    bookmark = resume(partition_of(day(10)))
    assert includes(bookmark, day(10) - HOUR)
    assert not includes(bookmark, day(10) - HOUR - TICK)
    assert includes(bookmark, None)


@pytest.mark.parametrize(
    ("start", "floor"),
    [
        (day(10) - HOUR - TICK, day(10) - HOUR),
        (day(10) - HOUR / 2, day(10) - HOUR / 2),
        (day(10), day(10)),
    ],
)
def test_the_hour_does_not_reach_behind_the_start_date(
    start: datetime, floor: datetime
) -> None:
    bookmark = resume(partition_of(day(10), start=start), start)
    assert includes(bookmark, floor)
    assert not includes(bookmark, floor - TICK)


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-10T03:00:00+03:00",
        "2026-02-09T18:30:00-05:30",
        "2026-02-10T00:00:00",
        "2026-02-10",
    ],
)
def test_a_bookmark_is_an_instant_in_any_zone(value: str) -> None:
    bookmark = resume(partition_of(value))
    assert includes(bookmark, day(10) - HOUR)
    assert not includes(bookmark, day(10) - HOUR - TICK)


def from_start(last: Partition, start_date: datetime | None) -> bool:
    """Whether a counter is read from its start, or from the start date."""
    bookmark = resume(last, start_date)
    old = start_date or datetime.min.replace(tzinfo=UTC)
    return includes(bookmark, old)


def test_a_bookmark_in_the_future_counts_as_none() -> None:
    at_now = resume(partition_of(NOW))
    assert not at_now.lines
    assert not includes(at_now, day(1))
    ahead = resume(partition_of(NOW + TICK))
    assert includes(ahead, day(1))
    assert ahead.lines == [
        "the bookmark lies in the future, so the counter was read from its start"
    ]


def test_a_start_date_that_moved_back_reads_from_there() -> None:
    last = partition_of(day(20), start=day(10))
    assert not from_start(last, day(10))
    assert from_start(last, day(10) - TICK)
    assert from_start(last, day(1))
    assert from_start(last, None)
    assert left(resume(last, day(1))) is last, "nothing was received"


def test_a_start_date_past_the_last_full_read_reads_from_there() -> None:
    last = partition_of(day(20), read_at=day(20), read_bookmark=day(10))
    starts = {}
    for start in (day(9), day(11)):
        bookmark = resume(last, start)
        observe(bookmark, Row(1, day(21)))
        starts[start] = left(bookmark).start_date
    assert starts[day(9)] is None
    # It is remembered, so that a full read goes back once it is removed.
    assert starts[day(11)] == format_time(day(11))


def test_without_a_start_date_all_was_read() -> None:
    assert not from_start(partition_of(day(20)), None)
    assert not from_start(partition_of(day(20)), day(15))
    assert not from_start(partition_of(day(20)), day(19))


def test_a_start_date_that_moved_past_the_bookmark_reads_from_there() -> None:
    last = partition_of(day(20), start=day(10))
    later = day(20) + TICK
    bookmark = resume(last, later)
    observe(bookmark, Row(1, day(25)))
    assert left(bookmark).start_date == format_time(later), "the gap is not forgotten"
    assert from_start(left(bookmark), day(15))


def test_a_start_date_that_moved_short_of_the_bookmark_changes_nothing() -> None:
    last = partition_of(day(20), start=day(10))
    for start_date in (day(15), day(19)):
        bookmark = resume(last, start_date)
        assert not includes(bookmark, day(19) + HOUR)
        observe(bookmark, Row(1, day(25)))
        assert left(bookmark).start_date == format_time(day(10))


def test_a_start_date_without_a_bookmark_is_no_bookmark() -> None:
    assert from_start(partition_of(None, start=day(10)), None)
    assert from_start(partition_of(None, start=day(10)), day(15))


# How far it moves.


def test_it_moves_to_the_newest() -> None:
    bookmark = resume()
    observe(bookmark, *(Row(n, ago(n)) for n in (3, 1, 2)))
    assert value_of(bookmark) == ago(1)
    partition = left(bookmark)
    assert partition.replication_key == "create_time"
    assert partition.context.counter_id == 7


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_an_upload_in_flight_does_not_hold_it_back(status: str | None) -> None:
    bookmark = resume()
    observe(bookmark, Row(1, ago(3), status), Row(2, ago(1)))
    partition = left(bookmark)
    assert partition.replication_key_value == format_time(ago(1))
    assert partition.in_flight == [1]


def test_an_upload_without_a_time_hides_none_behind_it() -> None:
    bookmark = resume()
    observe(bookmark, Row(1, ago(2)), Row(2, None), Row(3, ago(1)))
    assert value_of(bookmark) == ago(1)


def test_it_never_moves_back() -> None:
    bookmark = resume(partition_of(day(20)))
    observe(bookmark, Row(1, day(20) - HOUR))
    assert value_of(bookmark) == day(20)


def test_it_never_passes_the_clock_of_the_sync() -> None:
    for created, value in ((NOW - TICK, NOW - TICK), (NOW, NOW), (NOW + TICK, NOW)):
        bookmark = resume()
        observe(bookmark, Row(1, ago(1)), Row(2, created))
        assert value_of(bookmark) == value
        assert not resume(left(bookmark)).lines


def test_it_moves_over_what_is_not_emitted() -> None:
    bookmark = resume(start_date=day(10))
    observe(bookmark, Row(1, day(5)))
    assert value_of(bookmark) == day(5)


def test_a_sync_that_received_nothing_leaves_the_state_as_it_was() -> None:
    last = partition_of(day(20), start=day(10), in_flight=(1, 2), read_at=day(19))
    for is_complete in (True, False):
        bookmark = resume(last, day(10))
        assert not observe(bookmark)
        assert bookmark.partition(is_complete=is_complete) is last


def test_uploads_without_a_time_alone_leave_no_bookmark() -> None:
    bookmark = resume()
    observe(bookmark, Row(1, None, "MATCHED"), Row(2, None))
    assert left(bookmark).replication_key_value is None
    last = partition_of(day(20))
    bookmark = resume(last)
    observe(bookmark, Row(1, None))
    partition = bookmark.partition(is_complete=True)
    assert partition.replication_key_value == format_time(day(20))


# What is in flight.


@pytest.mark.parametrize("status", sorted(FINAL_STATUSES))
def test_a_final_status_is_not_in_flight(status: str) -> None:
    bookmark = resume(partition_of(ago(9), in_flight=(1,)))
    observe(bookmark, Row(1, ago(3), status), Row(2, ago(1), status))
    assert left(bookmark).in_flight == []
    assert bookmark.lines == []


def test_what_is_requested_by_id_is_tracked_too() -> None:
    bookmark = resume(partition_of(ago(1), in_flight=(1, 2)))
    observe(bookmark, Row(3, ago(0.5)))
    bookmark.track(t.cast("UploadRow", Row(1, ago(5), "MATCHED")))
    bookmark.track(t.cast("UploadRow", Row(2, ago(5), "PROCESSED")))
    assert left(bookmark).in_flight == [1]


def test_without_a_time_or_an_id_nothing_is_tracked() -> None:
    bookmark = resume()
    observe(bookmark, Row(1, None, "MATCHED"), Row(None, ago(1), "MATCHED"))
    assert left(bookmark).in_flight == []
    assert bookmark.lines == []


@pytest.mark.parametrize("days", [0, 1, 21])
def test_an_upload_expires_at_an_exact_age(days: int) -> None:
    for age, is_expired in (
        (timedelta(days=days) - TICK, False),
        (timedelta(days=days), True),
        (timedelta(days=days) + TICK, True),
    ):
        bookmark = resume(days=days)
        observe(bookmark, Row(7, NOW - age, "MATCHED"))
        assert left(bookmark).in_flight == ([] if is_expired else [7])
        assert [line[-3:] for line in bookmark.lines] == [": 7"] * is_expired


def test_an_upload_of_the_future_does_not_expire() -> None:
    bookmark = resume(days=21)
    observe(bookmark, Row(1, NOW + DAY, "MATCHED"))
    assert (left(bookmark).in_flight, bookmark.lines) == ([1], [])


def test_what_expired_is_a_line_once() -> None:
    bookmark = resume()
    observe(bookmark, *(Row(n, ago(20 + n), "MATCHED") for n in (0, 1, 2, 3)))
    last = left(bookmark)
    assert bookmark.lines == [
        "3 uploads are still in flight after 21 days and no longer tracked: 1, 2, 3"
    ]
    again = resume(last)
    observe(again, *(Row(n, ago(20 + n), "MATCHED") for n in (0, 1, 2, 3)))
    left(again)
    assert again.lines == []


def test_one_that_expired_is_in_the_singular() -> None:
    bookmark = resume(partition_of(ago(1), in_flight=(5,)))
    bookmark.track(t.cast("UploadRow", Row(5, ago(22), "MATCHED")))
    left(bookmark)
    assert bookmark.lines == [
        "1 upload is still in flight after 21 days and no longer tracked: 5"
    ]


def test_thousands_that_expired_are_counted() -> None:
    bookmark = resume()
    observe(bookmark, *(Row(10**18 + n, ago(30), "MATCHED") for n in range(5_000)))
    left(bookmark)
    (line,) = bookmark.lines
    assert line.startswith("5000 uploads are still in flight")
    assert line.endswith(" and 4980 more")


def test_more_in_flight_than_a_state_holds_holds_the_bookmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bookmark_module, "MAX_IN_FLIGHT", 3)
    rows = [Row(n, ago(n), "MATCHED") for n in (2, 4, 3)]
    bookmark = resume()
    observe(bookmark, Row(9, ago(9)), *rows, Row(1, ago(1)))
    partition = left(bookmark)
    assert partition.replication_key_value == format_time(ago(1))
    assert (sorted(partition.in_flight), bookmark.lines) == ([2, 3, 4], [])
    bookmark = resume()
    observe(bookmark, Row(9, ago(9)), *rows, Row(5, ago(5), ""), Row(1, ago(1)))
    partition = left(bookmark)
    assert partition.replication_key_value == format_time(ago(5))
    assert partition.in_flight == []
    (line,) = bookmark.lines
    assert line == HELD.format(4)
    assert all(includes(resume(partition), row.create_time) for row in rows)
    bookmark = resume()
    observe(bookmark, *(Row(n, ago(-n), "MATCHED") for n in range(1, 6)))
    assert value_of(bookmark) == NOW, "it is never ahead of the clock"


# Early stop.


def test_a_long_list_that_came_newest_first_is_remembered() -> None:
    bookmark = resume()
    assert not observe(bookmark, *long_list())
    partition = left(bookmark)
    value = NOW - timedelta(minutes=1)
    assert partition.full_read == FullRead(format_time(NOW), format_time(value))
    assert resume(partition).may_stop_early


def test_a_short_list_is_not() -> None:
    bookmark = resume()
    observe(bookmark, *long_list(count=99))
    assert left(bookmark).full_read is None


def test_an_hour_of_disorder_is_none() -> None:
    rows = long_list()
    for late, remembered in ((HOUR, True), (HOUR + TICK, False)):
        bookmark = resume()
        earliest = rows[-1].create_time
        assert earliest is not None
        observe(bookmark, *rows, Row(200, earliest + late))
        assert (left(bookmark).full_read is not None) is remembered


def test_disorder_adds_up_over_the_pages() -> None:
    bookmark = resume()
    observe(bookmark, *long_list())
    observe(bookmark, Row(200, NOW))
    assert left(bookmark).full_read is None


@pytest.mark.parametrize("place", [0, 50, 99])
def test_an_upload_without_a_time_is_disorder(place: int) -> None:
    rows = long_list()
    rows[place].create_time = None
    bookmark = resume()
    observe(bookmark, *rows)
    assert left(bookmark).full_read is None


def early(
    read_at: datetime = LAST_READ, read_bookmark: datetime | None = None
) -> Bookmark:
    """A bookmark at the end of February 27th that may stop early."""
    bookmark = resume(
        partition_of(day(28), read_at=read_at, read_bookmark=read_bookmark)
    )
    assert bookmark.may_stop_early
    return bookmark


def test_it_stops_two_hours_before_the_bookmark() -> None:
    assert not observe(early(), Row(2, day(28) + HOUR), Row(1, day(28) - 2 * HOUR))
    assert observe(early(), Row(2, day(28) + HOUR), Row(1, day(28) - 2 * HOUR - TICK))


def test_a_new_counter_and_a_list_in_another_order_never_stop_early() -> None:
    assert not observe(resume(), *long_list(newest=day(1)))
    assert not observe(resume(partition_of(day(28))), *long_list(newest=day(1)))


@pytest.mark.parametrize(
    "rows",
    [
        [Row(1, day(20)), Row(2, day(28))],
        [Row(1, day(28)), Row(2, None), Row(3, day(20))],
        [Row(1, day(28)), Row(2, day(20)), Row(3, day(20) + HOUR + TICK)],
    ],
    ids=["oldest first", "no time", "out of order"],
)
def test_a_page_out_of_order_reads_the_whole_list(rows: list[Row]) -> None:
    bookmark = early(read_at=day(27), read_bookmark=day(15))
    assert not observe(bookmark, *rows)
    assert not bookmark.may_stop_early
    assert includes(bookmark, day(15) - HOUR), "all since the last full read"
    assert not includes(bookmark, day(15) - HOUR - TICK)
    assert not observe(bookmark, Row(9, day(1)))
    assert left(bookmark).full_read is None


def test_the_order_is_judged_before_the_rows_of_the_page() -> None:
    bookmark = early(read_at=day(27), read_bookmark=day(15))
    rows = [Row(1, day(20)), Row(2, day(28))]
    bookmark.observe_page(t.cast("list[UploadRow]", rows))
    assert includes(bookmark, day(20))


def test_order_is_judged_across_pages_too() -> None:
    bookmark = early(read_at=day(27), read_bookmark=day(15))
    assert not observe(bookmark, Row(1, day(28)), Row(2, day(28) - HOUR))
    assert not observe(bookmark, Row(3, day(28) + HOUR), Row(4, day(20)))
    assert includes(bookmark, day(16))


def test_at_least_every_seven_days_the_list_is_read_whole() -> None:
    week = timedelta(days=7)
    for read_at, is_due in (
        (NOW - week + TICK, False),
        (NOW - week, True),
        (NOW - week - DAY, True),
        (NOW, False),
        (NOW + TICK, True),
    ):
        last = partition_of(day(28), read_at=read_at, read_bookmark=day(15))
        bookmark = resume(last)
        assert bookmark.may_stop_early is not is_due, read_at
        assert includes(bookmark, day(15) - HOUR) is is_due
        assert observe(bookmark, Row(1, day(20))) is not is_due


def test_what_was_passed_over_is_emitted_from_the_start_date_at_most() -> None:
    last = partition_of(day(28), start=day(20), read_at=day(1), read_bookmark=day(10))
    bookmark = resume(last, day(20))
    assert includes(bookmark, day(20))
    assert not includes(bookmark, day(20) - TICK)


def test_an_early_stop_keeps_the_last_full_read() -> None:
    bookmark = early(read_at=day(26), read_bookmark=day(25))
    assert observe(bookmark, Row(2, day(28) + HOUR), Row(1, day(20)))
    partition = left(bookmark, is_complete=False)
    assert partition.full_read == FullRead(format_time(day(26)), format_time(day(25)))
    assert partition.replication_key_value == format_time(day(28) + HOUR)


def test_a_whole_read_replaces_the_last_one() -> None:
    bookmark = early(read_at=day(26), read_bookmark=day(25))
    observe(bookmark, *long_list())
    value = NOW - timedelta(minutes=1)
    expected = FullRead(format_time(NOW), format_time(value))
    assert left(bookmark).full_read == expected


def test_a_list_that_became_short_is_read_whole_from_then_on() -> None:
    bookmark = early()
    observe(bookmark, Row(1, day(28)))
    assert left(bookmark).full_read is None


def test_a_bookmark_that_does_not_hold_forgets_the_full_read() -> None:
    ahead = partition_of(NOW + DAY, read_at=day(27))
    assert not resume(ahead).may_stop_early
    moved = partition_of(day(28), start=day(10), read_at=day(27))
    assert not resume(moved, day(1)).may_stop_early


def test_a_full_read_may_be_required() -> None:
    bookmark = early(read_at=day(27), read_bookmark=day(15))
    bookmark.require_full_read()
    assert not bookmark.may_stop_early
    assert includes(bookmark, day(15) - HOUR)
    assert not observe(bookmark, Row(1, day(1)))
    bookmark = resume(partition_of(day(28)))
    bookmark.require_full_read()
    assert not includes(bookmark, day(27))
