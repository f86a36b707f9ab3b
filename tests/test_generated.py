"""The files that are made from `--about` are as it tells."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import generate

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    version("singer-sdk").startswith("0.55"),
    reason="singer-sdk 0.55 adds to --about; the files are made with the lock",
)


def test_nothing_has_drifted() -> None:
    command = [sys.executable, "scripts/generate.py", "--check"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, to spoil."""
    for path in [*generate.generated(), ROOT / "scripts" / "settings.ru.json"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "README.ru.md",
        "meltano.yml",
        "hub/tap-metrika-calls.yml",
        ".env.example",
    ],
)
def test_a_drift_is_told(
    files: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main() == 0
    path = files / name
    spoilt = path.read_text("utf-8").replace("max_attempts", "attempts")
    path.write_text(spoilt.replace("MAX_ATTEMPTS", "ATTEMPTS"), "utf-8")
    assert generate.main() == 1
    assert capsys.readouterr().out.startswith(f"{name} is not as --about tells")


def test_a_new_setting_without_a_russian_text_is_told(files: Path) -> None:
    texts = files / "scripts" / "settings.ru.json"
    texts.write_text(texts.read_text("utf-8").replace('"ulogin"', '"login"'), "utf-8")
    with pytest.raises(SystemExit, match="login, ulogin"):
        generate.main()
