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


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the plugins of this checkout."""
    return project_in(tmp_path_factory.mktemp("project"), PLUGINS)


def test_the_definition_in_a_new_project(tmp_path: Path, api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    api.add_counter(8, uploads=3)
    (tmp_path / "tap-metrika-calls").symlink_to(ROOT)
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new")
    project.run("meltano init --no-usage-stats .")
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
    project.run(commands.replace("target-duckdb", "target-jsonl"), **variables)
    loaded = (tmp_path / "calls_uploadings.jsonl").read_text("utf-8").splitlines()
    assert len(loaded) == 2 * 3
    logins = [request.query.get("ulogin") for request in api.requests]
    assert logins == [None, None, "client-login", "client-login"]
    states = {path.parent.name for path in tmp_path.glob("state/*/state.json")}
    assert states == {
        f"prod:tap-metrika-calls--{account}-to-target-jsonl"
        for account in ("shop", "agency")
    }


def test_numbers_from_variables_of_the_environment(
    project: Project, api: Sandbox
) -> None:
    api.add_counter(7)
    api.add_upload(7, id=12)
    api.add_upload(7, id=13)
    project.environment |= {
        f"TAP_METRIKA_CALLS__CLIENT_{name}": value
        for name, value in (("OAUTH_TOKEN", TOKEN), ("API_URL", api.url))
    }
    command = "meltano invoke tap-metrika-calls--client 2> /dev/null"
    out = project.run(command, CLIENT_COUNTER="7", CLIENT_UPLOAD="12")
    messages = [json.loads(line) for line in out.splitlines()]
    records = [m["record"] for m in messages if m["type"] == "RECORD"]
    assert [(r["counter_id"], r["id"]) for r in records] == [(7, 12)]


def test_meltano_shows_the_lines_of_the_tap(project: Project) -> None:
    given = settings(COUNTERS=f'[{{"counter_id": "{CANARY}"')
    with pytest.raises(subprocess.CalledProcessError) as failed:
        project.run("meltano run tap-metrika-calls target-jsonl", **given)
    for setting in ("oauth_token", "counters"):
        assert f"Setting '{setting}'" in failed.value.output
    assert CANARY not in failed.value.output


def test_no_log_of_meltano_shows_the_token(project: Project, api: Sandbox) -> None:
    api.fail("503", times=1)
    api.fail("redirect", times=1)
    given = settings(OAUTH_TOKEN=CANARY, API_URL=api.url, LOGLEVEL="DEBUG")
    command = "meltano --log-level=debug run tap-metrika-calls target-jsonl"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        project.run(command, **given)
    assert len(api.requests) == 2
    assert "/management/v1/counters" in failed.value.output
    assert CANARY not in failed.value.output
