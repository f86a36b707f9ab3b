"""The package, installed from a wheel, an sdist and a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
import zipfile

import pytest

from tests.end_to_end.tools import ROOT, uv
from tests.support import clean_environment

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--sdist", "--wheel", "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def installed(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Put the tap into a clean environment, in place of the one that is there."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    uv("venv", "--python", sys.executable, venv)

    def install(kind: str) -> Path:
        package = [next(built.glob(kind))] if kind != "checkout" else ["-e", ROOT]
        uv("pip", "install", "--python", venv / "bin" / "python", *package)
        return venv / "bin" / "tap-metrika-calls"

    return install


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz", "checkout"])
def test_schemas_are_found_wherever_the_tap_is(
    installed: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    done = subprocess.run(
        [installed(kind), "--discover"],
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


def test_the_wheel_holds_the_package_alone(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert "tap_metrika_calls/py.typed" in names
    assert "tap_metrika_calls/schemas/calls_uploadings.json" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "tap_metrika_calls"
    }
