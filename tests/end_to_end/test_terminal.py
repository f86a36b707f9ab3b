"""What a person at a terminal sees of a long sync."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import termios
import typing as t

from tests.support import TAP, clean_environment, config_for, run

if t.TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox


def test_a_long_sync_shows_its_progress_on_a_terminal_alone(
    api: Sandbox, tmp_path: Path
) -> None:
    api.latency = 0.3
    counter = api.add_counter(7, uploads=45)
    ids = [upload.fields["id"] for upload in counter.uploads]
    config = config_for(api, counter_id=7, uploading_ids=ids, lookup="by_id")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 100))
    with subprocess.Popen(
        [TAP, "--config", path],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=clean_environment(),
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read(ours), b""))
        assert process.wait(30) == 0
    os.close(ours)
    assert b"\rcalls_uploadings: " in shown
    api.latency = 0
    assert "\r" not in run(config, tmp_path).log


def read(terminal: int) -> bytes:
    """Read what is there; nothing once the other side is closed."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
