"""Projects of Meltano: the plugin definition, recipes, errors, secrets."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
import yaml

from sandbox import TOKEN, Sandbox
from tests.end_to_end.meltano import (
    Project,
    examples,
    project_in,
    sandbox_settings,
    settings,
)
from tests.end_to_end.tools import ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

CANARY = "y0_CANARY-of-a-token"
# Meltano puts a variable in as the string that it is.
PLUGINS = """\
plugins:
  extractors:
  - name: tap-metrika-calls--client
    inherit_from: tap-metrika-calls
    config:
      counters:
      - counter_id: $CLIENT_COUNTER
        uploading_ids: [$CLIENT_UPLOAD]
"""


def test_the_definition_in_a_new_project(tmp_path: Path, api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    api.add_counter(8, uploads=3)
    (tmp_path / "tap-metrika-calls").symlink_to(ROOT)
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new")
    (project.folder / "meltano.yml").write_text("version: 1\n")
    heading = "### In a Meltano project of your own"
    (block,) = examples("README.md", heading, "bash")
    project.run(block)
    given = sandbox_settings(api, COUNTERS='[{"counter_id": 7}]')
    out = project.run("meltano invoke tap-metrika-calls 2> /dev/null", **given)
    messages = [json.loads(line) for line in out.splitlines()]
    records = [m["record"] for m in messages if m["type"] == "RECORD"]
    assert [record["counter_id"] for record in records] == [7, 7, 7]
    assert {m["stream"] for m in messages if "stream" in m} == {"calls_uploadings"}


def test_several_accounts(tmp_path: Path, api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    api.delegates = {"client-login"}
    (recipe,) = examples("README.md", "### Several accounts", "yaml")
    (commands,) = examples("README.md", "### Several accounts", "bash")
    first, *accounts = yaml.safe_load(recipe)["plugins"]["extractors"]
    assert first == {"name": "tap-metrika-calls"}
    plugins = yaml.safe_dump({"plugins": {"extractors": accounts}})
    project = project_in(tmp_path, plugins)
    variables = {"SHOP_METRIKA_TOKEN": TOKEN, "AGENCY_METRIKA_TOKEN": TOKEN}
    for name in ("TAP_METRIKA_CALLS__SHOP", "TAP_METRIKA_CALLS__AGENCY"):
        variables[f"{name}_API_URL"] = api.url
    lines = commands.replace("target-duckdb", "target-jsonl").splitlines()
    blocks = " ".join(line.removeprefix("meltano run ") for line in lines)
    project.run(f"meltano run {blocks}", **variables)
    loaded = (tmp_path / "calls_uploadings.jsonl").read_text("utf-8").splitlines()
    assert len(loaded) == 2 * 3
    logins = [request.query.get("ulogin") for request in api.requests]
    assert logins == [None, None, "client-login", "client-login"]
    states = {path.parent.name for path in tmp_path.glob("state/*/state.json")}
    assert states == {
        f"prod:tap-metrika-calls--{account}-to-target-jsonl"
        for account in ("shop", "agency")
    }


class Debugged(t.NamedTuple):
    """What a run left behind that logged all it could.

    Attributes:
        loaded: The rows of its first block.
        log: What Meltano logged.
        requests: The paths that its second block requested.
    """

    loaded: list[dict[str, t.Any]]
    log: str
    requests: list[str]


@pytest.fixture(scope="module")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Debugged:
    """One upload in a block that works, and then a block that fails."""
    project = project_in(tmp_path_factory.mktemp("project"), PLUGINS)
    with Sandbox(counters=0) as api:
        api.add_counter(7)
        for number in (12, 13):
            api.add_upload(7, id=number)
        for fault in ("503", "redirect"):
            api.fail(fault, times=1, path="/counters")
        given = settings(OAUTH_TOKEN=CANARY, API_URL=api.url, LOGLEVEL="DEBUG")
        given |= {
            "TAP_METRIKA_CALLS__CLIENT_API_URL": api.url,
            "TAP_METRIKA_CALLS__CLIENT_OAUTH_TOKEN": TOKEN,
            "CLIENT_COUNTER": "7",
            "CLIENT_UPLOAD": "12",
        }
        blocks = " ".join(
            f"{tap} target-jsonl"
            for tap in ("tap-metrika-calls--client", "tap-metrika-calls")
        )
        with pytest.raises(subprocess.CalledProcessError) as failed:
            project.run(f"meltano --log-level=debug run {blocks}", **given)
        lines = (project.folder / "calls_uploadings.jsonl").read_text("utf-8")
        return Debugged(
            [json.loads(line) for line in lines.splitlines()],
            failed.value.output,
            [r.path for r in api.requests if "/counter/7/" not in r.path],
        )


def test_numbers_from_variables_of_the_environment(debugged: Debugged) -> None:
    assert [(r["counter_id"], r["id"]) for r in debugged.loaded] == [(7, 12)]


def test_meltano_shows_the_lines_of_the_tap(debugged: Debugged) -> None:
    assert "503" in debugged.log
    assert "redirects to" in debugged.log


def test_no_log_of_meltano_shows_the_token(debugged: Debugged) -> None:
    assert len(debugged.requests) == 2
    assert "/management/v1/counters" in debugged.log
    assert CANARY not in debugged.log
    assert TOKEN not in debugged.log
