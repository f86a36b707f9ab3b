"""The whole of what a small sync writes, in a file that people can read.

`UPDATE_SNAPSHOTS=1 pytest tests/protocol/test_snapshot.py` writes it anew; the
difference belongs in the review of a change.
"""

from __future__ import annotations

import json
import os
import re
import typing as t
from datetime import UTC, datetime
from pathlib import Path

from sandbox import Sandbox
from tests.support import config_for, sync

if t.TYPE_CHECKING:
    from tests.support import JSON, Run

SNAPSHOT = Path(__file__).with_name("snapshot_of_a_sync.jsonl")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)$")


def normalized(message: JSON) -> JSON:
    """A message without the time of this run."""
    if TIME.match(message.get("time_extracted", "")):
        message["time_extracted"] = "(now)"
    return message


def readable(run: Run) -> str:
    """The messages of a run: a SCHEMA over several lines, all others in one each."""
    texts = [
        json.dumps(
            normalized(message),
            ensure_ascii=False,
            indent=2 if message["type"] == "SCHEMA" else None,
        )
        for message in run.messages
    ]
    return "\n".join([*texts, ""])


def test_a_small_sync() -> None:
    epoch = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with Sandbox(counters=0, epoch=epoch) as api:
        api.add_counter(7)
        api.add_upload(
            7,
            id=101,
            create_time="2026-02-27T12:00:00+03:00",
            status="PROCESSED",
            source_quantity=10,
            line_quantity=9,
            comment="Звонки 📞",
            client_id_type="CLIENT_ID",
            static_calls_quantity=1,
            dynamic_calls_quantity=8,
            type="CALLS",
            linked_quantity=6,
            user_not_found_quantity=2,
            goal_not_found_quantity=0,
        )
        api.add_upload(7, id=102, create_time=None, status=None, line_quantity=3)
        api.add_upload(7, id=103, create_time="2026-03-01T10:00:00Z", status="MATCHED")
        run = sync(config_for(api, counter_id=7))
    assert run.code == 0
    text = readable(run)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8")
