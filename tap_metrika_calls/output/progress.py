"""How far a long sync is, for a person at a terminal."""

from __future__ import annotations

import sys
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Iterator

_T = t.TypeVar("_T")

SECONDS_UNTIL_SHOWN = 3


def with_progress(records: Iterator[_T], name: str) -> Iterator[_T]:
    """Count records on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from records
        return
    from tqdm import tqdm  # noqa: PLC0415
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    with logging_redirect_tqdm():
        yield from tqdm(records, desc=name, unit="", delay=SECONDS_UNTIL_SHOWN)
