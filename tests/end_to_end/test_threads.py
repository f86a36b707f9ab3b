"""Threads: what only one of them may do."""

from __future__ import annotations

import json
import os
import typing as t

from tests.support import catalog_of, clean_environment, config_for, finish, running

if t.TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox

# The first decoding into a type builds a description of it, which threads that do so
# at the same time see half built: msgspec then ends the process by SIGSEGV.
HOOK = """
import os, sys, threading
def profile(frame, event, _):
    if event == "call" and frame.f_code.co_filename.endswith("msgspec/_utils.py"):
        sys.stderr.write(f"described in a thread: {frame.f_code.co_name}\\n")
        sys.stderr.flush()
        os._exit(99)
threading.setprofile(profile)
"""


def test_types_are_described_before_threads_decode(
    api: Sandbox, tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    api.add_counter(7)
    for upload_id in (1, 2):
        api.add_upload(7, id=upload_id)
    api.add_counter(8, inaccessible=True)
    counters = [
        {"counter_id": 7, "uploading_ids": [1, 99]},
        {"counter_id": 7},
        {"counter_id": 8},
    ]
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(api, counters=counters)), encoding="utf-8")
    catalog = tmp_path / "catalog.json"
    streams = ("calls_uploadings", "counters")
    catalog.write_text(json.dumps(catalog_of(*streams)), encoding="utf-8")
    paths = [str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = clean_environment(PYTHONPATH=os.pathsep.join(paths))
    with running(
        "--config", config, "--catalog", catalog, cwd=tmp_path, env=env
    ) as process:
        result = finish(process)
    assert "described in a thread" not in result.log
    assert result.code == 1
    assert sorted(result.ids) == [1, 2]
