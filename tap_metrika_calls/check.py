"""`--test`: whether the token may read what is configured, a request a counter."""

from __future__ import annotations

import typing as t

from tap_metrika_calls.answers import fields, usable_id
from tap_metrika_calls.client import UPLOADINGS_LIMIT
from tap_metrika_calls.errors import CounterError, MetrikaError, SyncFailedError
from tap_metrika_calls.lookup import Ahead

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_metrika_calls.client import MetrikaClient
    from tap_metrika_calls.settings import Wanted


def check_connection(
    client: MetrikaClient,
    wanted_counters: Callable[[], Sequence[Wanted]],
    tell: Callable[[str], object],
) -> None:
    """Tell of each counter how many uploads it has.

    Args:
        client: The API.
        wanted_counters: Gives what is configured; may ask for the list of counters.
        tell: Takes a line for each counter that can be read.

    Raises:
        SyncFailedError: If anything cannot be read; all of it, a line each.
    """
    failures: list[str] = []
    try:
        counters = wanted_counters()
        pages = Ahead(
            lambda wanted: client.submit(client.uploadings, wanted.counter_id, 0),
            counters,
            client.parallel,
        )
        for wanted, page in zip(counters, pages, strict=True):
            try:
                ids = {usable_id(fields(raw)) for raw in client.wait(page)}
                tell(_found(wanted, ids))
            except CounterError as error:
                failures.append(str(error))
        if not counters:
            tell("The token works, and there is no counter to read.")
    except MetrikaError as error:
        failures.append(str(error))
    finally:
        client.close()
    if failures:
        raise SyncFailedError(failures)


def _found(wanted: Wanted, ids: set[int | None]) -> str:
    many = len(ids) >= UPLOADINGS_LIMIT
    told = f"Counter {wanted.counter_id} can be read. Uploads: {len(ids)}"
    told += " or more" if many else ""
    if wanted.uploading_ids:
        among = len(ids.intersection(wanted.uploading_ids))
        told += f", {among} of the {len(wanted.uploading_ids)} configured among "
        told += "the first of them" if many else "them"
    return f"{told}."
