"""The commands of the README are run, and its error lines are the tap's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t

import pytest

from tests.end_to_end.tools import ROOT
from tests.support import PREFIX, TAP, clean_environment, config_for, sync

if t.TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox

READMES = ("README.md", "README.ru.md")
RUNNABLE = re.compile(r"<!-- run -->\n```bash\n(.*?)```", re.DOTALL)
PRINTED = re.compile(r"```text\n(.*?)```", re.DOTALL)
ANY_BLOCK = re.compile(r"^ *```\w+\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"\s*(--|#)")
COLUMN = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def test_the_commands_run_again_and_again(tmp_path: Path) -> None:
    """Those of the other README are the same, says a test below."""
    blocks = RUNNABLE.findall((ROOT / READMES[0]).read_text("utf-8"))
    assert len(blocks) >= 2
    env = clean_environment(PYTHONPATH=str(ROOT))
    env["PATH"] = f"{TAP.parent}{os.pathsep}{env['PATH']}"
    for block in [*blocks, *blocks]:
        subprocess.run(["bash", "-ec", block], cwd=tmp_path, env=env, check=True)  # noqa: S607
        first, changed = (
            [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            for path in (tmp_path / "calls.jsonl", tmp_path / "changed.jsonl")
        )
        assert [first[-1]["type"], changed[-1]["type"]] == ["STATE", "STATE"]
        assert len(first) > len(changed)
        state = json.loads((tmp_path / "state.json").read_text("utf-8"))
        assert state["bookmarks"]["calls_uploadings"]["partitions"]
    catalog = json.loads((tmp_path / "catalog.json").read_text("utf-8"))
    streams = {stream["tap_stream_id"] for stream in catalog["streams"]}
    assert streams == {path.stem for path in (ROOT / "schemas").glob("*.json")}


def test_both_languages_show_the_same_code() -> None:
    english, russian = (
        [
            "\n".join(line for line in code.splitlines() if not COMMENT.match(line))
            for code in ANY_BLOCK.findall((ROOT / name).read_text("utf-8"))
        ]
        for name in READMES
    )
    assert len(english) > 20
    assert russian == english


def shape_of(line: str) -> str:
    """A line without its numbers, which differ from run to run."""
    return re.sub(r"\d+", "0", line)


def printed_lines(name: str) -> set[str]:
    """The lines of the tap that a README explains."""
    blocks = PRINTED.findall((ROOT / name).read_text("utf-8"))
    return {shape_of(line) for block in blocks for line in block.splitlines()}


@pytest.mark.parametrize("name", READMES)
def test_the_error_lines_are_the_taps_own(
    api: Sandbox, name: str, short_pauses: None
) -> None:
    assert short_pauses is None
    shown = printed_lines(name)
    api.quotas = None
    told = [*sync(config_for(api, oauth_token="x")).errors]
    told += sync(config_for(api, ulogin="stranger")).errors
    api.add_counter(7)
    api.add_counter(8, inaccessible=True)
    counters = [{"counter_id": 7, "uploading_ids": [1, 2]}, {"counter_id": 8}]
    told += sync(config_for(api, counters=counters)).errors
    api.answer("counter/9/", b'{"uploadings": [{}]}')
    told += sync(config_for(api, counter_id=9)).errors
    api.fail("503", times=8)
    told += sync(config_for(api, counter_id=7)).errors
    elsewhere = {"Location": "//a.example"}
    api.answer("counter/7/", b"", status=302, headers=elsewhere, times=1)
    told += sync(config_for(api, counter_id=7)).errors
    api.add_upload(7, id=12)
    maps = {"calls_uploadings": {"x": "record['x']"}}
    told += sync(config_for(api, counter_id=7, stream_maps=maps)).errors
    bad = {"counter_id": 0, "countres": 1}
    told += sync(bad).errors
    contradicting = {"uploading_ids": [1], "start_date": "x", "api_url": "http://x"}
    told += sync({"oauth_token": "x", **contradicting}).errors
    assert len(told) == 14
    assert {shape_of(line) for line in told} <= shown


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize("mark", ["columns", "settings"])
def test_the_tables_are_whole(name: str, mark: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    _, _, rest = text.partition(f"<!-- {mark} -->")
    named = set(COLUMN.findall(rest.partition(f"<!-- /{mark} -->")[0]))
    if mark == "columns":
        schema = ROOT / "schemas" / "calls_uploadings.json"
        assert named == set(json.loads(schema.read_text("utf-8"))["properties"])
    else:
        example = (ROOT / ".env.example").read_text("utf-8")
        assert named == {
            variable.lower() for variable in re.findall(rf"{PREFIX}(\w+)=", example)
        }
