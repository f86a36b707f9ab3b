"""Random configurations and states: a plain line each, or a sync; never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import typing as t
from collections import Counter
from unittest import mock

import pytest
import requests_mock
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_metrika_calls.tap import TapMetrikaCalls
from tests.support import PREFIX

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support import RecordProperty

INPUTS = int(os.environ.get("FUZZED_INPUTS", "500"))
CANARY = "CANARY-y0_AgAAAA"
TOKEN = "TOKEN-y0_AgAAAA"  # comes in no state
NAMES = sorted(TapMetrikaCalls.config_jsonschema["properties"])
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
configurations = st.fixed_dictionaries(
    {},
    optional={name: anything | st.integers(1, 50) for name in [*NAMES, "unknown"]},
)
valid = {"oauth_token": TOKEN, "counter_id": 1}
partitions = st.lists(
    anything
    | st.fixed_dictionaries(
        {},
        optional={
            "context": anything | st.just({"counter_id": 1}),
            "replication_key": anything | st.just("create_time"),
            "replication_key_value": anything,
            "start_date": anything,
            "progress_markers": anything,
        },
    ),
    max_size=3,
)
states = anything | st.fixed_dictionaries(
    {
        "bookmarks": anything
        | st.fixed_dictionaries(
            {
                "calls_uploadings": anything
                | st.fixed_dictionaries({"partitions": partitions})
            }
        )
    }
)


ended: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def answers(record_property: RecordProperty) -> Iterator[None]:
    """An API that has nothing."""
    ended.clear()
    with requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, json={"uploadings": [], "counters": []})
        yield
    record_property("inputs", dict(ended))


def outcome(
    *arguments: str, env: dict[str, str] | None = None, secret: str = CANARY
) -> None:
    """Run the command; assert that it ends as promised."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        result = CliRunner().invoke(TapMetrikaCalls.cli, arguments, env=env)
    told = result.output + log.getvalue()
    assert result.exit_code in {0, 1}, told
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in told
    assert "Unexpected" not in told
    assert secret not in told
    if result.exit_code:
        assert "ERROR" in told
    ended["refused" if result.exit_code else "synced"] += 1


@fuzzed
@given(config=configurations)
def test_any_configuration_in_a_file(tmp_path: Path, config: dict[str, t.Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    outcome("--config", str(path))


@fuzzed
@given(text=st.binary(max_size=60))
def test_any_bytes_as_a_configuration(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text)
    outcome("--config", str(path))


@fuzzed
@given(
    config=st.dictionaries(
        st.sampled_from([*NAMES, "unknown"]),
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
        | anything.map(json.dumps),
        max_size=4,
    )
)
def test_any_configuration_in_the_environment(config: dict[str, str]) -> None:
    env = {PREFIX + name.upper(): value for name, value in config.items()}
    with mock.patch.dict(os.environ, {}):
        outcome("--config=ENV", env=env)


@fuzzed
@given(state=states)
def test_any_state(tmp_path: Path, state: object) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(valid), encoding="utf-8")
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state), encoding="utf-8")
    outcome("--config", str(config), "--state", str(path), secret=TOKEN)
