"""What is configured for one counter."""

from __future__ import annotations

from dataclasses import dataclass


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
