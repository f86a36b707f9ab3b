"""The package, built and installed; the other tests run it from a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
import zipfile

import pytest

from tests.end_to_end.tools import ROOT, uv
from tests.support import TAP, clean_environment

if t.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--out-dir", folder)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    return next(folder.glob("*.whl"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """The tap, installed from the wheel into an environment without anything else."""
    environment = tmp_path / "environment"
    uv("venv", "--python", sys.executable, environment)
    uv("pip", "install", "--python", environment, wheel)
    return environment / "bin" / TAP.name


def test_schemas_are_found_where_the_tap_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [installed, "--discover"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found = {s["tap_stream_id"]: s for s in json.loads(done.stdout)["streams"]}
    assert set(found) == {
        "calls_uploadings",
        "chats_uploadings",
        "conversions_uploadings",
        "counters",
    }
    for path in (ROOT / "schemas").glob("*.json"):
        schema = json.loads(path.read_text("utf-8"))
        properties = found[path.stem]["schema"]["properties"]
        assert set(properties) == set(schema["properties"])


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "tap_metrika_calls/py.typed" in names
    assert "tap_metrika_calls/schemas/calls_uploadings.json" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "tap_metrika_calls"
    }
