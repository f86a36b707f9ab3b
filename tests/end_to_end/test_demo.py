"""`make demo`, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.end_to_end.tools import ROOT
from tests.support import clean_environment

if t.TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("make"), reason="needs make"),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the demo needs, with the tools and the environment of this one."""
    folder = tmp_path_factory.mktemp("a checkout")
    files = subprocess.check_output(
        ["git", "ls-files", "-z"],  # noqa: S607
        cwd=ROOT,
        text=True,
    )
    for name in files.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if (ROOT / ".tools").exists():
        (folder / ".tools").symlink_to(ROOT / ".tools")
    return folder


def demo(checkout: Path) -> subprocess.Popen[str]:
    """Start the demo in a process group of its own."""
    return subprocess.Popen(
        ["make", "--no-print-directory", "demo"],  # noqa: S607
        cwd=checkout,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def left_running(checkout: Path) -> list[str]:
    """Processes that still work in the checkout."""
    return list(_commands_in(checkout))


def _commands_in(checkout: Path) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == checkout:
                yield (process / "cmdline").read_text("utf-8").replace("\0", " ")
        except OSError:
            continue


def test_the_demo_loads_stops_and_shows_what_moved(checkout: Path) -> None:
    assert " uploads in " in output_of_a_whole(demo(checkout))
    with demo(checkout) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("Loading"):
                break
        os.killpg(process.pid, signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in out
    assert left_running(checkout) == []
    assert "Since the last time: " in output_of_a_whole(demo(checkout))
    assert left_running(checkout) == []


def output_of_a_whole(process: subprocess.Popen[str]) -> str:
    """Wait for a demo, and return what it printed."""
    with process:
        out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert "PROCESSED" in out
    assert out.rstrip().endswith(".demo/report.html")
    return out
