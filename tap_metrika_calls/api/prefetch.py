"""Look-ahead: a bounded number of requests that are sent before they are needed."""

from __future__ import annotations

import typing as t
from collections import deque
from itertools import islice

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_PAGES_AHEAD = 2  # of one list: its pages may have megabytes

_T = t.TypeVar("_T")
_Item = t.TypeVar("_Item")


def prefetch(
    items: Iterable[_Item], make: Callable[[_Item], _T], depth: int
) -> Iterator[_T]:
    """Make something of each item, in order, `depth` of them before they are taken."""
    to_make = map(make, items)
    return _take(deque(islice(to_make, depth)), to_make)


def _take(made: deque[_T], to_make: Iterator[_T]) -> Iterator[_T]:
    while made:
        first = made.popleft()
        made.extend(islice(to_make, 1))
        yield first
