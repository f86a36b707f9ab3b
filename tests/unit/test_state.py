"""The state: what is refused, and how what is remembered is kept."""

from __future__ import annotations

import json
import typing as t

import msgspec
import pytest

from tap_metrika_calls.sync.state import (
    Context,
    CounterStates,
    FullRead,
    Partition,
    StreamState,
    load_states,
)

if t.TYPE_CHECKING:
    from tests.support import JSON

VALUE = "2026-02-28T00:00:00Z"
STREAMS = ("calls_uploadings", "chats_uploadings")
OWN = "The state of stream 'calls_uploadings'"


def errors_of(state: JSON) -> list[str]:
    """What is wrong in a state."""
    return load_states(state, STREAMS)[1]


def errors(stream_state: object, **others: object) -> list[str]:
    """What is wrong in the state of a stream."""
    bookmarks = {"calls_uploadings": stream_state, **others}
    return errors_of({"bookmarks": bookmarks})


def partition(counter_id: object = 7, **more: object) -> JSON:
    return {"context": {"counter_id": counter_id}, **more}


# What is refused.


@pytest.mark.parametrize(
    "state",
    [
        {"bookmarks": None},
        {"bookmarks": []},
        {"value": {"bookmarks": {}}},
        {"calls_uploadings": {}},
    ],
)
def test_what_is_no_state_at_all(state: JSON) -> None:
    assert errors_of(state) == ["The state has no object 'bookmarks'"]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"bookmarks": {}},
        {"bookmarks": {}, "singer_state": {"unknown": 1}},
        {"bookmarks": {"counters": {}, "another_stream": {"partitions": [{}]}}},
    ],
)
def test_what_says_nothing_of_the_streams(state: JSON) -> None:
    assert errors_of(state) == []


@pytest.mark.parametrize("stream_state", [None, [], "x", 5])
@pytest.mark.parametrize("name", ["calls_uploadings", "another", "a\n\u043f"])
def test_a_stream_that_is_no_object(name: str, stream_state: object) -> None:
    (line,) = errors_of({"bookmarks": {name: stream_state}})
    assert line.isascii()
    assert line.isprintable()
    assert line == f"The state of stream {name!a} is not an object"


@pytest.mark.parametrize("value", [VALUE, None, 5])
def test_a_bookmark_of_the_whole_stream(value: object) -> None:
    line = f"{OWN} has a bookmark that belongs to no counter"
    assert errors({"replication_key_value": value}) == [line]


@pytest.mark.parametrize(
    "stream_state",
    [
        {"partitions": None},
        {"partitions": {}},
        {"partitions": "x"},
        {"partitions": [5]},
        {"partitions": [None]},
        {"partitions": [{}]},
        {"partitions": [{"context": None}]},
        {"partitions": [{"context": []}]},
        {"partitions": [{"context": {}}]},
        {"partitions": [{"context": {"counter": 7}}]},
        {"partitions": [{"context": {"counter_id": 7, "uploading_id": 1}}]},
        {"partitions": [partition("7")]},
        {"partitions": [partition(True)]},
        {"partitions": [partition(7.5)]},
        {"partitions": [partition(None)]},
        {"partitions": [partition([7])]},
        {"partitions": [partition(replication_key="id")]},
        {"partitions": [partition(replication_key=5)]},
        {"partitions": [partition(replication_key_value=0)]},
        {"partitions": [partition(start_date=[])]},
        {"partitions": [partition(in_flight=5)]},
        {"partitions": [partition(in_flight=["5"])]},
        {"partitions": [partition(in_flight=[True])]},
        {"partitions": [partition(in_flight=None)]},
        {"partitions": [partition(full_read=5)]},
        {"partitions": [partition(full_read={"at": VALUE})]},
        {"partitions": [partition(full_read={"at": VALUE, "bookmark": 5})]},
        {"resume_from": "7"},
        {"resume_from": True},
    ],
)
@pytest.mark.parametrize("name", STREAMS)
def test_what_is_damaged(stream_state: object, name: str) -> None:
    (line,) = errors_of({"bookmarks": {name: stream_state}})
    assert line.startswith(f"The state of stream '{name}' is damaged: ")
    assert "\n" not in line
    assert errors_of({"bookmarks": {"x": stream_state}}) == []


def test_a_counter_that_is_there_twice() -> None:
    partitions = [partition(7), partition(8), partition(7)]
    line = f"{OWN} is damaged: counter 7 is there twice"
    assert errors({"partitions": partitions}) == [line]


@pytest.mark.parametrize("key", ["replication_key_value", "start_date"])
def test_a_time_that_is_none(key: str) -> None:
    line = f"{OWN} is damaged: invalid time - at `$.partitions[1]`"
    for value in ("", "soon", "2026-02-30", "1767225600x"):
        damaged = [partition(1), partition(2, **{key: value})]
        assert errors({"partitions": damaged}) == [line]
    for time in (None, VALUE, "2026-02-28", "2026-02-28T03:00:00+03:00"):
        assert errors({"partitions": [partition(**{key: time})]}) == []


@pytest.mark.parametrize("key", ["at", "bookmark"])
def test_a_time_of_a_full_read_that_is_none(key: str) -> None:
    full_read = {"at": VALUE, "bookmark": VALUE, key: "soon"}
    (line,) = errors({"partitions": [partition(full_read=full_read)]})
    assert "invalid time" in line


def test_a_valid_full_read_excuses_no_other_time() -> None:
    full_read = {"at": VALUE, "bookmark": VALUE}
    damaged = partition(replication_key_value="soon", full_read=full_read)
    assert len(errors({"partitions": [damaged]})) == 1


def test_each_stream_is_looked_at() -> None:
    damaged = {"partitions": 5}
    lines = errors(damaged, chats_uploadings=damaged, x=None)
    assert len(lines) == 3
    assert [line.split("'")[1] for line in lines] == [*STREAMS, "x"]


def test_what_another_version_left_is_taken() -> None:
    old: JSON = {
        "partitions": [
            partition(
                replication_key="create_time",
                replication_key_value=VALUE,
                progress_markers={"Note": "x"},
                starting_replication_value=None,
            )
        ],
        "starting_replication_value": None,
        "progress_markers": {"replication_key_value": VALUE},
    }
    assert errors(old) == []
    state = {"bookmarks": {"calls_uploadings": old}}
    states = load_states(state, STREAMS)[0]["calls_uploadings"]
    known = states.get(7)
    assert known.replication_key_value == VALUE
    assert (known.in_flight, known.full_read, states.resume_from) == ([], None, None)


# How it is kept.


def full_partition(counter_id: int = 7) -> Partition:
    return Partition(
        Context(counter_id),
        replication_key="create_time",
        replication_key_value=VALUE,
        start_date="2026-01-01T00:00:00Z",
        in_flight=[3, 2**62],
        full_read=FullRead(VALUE, VALUE),
    )


def test_what_is_left_is_taken_again() -> None:
    states = CounterStates(StreamState())
    states.commit(full_partition(8))
    states.commit(full_partition(7))
    states.resume_from = 9
    content = states.content()
    text = json.dumps({"bookmarks": {"chats_uploadings": msgspec.to_builtins(content)}})
    state = json.loads(text)
    assert errors_of(state) == []
    again = load_states(state, STREAMS)[0]["chats_uploadings"]
    assert list(again.counter_ids()) == [8, 7]
    assert again.get(7) == full_partition(7)
    assert again.resume_from == 9
    assert again.content() == content


def test_what_says_nothing_is_left_out() -> None:
    states = CounterStates(StreamState())
    partition = Partition(Context(7), "create_time", VALUE)
    states.commit(partition)
    assert msgspec.to_builtins(states.content()) == {
        "partitions": [
            {
                "context": {"counter_id": 7},
                "replication_key": "create_time",
                "replication_key_value": VALUE,
            }
        ]
    }


def test_a_new_counter_is_empty_and_leaves_no_trace() -> None:
    states = load_states({}, STREAMS)[0]["calls_uploadings"]
    assert states.get(7) == Partition(Context(7))
    assert list(states.counter_ids()) == []
    assert states.content() is None


def test_where_to_begin_is_worth_a_state_alone() -> None:
    states = CounterStates(StreamState())
    states.resume_from = 7
    assert msgspec.to_builtins(states.content()) == {"resume_from": 7}


def test_a_known_counter_is_replaced_in_its_place() -> None:
    states = CounterStates(StreamState([full_partition(n) for n in (6, 7, 8)]))
    new = Partition(Context(7), "create_time", "2026-03-01T00:00:00Z")
    states.commit(new)
    assert list(states.counter_ids()) == [6, 7, 8]
    assert states.get(7) == new
    assert states.get(6) == full_partition(6)


def test_a_counter_without_a_bookmark_is_not_kept() -> None:
    states = CounterStates(StreamState([full_partition(7)]))
    states.commit(Partition(Context(8)))
    states.commit(Partition(Context(7)))
    assert list(states.counter_ids()) == [7]
    assert states.get(7) == full_partition(7)


def test_a_content_does_not_change_afterwards() -> None:
    states = CounterStates(StreamState([full_partition(7)]))
    content = states.content()
    states.commit(full_partition(8))
    states.resume_from = 5
    assert content == StreamState([full_partition(7)])
