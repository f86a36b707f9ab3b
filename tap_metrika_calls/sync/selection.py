"""What is configured to be read: counters, and uploads of them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from collections.abc import Mapping

MAX_IDS_BY_ID = 10  # with `lookup: auto`; more are looked up in the list


@dataclass(frozen=True, slots=True)
class CounterSelection:
    """What to read of one counter.

    Attributes:
        counter_id: The counter.
        is_whole: Whether every upload of the counter is read, incrementally.
        uploading_ids: The uploads emitted in every sync, each once.
    """

    counter_id: int
    is_whole: bool = True
    uploading_ids: tuple[int, ...] = ()

    def needs_list(self, lookup: str) -> bool:
        """Return whether the counter's list is read: "by_id", "list" or "auto"."""
        max_by_id = 0 if lookup == "list" else MAX_IDS_BY_ID
        are_many = lookup != "by_id" and len(self.uploading_ids) > max_by_id
        return self.is_whole or are_many


def select_counters(config: Mapping[str, t.Any]) -> list[CounterSelection] | None:
    """Return the configured counters, each once; None if every counter is read."""
    entries: list[Mapping[str, t.Any]] = list(config.get("counters", ()))
    if "counter_id" in config:
        entries.insert(0, config)
    elif "counters" not in config:
        return None
    whole: set[int] = set()
    ids: dict[int, dict[int, None]] = {}
    for entry in entries:
        listed = ids.setdefault(entry["counter_id"], {})
        if "uploading_ids" in entry and entry["uploading_ids"] is not None:
            listed.update(dict.fromkeys(entry["uploading_ids"]))
        else:
            whole.add(entry["counter_id"])
    return [CounterSelection(c, c in whole, tuple(ids[c])) for c in ids]
