"""The state: what is refused, and how its partitions are kept."""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from tap_metrika_calls import state
from tap_metrika_calls.bookmark import Bookmark
from tap_metrika_calls.state import CounterStates, errors_of

if t.TYPE_CHECKING:
    from tests.support import JSON

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VALUE = "2026-02-28T00:00:00Z"
NO_BOOKMARKS = "The state has no object 'bookmarks'"
OWN = "The state of calls_uploadings"


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(state, "time", clock)
    return clock


def told(stream_state: object, **others: object) -> list[str]:
    """What is told of a state of the stream."""
    bookmarks = {"calls_uploadings": stream_state, **others}
    return list(errors_of({"bookmarks": bookmarks}))


def partition(counter_id: object = 7, **more: object) -> JSON:
    """A partition."""
    return {"context": {"counter_id": counter_id}, **more}


def at(index: int, line: str) -> str:
    """The line that is told of a damaged partition."""
    return f"{OWN} is damaged at partitions[{index}]: {line}"


def seen(days: float = 1) -> Bookmark:
    """A bookmark that has seen an upload."""
    bookmark = Bookmark(NOW, timedelta(days=21))
    bookmark.saw(1, NOW - timedelta(days=days), "PROCESSED")
    return bookmark


# What is refused.


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "x",
        True,
        {"bookmarks": None},
        {"bookmarks": []},
        {"value": {"bookmarks": {}}},
        {"calls_uploadings": {}},
    ],
)
def test_what_is_no_state_at_all(given: object) -> None:
    assert list(errors_of(given)) == [NO_BOOKMARKS]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bookmarks": {}},
        {"bookmarks": {}, "singer_state": {"unknown": 1}},
        {"bookmarks": {"counters": {}, "another_stream": {"partitions": [{}]}}},
    ],
)
def test_what_says_nothing_of_the_stream(given: object) -> None:
    assert list(errors_of(given)) == []


@pytest.mark.parametrize("stream_state", [None, [], "x", 5])
@pytest.mark.parametrize("name", ["calls_uploadings", "counters"])
def test_a_stream_that_is_no_object(name: str, stream_state: object) -> None:
    given = {"bookmarks": {name: stream_state}}
    line = f"The state of the stream '{name}' is no object"
    assert list(errors_of(given)) == [line]


def test_a_name_of_a_stream_is_told_in_one_line() -> None:
    given = {"bookmarks": {"a\n\u043f": None}}
    line = "The state of the stream 'a\\n\\u043f' is no object"
    assert list(errors_of(given)) == [line]


def test_each_stream_is_told_of() -> None:
    lines = told({"partitions": 5}, a=1, b={}, c=2)
    assert lines == [
        f"{OWN} has partitions that are no list",
        "The state of the stream 'a' is no object",
        "The state of the stream 'c' is no object",
    ]


@pytest.mark.parametrize("markers", [None, [], "x", 5])
def test_progress_markers_that_the_sdk_fails_on(markers: object) -> None:
    damaged = {"progress_markers": markers}
    assert told(damaged) == [f"{OWN} has progress_markers that are no object"]
    assert told({"partitions": [partition(**damaged)]}) == [
        at(0, "progress_markers are no object")
    ]
    others = {"a": damaged, "b": {"partitions": [damaged]}, "c": {"partitions": [{}]}}
    assert told({}, **others) == [
        "The state of the stream 'a' is damaged",
        "The state of the stream 'b' is damaged",
    ]


@pytest.mark.parametrize("partitions", [None, {}, "x", [5]])
def test_partitions_of_another_stream(partitions: object) -> None:
    line = "The state of the stream 'a' is damaged"
    assert told({}, a={"partitions": partitions}) == [line]


@pytest.mark.parametrize("value", [VALUE, None, 5])
def test_a_bookmark_of_the_whole_stream(value: object) -> None:
    line = f"{OWN} has a bookmark that belongs to no counter"
    assert told({"replication_key_value": value}) == [line]
    damaged = told({"replication_key_value": value, "partitions": [5]})
    assert damaged == [line, at(0, "no object with a context")]


@pytest.mark.parametrize("partitions", [None, {}, "x", 5])
def test_partitions_that_are_no_list(partitions: object) -> None:
    assert told({"partitions": partitions}) == [
        f"{OWN} has partitions that are no list"
    ]


@pytest.mark.parametrize(
    "damaged",
    [None, 5, "x", [], {}, {"context": None}, {"context": []}, {"context": "7"}],
)
def test_a_partition_without_a_context(damaged: object) -> None:
    lines = told({"partitions": [partition(1), damaged]})
    assert lines == [at(1, "no object with a context")]


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"counter": 7},
        {"counter_id": "7"},
        {"counter_id": True},
        {"counter_id": 7.0},
        {"counter_id": None},
        {"counter_id": [7]},
        {"counter_id": 7, "uploading_id": 1},
    ],
)
def test_a_context_that_is_not_a_counter_alone(context: JSON) -> None:
    lines = told({"partitions": [{"context": context}]})
    assert lines == [at(0, "the context is not a counter_id alone")]
    twice = told({"partitions": [{"context": context}, partition(7)]})
    assert twice == lines


def test_a_counter_that_is_there_twice() -> None:
    partitions = [partition(7), partition(8), partition(7), partition(7)]
    line = "counter 7 is there twice"
    assert told({"partitions": partitions}) == [at(2, line), at(3, line)]


@pytest.mark.parametrize("key", ["replication_key_value", "start_date"])
def test_a_time_that_is_none(key: str) -> None:
    line = at(0, f"{key} is no date-time")
    damaged: list[object] = ["", "soon", 0, False, 1767225600, [], {}, "2026-02-30"]
    for value in damaged:
        assert told({"partitions": [partition(**{key: value})]}) == [line]
    for time in (None, VALUE, "2026-02-28", "2026-02-28T03:00:00+03:00"):
        assert told({"partitions": [partition(**{key: time})]}) == []


@pytest.mark.parametrize("key", ["id", "", None, 5])
def test_a_bookmark_on_another_field(key: object) -> None:
    lines = told({"partitions": [partition(replication_key=key)]})
    assert lines == [at(0, "replication_key is not create_time")]


def test_every_damage_of_a_partition_is_told() -> None:
    damaged = {
        "context": {},
        "replication_key": "id",
        "replication_key_value": 1,
        "start_date": 2,
    }
    assert told({"partitions": [damaged]}) == [
        at(0, "the context is not a counter_id alone"),
        at(0, "replication_key_value is no date-time"),
        at(0, "start_date is no date-time"),
        at(0, "replication_key is not create_time"),
    ]


def test_what_the_tap_leaves_is_taken_again() -> None:
    stream_state: JSON = {}
    states = CounterStates(stream_state)
    for counter_id in range(1, 9):
        bookmark = Bookmark(NOW, timedelta(days=21), floor=NOW - timedelta(days=9))
        bookmark.saw(1, NOW - timedelta(days=counter_id), "PROCESSED")
        states.finish(counter_id, bookmark)
    assert told(json.loads(json.dumps(stream_state)), counters={}) == []


# How partitions are kept.


def test_a_new_counter_is_empty_and_leaves_no_trace() -> None:
    stream_state: JSON = {}
    assert CounterStates(stream_state).of(7) == {}
    assert stream_state == {}


def test_a_finished_counter_is_kept() -> None:
    stream_state: JSON = {}
    states = CounterStates(stream_state)
    states.finish(8, seen())
    states.finish(7, seen(2))
    expected = [
        partition(8, replication_key="create_time", replication_key_value=VALUE),
        partition(
            7,
            replication_key="create_time",
            replication_key_value="2026-02-27T00:00:00Z",
        ),
    ]
    assert stream_state == {"partitions": expected}
    assert [states.of(8), states.of(7)] == expected
    assert states.of(9) == {}


def test_a_known_counter_is_replaced_in_its_place() -> None:
    old = partition(7, replication_key_value="2026-01-01", start_date="2025-01-01")
    stream_state: JSON = {"partitions": [partition(6), old, partition(8)], "more": 1}
    states = CounterStates(stream_state)
    assert states.of(7) is old
    states.finish(7, seen())
    new = partition(7, replication_key="create_time", replication_key_value=VALUE)
    assert stream_state == {
        "partitions": [partition(6), new, partition(8)],
        "more": 1,
    }
    assert states.of(7) == new


def test_a_counter_where_nothing_was_seen_keeps_what_it_had() -> None:
    old = partition(7, replication_key_value="2026-01-01", start_date="2025-01-01")
    stream_state: JSON = {"partitions": [dict(old)]}
    states = CounterStates(stream_state)
    states.finish(7, Bookmark(NOW, timedelta(days=21)))
    states.finish(8, Bookmark(NOW, timedelta(days=21)))
    assert stream_state == {"partitions": [old]}


# When it is written.


def known(count: int) -> CounterStates:
    """The states of this many counters."""
    return CounterStates({"partitions": [partition(key) for key in range(count)]})


def due(states: CounterStates, counters: int) -> list[int]:
    """After which of the counters the state is due."""
    empty = Bookmark(NOW, timedelta(days=21))
    numbers = []
    for number in range(1, counters + 1):
        states.finish(number, empty)
        if states.is_due():
            numbers.append(number)
    return numbers


@pytest.mark.parametrize("count", [0, 1, 100])
def test_with_few_counters_it_is_due_after_each(count: int) -> None:
    assert due(known(count), 5) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(101, [2, 4, 6, 8]), (200, [2, 4, 6, 8]), (201, [3, 6, 9]), (1_000, [10])],
)
def test_with_many_counters_it_is_due_after_a_hundredth(
    count: int, expected: list[int]
) -> None:
    assert due(known(count), 10)[:4] == expected


def test_it_is_due_after_a_second_at_the_latest(clock: Clock) -> None:
    states = known(1_000)
    clock.time += 0.5
    assert not states.is_due()
    clock.time += 0.5
    assert states.is_due()
    assert not states.is_due()
    clock.time += 0.75
    assert not states.is_due()
    clock.time += 0.25
    assert states.is_due()


def test_being_due_begins_a_new_count_and_a_new_second(clock: Clock) -> None:
    states = known(1_000)
    assert due(states, 9) == []
    clock.time += 1
    assert states.is_due()
    assert due(states, 10) == [10]
    clock.time += 0.9
    assert due(states, 10) == [10]
    clock.time += 0.9
    assert not states.is_due()


@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_written_in_all_grows_with_the_counters(is_new: bool) -> None:  # noqa: FBT001
    written = {}
    for count in (2_500, 5_000):
        stream_state: JSON = {}
        if not is_new:
            stream_state["partitions"] = [partition(key) for key in range(count)]
        states = CounterStates(stream_state)
        bookmark = seen()
        total = due_times = 0
        for counter_id in range(count):
            states.finish(counter_id, bookmark)
            if states.is_due():
                due_times += 1
                total += len(stream_state["partitions"])
        assert len(stream_state["partitions"]) == count
        assert total <= 100 * count
        assert 100 <= due_times <= 600
        written[count] = total
    assert written[5_000] <= 2.1 * written[2_500]
