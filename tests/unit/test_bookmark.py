"""How far a bookmark may move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tap_metrika_calls.bookmark import Bookmark, normal_form

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
UNSETTLED = timedelta(days=21)
SECOND = timedelta(seconds=1)


def day(number: float) -> datetime:
    """A time in June."""
    return datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=number - 1)


def state_of(value: datetime, start_date: datetime | None = None) -> dict[str, str]:
    """A state as the last sync left it."""
    state = {"replication_key_value": normal_form(value)}
    if start_date is not None:
        state["start_date"] = normal_form(start_date)
    return state


def resumed(
    state: dict[str, str], start_date: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """Where a sync begins, and the start date that it keeps."""
    bookmark = Bookmark.resume(state, start_date, NOW, UNSETTLED)
    return bookmark.start, bookmark.floor


@pytest.mark.parametrize(
    ("state", "start_date", "start", "floor"),
    [
        ({}, None, None, None),
        ({}, day(5), day(5), day(5)),
        (state_of(day(9)), None, day(9), None),
        (state_of(day(9)), day(5), day(9), None),
        (state_of(day(9)), day(9), day(9), None),
        (state_of(day(9)), day(9) + SECOND, day(9) + SECOND, day(9) + SECOND),
        (state_of(day(9), day(5)), day(5), day(9), day(5)),
        (state_of(day(9), day(5)), day(7), day(9), day(5)),
        (state_of(day(9), day(5)), day(5) - SECOND, day(5) - SECOND, day(5) - SECOND),
        (state_of(day(9), day(5)), None, None, None),
        (state_of(day(9), day(5)), day(20), day(20), day(20)),
        (state_of(NOW), None, NOW, None),
        (state_of(NOW + SECOND), None, None, None),
        (state_of(NOW + SECOND, day(5)), day(5), day(5), day(5)),
        ({"replication_key_value": ""}, day(5), day(5), day(5)),
    ],
)
def test_where_a_sync_begins(
    state: dict[str, str],
    start_date: datetime | None,
    start: datetime | None,
    floor: datetime | None,
) -> None:
    assert resumed(state, start_date) == (start, floor)


def test_resume_keeps_the_clock() -> None:
    for state in ({}, state_of(day(9))):
        bookmark = Bookmark.resume(state, None, NOW, UNSETTLED)
        assert (bookmark.now, bookmark.unsettled) == (NOW, UNSETTLED)


def test_what_is_wanted() -> None:
    bookmark = Bookmark(NOW, UNSETTLED, day(9))
    assert bookmark.wants(day(9))
    assert bookmark.wants(day(9) + SECOND)
    assert bookmark.wants(None)
    assert not bookmark.wants(day(9) - SECOND)
    assert Bookmark(NOW, UNSETTLED).wants(datetime.min.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("uploads", "value", "stuck"),
    [
        ([(day(20), "PROCESSED"), (day(25), "LINKAGE_FAILURE")], day(25), []),
        ([(day(25), "PROCESSED"), (day(20), "PROCESSED")], day(25), []),
        ([(day(25), "PROCESSED"), (day(20), "MATCHED")], day(20), []),
        ([(day(20), "MATCHED"), (day(19), "NEW"), (day(25), None)], day(19), []),
        ([(day(19), "NEW"), (day(20), "MATCHED")], day(19), []),
        ([(None, "MATCHED"), (day(25), "PROCESSED")], day(25), []),
        ([(NOW - UNSETTLED, "MATCHED"), (day(25), "PROCESSED")], day(25), [0]),
        (
            [(NOW - UNSETTLED + SECOND, "MATCHED"), (day(25), "PROCESSED")],
            NOW - UNSETTLED + SECOND,
            [],
        ),
        ([(day(1), "MATCHED"), (day(2), "MATCHED")], day(2), [0, 1]),
        ([(day(1), "PROCESSED")], day(1), []),
        ([(NOW + SECOND, "PROCESSED")], NOW, []),
        ([(NOW + SECOND, "MATCHED")], NOW, []),
    ],
)
def test_how_far_it_moves(
    uploads: list[tuple[datetime | None, str | None]],
    value: datetime,
    stuck: list[int],
) -> None:
    bookmark = Bookmark(NOW, UNSETTLED)
    for number, (created, status) in enumerate(uploads):
        bookmark.saw(number, created, status)
    assert bookmark.state() == {
        "replication_key": "create_time",
        "replication_key_value": normal_form(value),
    }
    assert bookmark.stuck == stuck


def test_without_news_the_last_state_holds() -> None:
    bookmark = Bookmark(NOW, UNSETTLED, day(9), day(5))
    assert bookmark.state() == {}
    bookmark.saw(1, None, "MATCHED")
    assert bookmark.state() == {}
    bookmark.saw(2, day(10), "PROCESSED")
    assert bookmark.state()["start_date"] == "2026-06-05T00:00:00Z"


def test_normal_form() -> None:
    assert normal_form(day(1)) == "2026-06-01T00:00:00Z"
    shifted = day(1) + timedelta(milliseconds=250)
    assert normal_form(shifted) == "2026-06-01T00:00:00.250000Z"
