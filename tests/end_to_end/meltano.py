"""Meltano as its users run it, in a folder of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import textwrap
import typing as t
from pathlib import Path

import yaml

from sandbox import TOKEN, Sandbox
from tests.end_to_end.tools import MELTANO, ROOT, install
from tests.support import PREFIX, TAP, clean_environment

JSON: t.TypeAlias = dict[str, t.Any]


class Project:
    """A folder in which `meltano` is a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaders: dict[str, Path] = {}
        commands = folder / "commands"
        commands.mkdir()
        (commands / "meltano").symlink_to(install([MELTANO]) / "meltano")
        self.environment = clean_environment(
            PATH=f"{commands}{os.pathsep}{os.environ['PATH']}",
            MELTANO_SEND_ANONYMOUS_USAGE_STATS="false",
        )

    def run(self, command: str, **environment: str) -> str:
        """Run a command of the shell, and return what it prints and logs.

        Raises:
            subprocess.CalledProcessError: If it fails; `output` is what it logged.
        """
        done = subprocess.run(
            ["bash", "-euc", command],  # noqa: S607
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            error = subprocess.CalledProcessError(
                done.returncode, command, output=done.stdout
            )
            error.add_note(done.stdout)
            raise error
        return done.stdout

    def state(self, loader: str) -> JSON:
        """Return the Singer state that Meltano saved for runs into a loader."""
        state: JSON = {}
        for path in self.folder.glob(f"state/*-to-{loader}/state.json"):
            saved = json.loads(path.read_text("utf-8"))
            state = saved["completed"].get("singer_state", {})
        return state

    def python(self, loader: str, code: str) -> t.Any:
        """Run code where a loader is installed, and return the JSON it prints."""
        return printed(self.loaders[loader].with_name("python"), code, self.folder)


def the_definition() -> JSON:
    """Return the `meltano.yml` of this checkout."""
    definition: JSON = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    return definition


def loader(name: str) -> Path:
    """Return the executable of a loader of this checkout, installed if need be."""
    for plugin in the_definition()["plugins"]["loaders"]:
        if plugin["name"] == name:
            packages = shlex.split(plugin["pip_url"])
            return install(packages) / str(plugin["executable"])
    raise KeyError(name)


def project_in(folder: Path, *additions: str) -> Project:
    """Make a project with the `meltano.yml` of this checkout.

    The tap and the loaders are installed already: their executables are named, and
    Meltano installs nothing. It takes the tap for a package, not for a checkout, and
    so discovers its catalog once.

    Args:
        folder: Where to make it.
        additions: More plugins, in the form of `meltano.yml`.
    """
    definition = the_definition()
    plugins = definition["plugins"]
    for addition in additions:
        for kind, added in yaml.safe_load(addition)["plugins"].items():
            plugins[kind] = [*plugins.get(kind, ()), *added]
    project = Project(folder)
    for extractor in plugins["extractors"]:
        if "pip_url" in extractor:
            extractor |= {"pip_url": extractor["name"], "executable": str(TAP)}
    for loader in plugins["loaders"]:
        if packages := loader.pop("pip_url", ""):
            executables = install(shlex.split(packages))
            loader["executable"] = str(executables / loader["executable"])
        project.loaders[loader["name"]] = Path(loader["executable"])
    text = yaml.safe_dump(definition, allow_unicode=True, sort_keys=False)
    (folder / "meltano.yml").write_text(text, "utf-8")
    project.environment |= {
        "MELTANO_AUTO_INSTALL": "false",
        "MELTANO_STATE_BACKEND_URI": f"file://{folder / 'state'}",
        "TARGET_JSONL_DESTINATION_PATH": str(folder),
        "TARGET_DUCKDB_PATH": str(folder / "calls.duckdb"),
    }
    return project


def printed(python: Path, code: str, folder: Path, *arguments: str) -> t.Any:
    """Run code, and return the JSON it prints."""
    return json.loads(
        subprocess.check_output([python, "-c", code, *arguments], cwd=folder)
    )


def sandbox_settings(api: Sandbox, **values: str) -> dict[str, str]:
    """Return the variables of the environment for reading a sandbox."""
    return settings(OAUTH_TOKEN=TOKEN, API_URL=api.url, **values)


def settings(**values: str) -> dict[str, str]:
    """Return the variables of the environment that hold settings of the tap."""
    return {PREFIX + name: value for name, value in values.items()}


def examples(readme: str, heading: str, language: str) -> list[str]:
    """Return the blocks of code under a heading of a README, in order."""
    text = (ROOT / readme).read_text("utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{readme} has no '{heading}'"
    section = rest.split("\n## ")[0].split("\n### ")[0]
    fence = f"```{language}\n"
    blocks = [block.split("```")[0] for block in section.split(fence)[1:]]
    return [textwrap.dedent(block) for block in blocks]
