"""An API with uploads of all kinds, and what a table loaded from it has to hold."""

from __future__ import annotations

import contextlib
import json
import typing as t
from datetime import UTC, datetime, timedelta

from sandbox import Sandbox
from tests.end_to_end.tools import ROOT

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JSON: t.TypeAlias = dict[str, t.Any]
Key: t.TypeAlias = tuple[int, int]

FINAL = ("PROCESSED", "LINKAGE_FAILURE")
SCHEMA = json.loads((ROOT / "schemas" / "calls_uploadings.json").read_text("utf-8"))
COLUMNS = tuple(SCHEMA["properties"])
QUIET = 7  # a counter whose uploads are final, and long past
ASKED = 8  # a counter whose uploads are asked for by ID
ASKED_IDS = (2**53 + 1, 1, 2, 3, 4, 5)


@contextlib.contextmanager
def lively_api() -> Iterator[Sandbox]:
    """Run a mock API ten days ago, with uploads of all kinds, some of them in flight.

    Between what is older than two hours by the clock of a database and what is not lie
    days, so that it does not matter how long a test takes.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    with Sandbox(counters=2, uploads=25, epoch=now - timedelta(days=10)) as api:
        api.add_counter(QUIET)
        for days in range(5):
            created = api.epoch - timedelta(days=60 + days)
            api.add_upload(QUIET, create_time=created.isoformat())
        api.add_counter(ASKED)
        first, timeless, matched, static, dynamic, future = ASKED_IDS
        api.add_upload(
            ASKED, id=first, comment="Звонки 📞 \u202e'\"\\,;\t\n", source_quantity=0
        )
        api.add_upload(ASKED, id=timeless, create_time=None, status=None)
        hours_ago = (api.epoch - timedelta(hours=3)).isoformat()
        api.add_upload(ASKED, id=matched, create_time=hours_ago, status="MATCHED")
        for key, quantity in ((static, 0), (dynamic, 5)):
            api.add_upload(
                ASKED, id=key, status="LINKAGE_FAILURE", dynamic_calls_quantity=quantity
            )
        tomorrow = (now + timedelta(days=1)).isoformat()
        api.add_upload(ASKED, id=future, create_time=tomorrow, status="UPLOADED")
        yield api


def selection(api: Sandbox) -> list[JSON]:
    """Return the setting `counters`: whole counters, and uploads by ID at the end.

    The uploads asked for leave no bookmark, so that the last state of a sync equals the
    one before the last records.
    """
    whole = [{"counter_id": number} for number in api.counters if number != ASKED]
    return [*whole, {"counter_id": ASKED, "uploading_ids": list(ASKED_IDS)}]


def uploads_now(api: Sandbox) -> dict[Key, JSON]:
    """Return the rows that a table has to hold: every column, null where unknown."""
    empty = dict.fromkeys(COLUMNS)
    return {
        (counter.id, upload.fields["id"]): {
            **empty,
            **upload.at(api.now()),
            "counter_id": counter.id,
        }
        for counter in api.counters.values()
        for upload in counter.uploads
    }


def keyed(rows: Iterable[JSON]) -> dict[Key, JSON]:
    """Return rows by their key; later ones replace earlier ones."""
    return {(row["counter_id"], row["id"]): row for row in rows}


def assert_same(
    rows: Iterable[JSON], expected: dict[Key, JSON], *, keeps_empty: bool = True
) -> None:
    """Assert that a table holds these uploads, field by field.

    Args:
        rows: The table.
        expected: The uploads.
        keeps_empty: Whether the loader tells an empty string from null.
    """
    rows = list(rows)
    table = keyed(rows)
    assert len(table) == len(rows)
    assert table.keys() == expected.keys()
    for key, upload in expected.items():
        for name, value in upload.items():
            loaded = table[key][name]
            if name == "create_time" and value is not None:
                assert instant(loaded) == instant(value), key
            elif keeps_empty or value != "":
                assert loaded == value, (key, name)


def instant(text: str) -> datetime:
    """Return an instant, in UTC where a database keeps no zone."""
    parsed = datetime.fromisoformat(text)
    return parsed.replace(tzinfo=parsed.tzinfo or UTC)
