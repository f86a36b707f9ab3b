"""`--test`: whether the token can read what is configured, one request per counter."""

from __future__ import annotations

import typing as t
from functools import partial

from tap_metrika_calls.api import limits
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.api.prefetch import prefetch

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from tap_metrika_calls.api.client import Page
    from tap_metrika_calls.run import Run
    from tap_metrika_calls.streams import UploadsStream
    from tap_metrika_calls.sync.selection import CounterSelection


def check_counters(
    run: Run, streams: Iterable[UploadsStream], tell: Callable[[str], object]
) -> None:
    """Tell for each counter of each stream how many uploads can be read.

    Raises:
        SyncFailedError: If anything cannot be read; all of it, a line each.
    """
    checked = 0
    try:
        for stream in streams:
            checked += _check_stream(run, stream, tell)
        if not checked:
            tell(f"The token works: it has access to {len(run.counters)} counters.")
    except FatalError as error:
        run.failures.add(error)
    finally:
        run.client.close()
    run.failures.finish({}, run.logger)
    run.failures.raise_if_failed()


def _check_stream(
    run: Run, stream: UploadsStream, tell: Callable[[str], object]
) -> int:
    client = run.client
    selected = stream.select_counters()

    def request(each: CounterSelection) -> tuple[int, Future[Page]]:
        ask = partial(client.uploads, stream.kind, each.counter_id)
        return each.counter_id, client.submit(ask, 0, limits.UPLOADS_PER_PAGE)

    for counter_id, page in prefetch(selected, request, client.parallel):
        with run.failures.kept_apart(stream.name, counter_id):
            count = len(client.wait(page).rows)
            more = " or more" if count >= limits.LAST_PAGE_ROWS else ""
            tell(f"Counter {counter_id}: {count}{more} of {stream.name} can be read.")
    return len(selected)
