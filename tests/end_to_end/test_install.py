"""The package, installed from a wheel, an sdist and a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import clean_environment

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")

pytestmark = pytest.mark.xdist_group("install")


def uv(*arguments: str | Path) -> None:
    """Run uv, quietly."""
    subprocess.run([UV, *arguments, "--quiet"], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--sdist", "--wheel", "--out-dir", folder)
    return folder


def discover(requirement: str, folder: Path) -> dict[str, set[str]]:
    """Install in a clean environment; the fields of each stream that is found."""
    venv = folder / "venv"
    uv("venv", "--python", sys.executable, venv)
    uv("pip", "install", "--python", venv / "bin" / "python", requirement)
    done = subprocess.run(
        [venv / "bin" / "tap-metrika-calls", "--discover"],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    streams = json.loads(done.stdout)["streams"]
    return {s["stream"]: set(s["schema"]["properties"]) for s in streams}


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz", "checkout"])
def test_schemas_are_found_wherever_the_tap_is(
    built: Path, tmp_path: Path, kind: str
) -> None:
    package = ROOT if kind == "checkout" else next(built.glob(kind))
    editable = "-e" if kind == "checkout" else ""
    streams = discover(f"{editable}{package}", tmp_path)
    assert set(streams) == {"calls_uploadings", "counters"}
    for name, fields in streams.items():
        schema = json.loads((ROOT / "schemas" / f"{name}.json").read_text("utf-8"))
        assert fields == set(schema["properties"])


def test_the_wheel_holds_the_package_alone(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert "tap_metrika_calls/py.typed" in names
    assert "tap_metrika_calls/schemas/calls_uploadings.json" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "tap_metrika_calls"
    }
