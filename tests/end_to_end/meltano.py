"""Meltano as its users run it, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

from sandbox import TOKEN, Sandbox
from tests.support import JSON, PREFIX, clean_environment

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
VERSION = os.environ.get("MELTANO_VERSION", "4.4.1")


class Project:
    """A folder in which `meltano` is a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands = folder / "commands"
        commands.mkdir()
        meltano = commands / "meltano"
        meltano.write_text(
            f'#!/bin/sh\nexec "{UV}" tool run --from meltano=={VERSION} meltano "$@"\n',
            encoding="utf-8",
        )
        meltano.chmod(0o755)
        self.environment = clean_environment(
            PATH=f"{commands}{os.pathsep}{os.environ['PATH']}",
            MELTANO_SEND_ANONYMOUS_USAGE_STATS="false",
        )

    def run(self, command: str, **environment: str) -> str:
        """Run a command of the shell; what it prints and logs.

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
            raise subprocess.CalledProcessError(
                done.returncode, command, output=done.stdout
            )
        return done.stdout

    def load(self, target: str, api: Sandbox) -> str:
        """Run the tap into a target, with a state for each target."""
        return self.run(
            f"meltano run --state-id-suffix={target} tap-metrika-calls {target}",
            **settings(OAUTH_TOKEN=TOKEN, API_URL=api.url),
        )

    def python(self, target: str, code: str) -> list[JSON]:
        """Run code where a loader is installed; it prints rows as JSON."""
        venv = self.folder / ".meltano" / "loaders" / target / "venv"
        return printed(venv / "bin" / "python", code, self.folder)


def settings(**values: str) -> dict[str, str]:
    """Variables of the environment that hold settings of the tap."""
    return {PREFIX + name: value for name, value in values.items()}


def printed(python: Path, code: str, folder: Path, *arguments: str) -> list[JSON]:
    """What a piece of code prints, as JSON."""
    out = subprocess.check_output([python, "-c", code, *arguments], cwd=folder)
    rows: list[JSON] = json.loads(out)
    return rows


def checkout_in(folder: Path) -> Project:
    """A project with the `meltano.yml` of this checkout."""
    project = Project(folder)
    definition = (ROOT / "meltano.yml").read_text("utf-8")
    definition = definition.replace("pip_url: -e .", f"pip_url: -e {ROOT}")
    (folder / "meltano.yml").write_text(definition, "utf-8")
    project.environment |= {
        "TARGET_JSONL_DESTINATION_PATH": str(folder),
        "TARGET_DUCKDB_PATH": str(folder / "calls.duckdb"),
    }
    return project


def examples(readme: str, heading: str, language: str) -> list[str]:
    """The blocks of code under a heading of a README, in order."""
    text = (ROOT / readme).read_text("utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{readme} has no '{heading}'"
    section = rest.split("\n## ")[0].split("\n### ")[0]
    fence = f"```{language}\n"
    blocks = [block.split("```")[0] for block in section.split(fence)[1:]]
    return [textwrap.dedent(block) for block in blocks]
