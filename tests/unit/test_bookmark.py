"""How far a bookmark moves: each branch, and each boundary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tap_metrika_calls.bookmark import FINAL, STATUSES, Bookmark, normal_form

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAIT = timedelta(days=21)
TICK = timedelta(microseconds=1)
UNFINISHED = ["PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "UNHEARD_OF", "", None]


def ago(days: float) -> datetime:
    """An instant before now."""
    return NOW - timedelta(days=days)


def bookmark_of(value: str | None = None, floor: str | None = None) -> dict[str, str]:
    """The state of a partition, as a bookmark writes it."""
    state = {"context": "is not looked at", "replication_key": "create_time"}
    if value is not None:
        state["replication_key_value"] = value
    if floor is not None:
        state["start_date"] = floor
    return state


def day(number: int) -> datetime:
    """A day of February."""
    return datetime(2026, 2, number, tzinfo=UTC)


def resumed(
    state: dict[str, str], start_date: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """From where a bookmark goes on, and its floor."""
    bookmark = Bookmark.resume(state, start_date, NOW, WAIT)
    assert (bookmark.now, bookmark.unsettled) == (NOW, WAIT)
    assert bookmark.stuck == []
    assert bookmark.state() == {}
    return bookmark.start, bookmark.floor


def moved(bookmark: Bookmark) -> str | None:
    """The value that a bookmark leaves behind."""
    return bookmark.state().get("replication_key_value")


def test_what_is_final_and_what_is_known() -> None:
    assert {"PROCESSED", "LINKAGE_FAILURE"} == FINAL
    assert FINAL | {"PREPARED", "UPLOADED", "EXPORTED", "MATCHED"} == STATUSES


# From where it goes on.


def test_a_new_counter_is_read_from_its_start() -> None:
    assert resumed({}) == (None, None)
    assert resumed({}, day(5)) == (day(5), day(5))


def test_it_goes_on_from_the_last_bookmark() -> None:
    assert resumed(bookmark_of("2026-02-10T00:00:00Z")) == (day(10), None)
    floored = bookmark_of("2026-02-10T00:00:00Z", "2026-02-05T00:00:00Z")
    assert resumed(floored, day(5)) == (day(10), day(5))


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
    start, _ = resumed(bookmark_of(value))
    assert start == day(10)
    assert start.tzinfo is UTC
    assert resumed(bookmark_of("2026-02-20", value), day(10))[1] == day(10)


@pytest.mark.parametrize("floor", [None, "2026-02-05T00:00:00Z"])
def test_a_bookmark_in_the_future_counts_as_none(floor: str | None) -> None:
    at_now = bookmark_of(normal_form(NOW), floor)
    assert resumed(at_now, day(5))[0] == NOW
    ahead = bookmark_of(normal_form(NOW + TICK), floor)
    assert resumed(ahead) == (None, None)
    assert resumed(ahead, day(5)) == (day(5), day(5))


def test_start_date_moved_back_reads_from_there() -> None:
    state = bookmark_of("2026-02-20T00:00:00Z", "2026-02-10T00:00:00Z")
    assert resumed(state, day(10)) == (day(20), day(10))
    assert resumed(state, day(10) - TICK) == (day(10) - TICK, day(10) - TICK)
    assert resumed(state, day(1)) == (day(1), day(1))


def test_start_date_removed_reads_all_unless_all_was_read() -> None:
    state = bookmark_of("2026-02-20T00:00:00Z", "2026-02-10T00:00:00Z")
    assert resumed(state, None) == (None, None)
    assert resumed(bookmark_of("2026-02-20T00:00:00Z"), None) == (day(20), None)


def test_start_date_moved_on_short_of_the_bookmark_changes_nothing() -> None:
    state = bookmark_of("2026-02-20T00:00:00Z", "2026-02-10T00:00:00Z")
    for start_date in (day(15), day(20)):
        assert resumed(state, start_date) == (day(20), day(10))
    for start_date in (day(15), day(20)):
        assert resumed(bookmark_of("2026-02-20"), start_date) == (day(20), None)


def test_start_date_moved_on_behind_the_bookmark_leaves_a_gap_open() -> None:
    state = bookmark_of("2026-02-20T00:00:00Z", "2026-02-10T00:00:00Z")
    later = day(20) + TICK
    assert resumed(state, later) == (later, later)
    assert resumed(bookmark_of("2026-02-20"), later) == (later, later)


def test_a_floor_without_a_bookmark_is_no_bookmark() -> None:
    state = bookmark_of(None, "2026-02-10T00:00:00Z")
    assert resumed(state) == (None, None)
    assert resumed(state, day(15)) == (day(15), day(15))


def test_a_gap_is_read_once_start_date_goes_back() -> None:
    first = Bookmark.resume({}, None, NOW, WAIT)
    first.saw(1, day(10), "PROCESSED")
    second = Bookmark.resume(first.state(), day(15), NOW, WAIT)
    second.saw(2, day(20), "PROCESSED")
    assert second.state()["start_date"] == "2026-02-15T00:00:00Z"
    assert resumed(second.state(), day(15)) == (day(20), day(15))
    assert resumed(second.state(), day(12)) == (day(12), day(12))
    assert resumed(second.state(), None) == (None, None)


# What is emitted.


def test_without_a_start_everything_is_wanted() -> None:
    bookmark = Bookmark(NOW, WAIT)
    for created in (None, datetime.min.replace(tzinfo=UTC), NOW, NOW + WAIT):
        assert bookmark.wants(created)


def test_what_shares_the_instant_of_the_start_is_wanted() -> None:
    bookmark = Bookmark(NOW, WAIT, start=day(10))
    assert bookmark.wants(day(10) + TICK)
    assert bookmark.wants(day(10))
    assert not bookmark.wants(day(10) - TICK)
    assert bookmark.wants(None)


def test_instants_are_compared_whatever_their_zone() -> None:
    bookmark = Bookmark(NOW, WAIT, start=day(10))
    west = timezone(timedelta(hours=-5.5))
    assert bookmark.wants(day(10).astimezone(west))
    assert not bookmark.wants((day(10) - TICK).astimezone(west))


# How far it moves.


def test_it_moves_to_the_newest() -> None:
    bookmark = Bookmark(NOW, WAIT)
    for number, days in enumerate((3, 1, 2)):
        bookmark.saw(number, ago(days), "PROCESSED")
    assert bookmark.state() == {
        "replication_key": "create_time",
        "replication_key_value": "2026-02-28T12:00:00Z",
    }


def test_it_moves_to_what_was_seen_even_below_its_start() -> None:
    bookmark = Bookmark(NOW, WAIT, start=day(10))
    bookmark.saw(1, day(5), "PROCESSED")
    assert moved(bookmark) == "2026-02-05T00:00:00Z"


def test_it_stays_where_nothing_was_seen() -> None:
    bookmark = Bookmark(NOW, WAIT, start=day(10), floor=day(5))
    assert bookmark.state() == {}
    bookmark.saw(1, None, "PROCESSED")
    bookmark.saw(2, None, "MATCHED")
    assert bookmark.state() == {}
    assert bookmark.stuck == []


def test_without_a_time_nothing_holds_it_back() -> None:
    bookmark = Bookmark(NOW, timedelta(0))
    bookmark.saw(1, None, "MATCHED")
    bookmark.saw(2, ago(1), "PROCESSED")
    assert moved(bookmark) == normal_form(ago(1))
    assert bookmark.stuck == []


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_status_holds_nothing_back(status: str) -> None:
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(1, ago(30), status)
    bookmark.saw(2, ago(2), status)
    bookmark.saw(3, ago(1), status)
    assert moved(bookmark) == normal_form(ago(1))
    assert bookmark.stuck == []


@pytest.mark.parametrize("status", UNFINISHED)
def test_it_waits_for_the_oldest_in_flight(status: str | None) -> None:
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(1, ago(5), "PROCESSED")
    for number, days in enumerate((3, 4, 2), 2):
        bookmark.saw(number, ago(days), status)
    bookmark.saw(5, ago(1), "PROCESSED")
    assert moved(bookmark) == normal_form(ago(4))
    assert bookmark.stuck == []


def test_one_in_flight_is_newest_and_oldest() -> None:
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(1, ago(1), "MATCHED")
    assert moved(bookmark) == normal_form(ago(1))


def test_equal_instants_wait_for_each_other() -> None:
    for statuses in (("MATCHED", "PROCESSED"), ("PROCESSED", "MATCHED")):
        bookmark = Bookmark(NOW, WAIT)
        for number, status in enumerate(statuses):
            bookmark.saw(number, ago(1), status)
        assert moved(bookmark) == normal_form(ago(1))
        assert Bookmark(NOW, WAIT, start=ago(1)).wants(ago(1))


@pytest.mark.parametrize(
    ("age", "is_stuck"),
    [(WAIT - TICK, False), (WAIT, True), (WAIT + TICK, True)],
)
def test_an_upload_is_given_up_at_an_exact_age(age: timedelta, is_stuck: bool) -> None:  # noqa: FBT001
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(7, NOW - age, "MATCHED")
    bookmark.saw(8, ago(1), "PROCESSED")
    assert bookmark.stuck == ([7] if is_stuck else [])
    assert moved(bookmark) == normal_form(ago(1) if is_stuck else NOW - age)


def test_the_stuck_are_told_in_order_and_each_bookmark_has_its_own() -> None:
    bookmark = Bookmark(NOW, WAIT)
    for number, days in ((9, 40), (3, 30), (5, 50), (4, 1)):
        bookmark.saw(number, ago(days), None)
    assert bookmark.stuck == [9, 3, 5]
    assert moved(bookmark) == normal_form(ago(1))
    assert Bookmark(NOW, WAIT).stuck == []


def test_one_stuck_alone_still_moves_it() -> None:
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(1, ago(30), "MATCHED")
    assert moved(bookmark) == normal_form(ago(30))


def test_with_no_days_to_wait_nothing_holds_it_back() -> None:
    bookmark = Bookmark(NOW, timedelta(0))
    bookmark.saw(1, ago(1), "PREPARED")
    bookmark.saw(2, NOW, "PREPARED")
    assert bookmark.stuck == [1, 2]
    assert moved(bookmark) == normal_form(NOW)


def test_it_never_passes_the_beginning_of_the_sync() -> None:
    for created, value in ((NOW - TICK, NOW - TICK), (NOW, NOW), (NOW + TICK, NOW)):
        bookmark = Bookmark(NOW, WAIT)
        bookmark.saw(1, ago(1), "PROCESSED")
        bookmark.saw(2, created, "PROCESSED")
        assert moved(bookmark) == normal_form(value)


@pytest.mark.parametrize("unsettled", [timedelta(0), WAIT])
def test_an_upload_of_the_future_is_never_stuck(unsettled: timedelta) -> None:
    bookmark = Bookmark(NOW, unsettled)
    bookmark.saw(1, NOW + TICK, "MATCHED")
    assert bookmark.stuck == []
    assert moved(bookmark) == normal_form(NOW)
    bookmark.saw(2, NOW - TICK, "PROCESSED")
    assert moved(bookmark) == normal_form(NOW)


def test_a_bookmark_clamped_to_now_can_be_resumed() -> None:
    bookmark = Bookmark(NOW, WAIT)
    bookmark.saw(1, NOW + WAIT, "PROCESSED")
    assert resumed(bookmark.state()) == (NOW, None)


def test_the_floor_is_handed_on() -> None:
    bookmark = Bookmark(NOW, WAIT, start=day(20), floor=day(10))
    bookmark.saw(1, day(20), "PROCESSED")
    assert bookmark.state() == {
        "replication_key": "create_time",
        "replication_key_value": "2026-02-20T00:00:00Z",
        "start_date": "2026-02-10T00:00:00Z",
    }
    assert resumed(bookmark.state(), day(10)) == (day(20), day(10))


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00Z"),
        (datetime(2026, 1, 31, 1, 2, 3, 40, tzinfo=UTC), "2026-01-31T01:02:03.000040Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_the_normal_form_is_utc_with_z(instant: datetime, written: str) -> None:
    assert normal_form(instant) == written
