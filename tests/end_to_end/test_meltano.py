"""Projects of Meltano: the plugin definition, recipes, errors, secrets."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
import yaml

from sandbox import TOKEN, Sandbox
from tests.end_to_end.meltano import ROOT, Project, checkout_in, examples, settings

if t.TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.xdist_group("meltano"), pytest.mark.timeout(280)]

CANARY = "y0_CANARY-of-a-token"


def test_the_definition_in_a_new_project(tmp_path: Path, api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    api.add_counter(8, uploads=3)
    project = Project(tmp_path)
    project.run("meltano init --no-usage-stats .")
    heading = "### In a Meltano project of your own"
    (block,) = examples("README.md", heading, "bash")
    project.run(block.replace("../tap-metrika-calls", str(ROOT)))
    counters = json.dumps([{"counter_id": 7}])
    project.run(f"meltano config set tap-metrika-calls counters '{counters}'")
    project.environment |= settings(OAUTH_TOKEN=TOKEN, API_URL=api.url)
    out = project.run("meltano invoke tap-metrika-calls 2> /dev/null")
    messages = [json.loads(line) for line in out.splitlines()]
    records = [m["record"] for m in messages if m["type"] == "RECORD"]
    assert [record["counter_id"] for record in records] == [7, 7, 7]
    assert {m["stream"] for m in messages if "stream" in m} == {"calls_uploadings"}


def test_several_accounts(tmp_path: Path, api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    api.delegates = {"client-login"}
    project = checkout_in(tmp_path)
    (recipe,) = examples("README.md", "### Several accounts", "yaml")
    (commands,) = examples("README.md", "### Several accounts", "bash")
    path = tmp_path / "meltano.yml"
    definition = yaml.safe_load(path.read_text("utf-8"))
    extractors = yaml.safe_load(recipe)["plugins"]["extractors"]
    assert extractors[0] == {"name": "tap-metrika-calls"}
    definition["plugins"]["extractors"] += extractors[1:]
    path.write_text(yaml.safe_dump(definition), "utf-8")
    tokens = {"SHOP_METRIKA_TOKEN": TOKEN, "AGENCY_METRIKA_TOKEN": TOKEN}
    for name in ("TAP_METRIKA_CALLS__SHOP", "TAP_METRIKA_CALLS__AGENCY"):
        tokens[f"{name}_API_URL"] = api.url
    log = project.run(commands.replace("target-duckdb", "target-jsonl"), **tokens)
    assert log.count("Records: 3 calls_uploadings") == 2
    logins = [request.query.get("ulogin") for request in api.requests]
    assert logins == [None, None, "client-login", "client-login"]
    states = project.run("meltano state list")
    assert "tap-metrika-calls--shop-to-target-jsonl" in states
    assert "tap-metrika-calls--agency-to-target-jsonl" in states


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "Setting oauth_token is missing"),
        ({"OAUTH_TOKEN": "wrong"}, "The API refused the token"),
        ({"COUNTERS": '[{"counter_id": '}, "Setting counters takes a list of objects"),
        (
            {"COUNTERS": '[{"counter_id": "x"}]'},
            "Setting counters[0].counter_id takes a positive integer",
        ),
    ],
)
def test_meltano_shows_the_line_of_the_tap(
    project: Project, lively: Sandbox, variables: dict[str, str], told: str
) -> None:
    if "COUNTERS" in variables:
        variables = {"OAUTH_TOKEN": TOKEN, **variables}
    given = settings(API_URL=lively.url, **variables)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        project.run("meltano run tap-metrika-calls target-jsonl", **given)
    assert told in failed.value.output


@pytest.mark.parametrize("fault", ["403", "503", "redirect"])
def test_no_log_of_meltano_shows_the_token(
    project: Project, api: Sandbox, fault: str
) -> None:
    if fault != "403":
        api.fail(fault, times=100)
    given = settings(
        OAUTH_TOKEN=CANARY, API_URL=api.url, MAX_ATTEMPTS="1", LOGLEVEL="DEBUG"
    )
    command = "meltano --log-level=debug run tap-metrika-calls target-jsonl"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        project.run(command, **given)
    assert len(api.requests) >= 1
    assert "list of counters from 1" in failed.value.output
    assert CANARY not in failed.value.output
