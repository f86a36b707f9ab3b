"""Random configurations, states, catalogs: a plain line or a sync, no traceback."""

from __future__ import annotations

import json
import os
import re
import typing as t
from collections import Counter

import pytest
import requests_mock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_metrika_calls.tap import TapMetrikaCalls
from tests.support import CALLS, PREFIX, invoke

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support import RecordProperty

INPUTS = int(os.environ.get("FUZZED_INPUTS", "30"))
CANARY = "CANARY-y0_AgAAAA"
TOKEN = "TOKEN-y0_AgAAAA"  # comes in no state
NAMES = sorted(TapMetrikaCalls(validate_config=False).config_jsonschema["properties"])
fuzzed = settings(
    max_examples=INPUTS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["2026-01-01", "auto", "skip", "http://localhost:1", CANARY, ""])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
some = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), anything, max_size=3)
valid = {"oauth_token": TOKEN, "counter_id": 1}
few = st.integers(1, 4)
maps = st.none() | st.dictionaries(
    st.sampled_from(["id", "status", "x", "__filter__", "__else__", "__alias__"]),
    anything | st.sampled_from(["record", "record['status']", "int(id)", "1 +", "_"]),
    max_size=2,
)
sound = st.fixed_dictionaries(
    {key: st.just(value) for key, value in valid.items()},
    optional={
        "uploading_ids": st.lists(few),
        "counters": st.lists(st.fixed_dictionaries({"counter_id": few})),
        "start_date": st.dates().map(str),
        "lookup": st.sampled_from(["auto", "by_id", "list"]),
        "on_unavailable": st.sampled_from(["fail", "skip"]),
        "in_flight_days": few,
        "max_attempts": few,
        "flattening_enabled": st.booleans(),
        "flattening_max_depth": few,
        "stream_maps": st.fixed_dictionaries({CALLS: maps}),
        "emit_activate_version_messages": st.booleans(),
    },
)
configurations = some | sound | st.tuples(sound, some).map(lambda two: two[0] | two[1])
texts = st.dictionaries(
    st.sampled_from([*NAMES, "unknown"]),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
    | (anything | few).map(json.dumps),
    max_size=3,
)
times = st.datetimes().map(str)
partitions = st.lists(
    anything
    | st.fixed_dictionaries(
        {},
        optional={
            "context": anything | st.just({"counter_id": 1}),
            "replication_key": anything | st.just("create_time"),
            "replication_key_value": anything | times,
            "start_date": anything | times,
            "in_flight": anything | st.lists(few),
            "full_read": anything
            | st.fixed_dictionaries({"at": times, "bookmark": times}),
            "progress_markers": anything,
        },
    ),
    max_size=3,
)
stream_states = anything | st.fixed_dictionaries(
    {},
    optional={
        "partitions": partitions,
        "resume_from": anything | few,
        "progress_markers": anything,
    },
)
states = anything | st.fixed_dictionaries(
    {
        "bookmarks": anything
        | st.fixed_dictionaries(
            {},
            optional={
                CALLS: stream_states,
                "chats_uploadings": stream_states,
                "counters": stream_states,
            },
        )
    }
)
schemas = anything | st.fixed_dictionaries(
    {"properties": st.dictionaries(st.sampled_from(["id", "status", "x"]), anything)}
)
metadata = st.fixed_dictionaries(
    {
        "breadcrumb": st.sampled_from([[], ["properties", "status"]]) | anything,
        "metadata": anything
        | st.fixed_dictionaries(
            {
                "selected": st.booleans() | anything,
                "replication-method": st.just("FULL_TABLE") | anything,
            }
        ),
    }
)
entries = st.fixed_dictionaries(
    {"tap_stream_id": st.sampled_from([CALLS, "x"]) | anything},
    optional={
        "schema": schemas,
        "metadata": st.lists(metadata, max_size=3) | anything,
        "replication_method": anything,
        "key_properties": anything,
    },
)
catalogs = anything | st.fixed_dictionaries({"streams": st.lists(entries, max_size=2)})


ended: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def empty_api(record_property: RecordProperty) -> Iterator[None]:
    """An API that has nothing but a counter."""
    ended.clear()
    unknown = {"errors": [{"error_type": "not_found"}]}
    with requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, json={"uploadings": []})
        mocker.get(re.compile(r"counters\?"), json={"counters": [{"id": 1}]})
        mocker.get(re.compile("calls_uploading/"), status_code=404, json=unknown)
        yield
    record_property("inputs", dict(ended))


def outcome(
    *arguments: str, env: dict[str, str] | None = None, secret: str = CANARY
) -> None:
    """Run the command; assert that it ends as promised."""
    run = invoke(*arguments, env=env)
    written = "\n".join([run.log, *run.lines])
    assert run.code in {0, 1}, written
    assert "Traceback" not in written
    assert "Unexpected" not in written
    assert secret not in written
    if run.code:
        assert run.errors, written
    if run.lines:
        assert run.messages[-1]["type"] == "STATE"
    ended["refused" if run.code else "synced"] += 1


@fuzzed
@given(config=configurations)
def test_any_configuration_in_a_file(tmp_path: Path, config: dict[str, t.Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    outcome("--config", str(path), secret=TOKEN)


@fuzzed
@given(text=st.binary(max_size=60))
def test_any_bytes_as_a_configuration(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text)
    outcome("--config", str(path))


@fuzzed
@given(config=texts | texts.map(lambda some: {"oauth_token": TOKEN} | some))
def test_any_configuration_in_the_environment(config: dict[str, str]) -> None:
    env = {PREFIX + name.upper(): value for name, value in config.items()}
    outcome("--config=ENV", env=env, secret=TOKEN)


@fuzzed
@given(state=states)
def test_any_state(tmp_path: Path, state: object) -> None:
    outcome_with("state", state, tmp_path)


@fuzzed
@given(catalog=catalogs)
def test_any_catalog(tmp_path: Path, catalog: object) -> None:
    outcome_with("catalog", catalog, tmp_path)


def outcome_with(option: str, content: object, folder: Path) -> None:
    """Run the tap with a fine configuration, and this as another file."""
    config, path = folder / "config.json", folder / f"{option}.json"
    config.write_text(json.dumps(valid), encoding="utf-8")
    path.write_text(json.dumps(content), encoding="utf-8")
    outcome("--config", str(config), f"--{option}", str(path), secret=TOKEN)
