"""Messages: what they carry, and in which order they come."""

from __future__ import annotations

import gzip
import json
import re
import typing as t
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from tap_metrika_calls.tap import TapMetrikaCalls
from tests.support import CALLS, JSON, Run, bookmarks_of, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

WHOLE: JSON = {"counter_id": 7}
BY_ID: JSON = {"counter_id": 8, "uploading_ids": [1, 2]}
FAILING: JSON = {"counter_id": 9}
UNKNOWN: JSON = {"counter_id": 8, "uploading_ids": [1, 99]}
SURROGATE = r"'\ud83d'"


@pytest.fixture(autouse=True)
def uploads(api: Sandbox) -> None:
    """Some uploads in the counters 7 and 8; all responses about 9 fail."""
    for number in (7, 8):
        api.add_counter(number)
        for upload_id in (1, 2, 3):
            api.add_upload(number, id=upload_id, status="PROCESSED")
    api.answer("counter/9/", b"<html>", status=502)


def state_of_a_forgetful_target(run: Run) -> JSON | None:
    """Return the state that remains of one that each RECORD makes forgotten."""
    state = None
    for message in run.messages:
        if message["type"] == "RECORD":
            state = None
        elif message["type"] == "STATE":
            state = message["value"]
    return state


@pytest.mark.parametrize(
    "counters",
    [
        [WHOLE],
        [BY_ID],
        [WHOLE, BY_ID],
        [BY_ID, WHOLE],
        [WHOLE, FAILING],
        [FAILING, WHOLE],
        [WHOLE, FAILING, BY_ID],
        [WHOLE, UNKNOWN],
        [UNKNOWN],
        [FAILING],
    ],
    ids=lambda counters: "-".join(
        str(c["counter_id"]) + "x" * len(c.get("uploading_ids", "")) for c in counters
    ),
)
@pytest.mark.parametrize("streams", [(CALLS,), (CALLS, "counters")])
def test_the_last_message_is_a_state_in_every_run(
    api: Sandbox, counters: list[JSON], streams: tuple[str, ...]
) -> None:
    config = config_for(api, counters=counters, max_attempts=2)
    state: JSON | None = None
    for number in range(3):
        run = sync(config, state, catalog_of(*streams))
        assert run.code == (FAILING in counters or UNKNOWN in counters)
        state = state_of_a_forgetful_target(run)
        assert state is not None
        assert run.messages[-1]["type"] == "STATE"
        assert bookmarks_of(state).keys() == ({7} if WHOLE in counters else set())
        if number == 0:
            api.add_upload(7, id=10, create_time="2026-02-01T00:00:00Z")


def test_an_unchanged_counter_does_not_freeze_the_state(api: Sandbox) -> None:
    config = config_for(api, counters=[WHOLE, {"counter_id": 8}])
    state: JSON | None = None
    for day in range(1, 4):
        newest = f"2026-02-0{day}T00:00:00Z"
        api.add_upload(7, create_time=newest)
        state = state_of_a_forgetful_target(sync(config, state))
        assert state is not None
        assert bookmarks_of(state)[7] == newest


@pytest.mark.parametrize("rejected", [True, False])
def test_a_sync_that_reads_nothing_ends_with_the_state_it_began_with(
    api: Sandbox, *, rejected: bool
) -> None:
    first = sync(config_for(api, counters=[WHOLE]))
    config = config_for(api, counters=[WHOLE])
    if rejected:
        config["oauth_token"] = "wrong"
    else:
        api.answer("", b'{"uploadings": []}')
    run = sync(config, first.state)
    assert run.code == (1 if rejected else 0)
    assert run.messages[-1] == {"type": "STATE", "value": first.state}


def test_uploads_by_id_leave_nothing_to_remember(api: Sandbox) -> None:
    run = sync(config_for(api, counters=[BY_ID]))
    assert run.messages[-1] == {"type": "STATE", "value": {}}


def test_records_tell_when_they_were_extracted(api: Sandbox) -> None:
    run = sync(config_for(api, counters=[WHOLE, BY_ID]))
    times = [message["time_extracted"] for message in run.of_type("RECORD")]
    assert len(times) == 5
    assert all(re.fullmatch(r"2.*T.*(Z|\+00:00)", time) for time in times)


def test_a_schema_comes_before_its_records(api: Sandbox) -> None:
    run = sync(config_for(api), None, catalog_of(CALLS, "counters"))
    known: set[str] = set()
    for message in run.messages:
        if message["type"] == "SCHEMA":
            assert message["stream"] not in known
            known.add(message["stream"])
        elif message["type"] == "RECORD":
            assert message["stream"] in known
    assert known == {CALLS, "counters"}


@pytest.mark.parametrize(
    "expression",
    [
        SURROGATE,
        f"'x' * 100000 + {SURROGATE}",
        f"{SURROGATE} if id == 2 else 'good'",
        r"'\udfff' + comment if comment else 'good'",
    ],
)
@pytest.mark.parametrize("column", ["note", "comment"])
def test_a_value_that_no_json_can_hold_is_one_plain_line(
    api: Sandbox, expression: str, column: str
) -> None:
    api.add_upload(7, id=2_000, comment="c")
    maps = {CALLS: {column: expression}}
    run = sync(config_for(api, counters=[WHOLE, BY_ID], stream_maps=maps))
    assert run.code == 1
    assert len(run.errors) == 1
    assert "Unexpected" not in run.log
    assert "stream_maps" in run.errors[0]
    assert run.messages[-1]["type"] == "STATE"
    assert 7 not in run.bookmarks or "if id ==" in expression


def test_the_summary_counts_what_was_emitted(api: Sandbox) -> None:
    maps = {CALLS: {"__filter__": "id != 3 and counter_id == 7"}}
    run = sync(config_for(api, counters=[WHOLE, BY_ID], stream_maps=maps))
    assert sorted(run.keys) == [(7, 1), (7, 2)]
    (line,) = [line for line in run.log.splitlines() if "Records: " in line]
    assert "2 calls_uploadings" in line
    assert "5,000 requests per login" in line


def batched(api: Sandbox, folder: Path, **settings: object) -> JSON:
    """A configuration that writes batches of two records."""
    batches = {
        "encoding": {"format": "jsonl", "compression": "gzip"},
        "storage": {"root": folder.as_uri(), "prefix": "calls-"},
        "batch_size": 2,
    }
    return config_for(api, batch_config=batches, **settings)


def records_of(message: JSON) -> list[JSON]:
    """The records of a BATCH message."""
    paths = [Path(url2pathname(urlsplit(uri).path)) for uri in message["manifest"]]
    lines = b"".join(gzip.decompress(path.read_bytes()) for path in paths)
    return [json.loads(line) for line in lines.splitlines()]


def test_batches_have_the_columns_of_the_catalog(api: Sandbox, tmp_path: Path) -> None:
    catalog = catalog_of(CALLS)
    gone = ("comment", "type")
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"][1:] in ([name] for name in gone):
                metadata["metadata"]["selected"] = False
    run = sync(batched(api, tmp_path, counters=[WHOLE]), None, catalog)
    (schema,) = [m["schema"]["properties"] for m in run.of_type("SCHEMA")]
    rows = [row for m in run.of_type("BATCH") for row in records_of(m)]
    assert (run.code, len(rows)) == (0, 3)
    assert not {*gone} & {*schema}
    assert [list(row) for row in rows] == [list(schema)] * 3


@pytest.mark.parametrize("last", [WHOLE, FAILING, UNKNOWN])
def test_no_state_is_ahead_of_its_batch(
    api: Sandbox, tmp_path: Path, last: JSON
) -> None:
    for number in (10, 11):
        api.add_counter(number, uploads=5)
    expected = {10: 5, 11: 5, 7: 3}
    counters = [{"counter_id": 10}, {"counter_id": 11}, last]
    run = sync(batched(api, tmp_path, counters=counters, max_attempts=2))
    assert run.code == (0 if last is WHOLE else 1)
    loaded: dict[int, int] = {}
    for message in run.messages:
        if message["type"] == "BATCH":
            for row in records_of(message):
                loaded[row["counter_id"]] = loaded.get(row["counter_id"], 0) + 1
        elif message["type"] == "STATE":
            for counter_id in bookmarks_of(message["value"]):
                assert loaded.get(counter_id) == expected[counter_id]
    assert run.messages[-1]["type"] == "STATE"
    assert {10, 11} <= set(run.bookmarks)


@pytest.mark.parametrize("streams", [(CALLS,), ("counters",), (CALLS, "counters")])
@pytest.mark.parametrize("mode", ["records", "all"])
def test_a_healthy_connection_passes_the_test(
    api: Sandbox, streams: tuple[str, ...], mode: str
) -> None:
    catalog = catalog_of(*streams)
    config = config_for(api, counters=[WHOLE])
    run = sync(config, None, catalog, f"--test={mode}")
    assert (run.code, run.errors) == (0, [])
    assert "Traceback" not in run.log
    assert api.requests


@pytest.mark.parametrize("option", ["--test", "--test=records"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"oauth_token": "wrong"}, "token"),
        ({"oauth_token": "wrong", "counters": [WHOLE]}, "token"),
        ({"oauth_token": "wrong", "counters": []}, "token"),
        ({"oauth_token": "wrong", "counter_id": 7, "uploading_ids": []}, "token"),
        ({"counters": [{"counter_id": 10}]}, "10"),
        ({"counters": [WHOLE, {"counter_id": 10}]}, "10"),
        ({"counters": [WHOLE, {"counter_id": 404}]}, "404"),
        ({"lookup": 1}, "lookup"),
    ],
)
def test_what_cannot_be_read_fails_the_test(
    api: Sandbox, option: str, settings: JSON, words: str
) -> None:
    api.add_counter(10, uploads=1, inaccessible=True)
    run = sync(config_for(api) | settings, None, None, option)
    assert run.code == 1
    assert any(words in line for line in run.errors)
    assert "Traceback" not in run.log


def test_after_an_outage_the_test_says_nothing_of_a_sync(api: Sandbox) -> None:
    config = config_for(api, counters=[FAILING], max_attempts=2)
    run = sync(config, None, None, "--test")
    assert run.code == 1
    (line,) = run.errors
    assert line.endswith("(counter 9). Try again later.")


@pytest.mark.parametrize("ids", [[1, 2, 555], [555, 1, 2]])
def test_the_connection_test_looks_at_each_configured_id(
    api: Sandbox, ids: list[int]
) -> None:
    counters = [{"counter_id": 7, "uploading_ids": ids}]
    run = sync(config_for(api, counters=counters), None, None, "--test")
    assert run.code == 1
    assert any("555" in line for line in run.errors)


def test_flattening_without_a_depth_is_told_as_such(api: Sandbox) -> None:
    run = sync(config_for(api, flattening_enabled=True))
    assert run.code == 1
    (line,) = run.errors
    assert "flattening_max_depth" in line


def test_a_stream_map_may_use_a_fraction_of_its_configuration(api: Sandbox) -> None:
    maps = {CALLS: {"half": "float(config['f']) * 1"}}
    config = config_for(api, counters=[WHOLE], stream_maps=maps)
    run = sync(config | {"stream_map_config": {"f": 0.5}})
    assert [record["half"] for record in run.records()] == [0.5] * 3


def test_the_sdk_s_own_loop_ends_with_a_state(
    api: Sandbox, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    tap = TapMetrikaCalls(config=config_for(api, counters=[WHOLE, {"counter_id": 8}]))
    tap.sync_all()
    last = json.loads(capsysbinary.readouterr().out.splitlines()[-1])
    assert last["type"] == "STATE"
    assert list(bookmarks_of(last["value"])) == [7, 8]
