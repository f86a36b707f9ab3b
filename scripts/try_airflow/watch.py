"""Looks for tokens where they must not be, for as long as something is tried."""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "secret-token-of-"  # noqa: S105 - how each token begins
TAP = "/tap-metrika-calls"
SETTINGS = "*/.meltano/run/elt/*/*/tap.*.config.json"
OTHERS = 0o077
PAUSE = 0.3  # seconds


class Watch:
    """A look at all processes, and at the files in which Meltano keeps settings.

    Attributes:
        shown: Where a token could be seen.
        taps: Command lines of the tap that were looked at.
        files: Files with settings that were looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.shown: set[str] = set()
        self.taps: set[str] = set()
        self.files: set[Path] = set()
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> t.Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE):
            for command in command_lines():
                if TAP in command:
                    self.taps.add(command)
                if SECRET in command:
                    self.shown.add(command)
            with contextlib.suppress(FileNotFoundError):  # a folder that goes meanwhile
                self._look_at_files()

    def _look_at_files(self) -> None:
        for path in self._folder.glob(SETTINGS):
            if path.stat().st_mode & OTHERS:
                self.shown.add(f"{path}: others may read it")
            self.files.add(path)


def command_lines() -> Iterator[str]:
    """Yield the arguments of each process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text("utf-8", "replace").replace("\0", " ")


def files_with_tokens(folder: Path) -> list[Path]:
    """Return the files that hold a token; what was installed is passed over."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "venv"]
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and SECRET.encode() in path.read_bytes():
                    found.append(path)
    return found
