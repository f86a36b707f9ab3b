"""The counters of the demo: each of them is a case that a report has to show."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox.generator import CLIENT_ID_TYPES, Quantities, upload_of
from sandbox.world import FIRST_COUNTER

if t.TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from sandbox.uploads import Upload
    from sandbox.world import World

FIRST_ID = 180_000_001
PAST = timedelta(days=40)
FUTURE = timedelta(days=40)  # so that later demos find new uploads
FALLEN_FOR = timedelta(days=7)
COMMENTS = (
    "звонки колл-центра",
    "Выгрузка CRM 📞",
    "calls, week 12",
    "",
    "ёлка «Сад»",
    '<b>важно</b> & "срочно"',
    "<script>alert('звонок')</script>",
    "☎️ 100 % | a;b,c",
)


@dataclass(frozen=True)
class Series:
    """Uploads that somebody makes regularly.

    Attributes:
        every: Hours between two uploads.
        share: The share of the rows, static calls aside, that is linked.
        kind: Their `type`.
        client_id_types: Their kinds of IDs, in turn.
        stopped: Days before the epoch when the last was made, if they stopped.
        recent_share: The share in the days before the epoch, and after.
        static: Every how many rows one is a static call.
    """

    every: float
    share: float
    kind: str = "CALLS"
    client_id_types: tuple[str, ...] = ("CLIENT_ID",)
    stopped: float | None = None
    recent_share: float | None = None
    static: int = 10


@dataclass(frozen=True)
class Single:
    """One upload with a problem.

    Attributes:
        age: Hours before the epoch.
        source: Rows in the file.
        valid: Rows that passed validation.
        static: Static calls among these.
        linked: Rows that are linked.
        last: The status that it never leaves.
        kind: Its `type`.
    """

    age: float
    source: int
    valid: int
    static: int = 0
    linked: int = 0
    last: str | None = None
    kind: str = "CALLS"


@dataclass(frozen=True)
class Created:
    """An upload without its ID: all of the world share one number space."""

    at: datetime
    counter_id: int
    kind: str
    quantities: Quantities
    client_id_type: str
    last: str | None = None


HEALTHY = Series(8, 0.75)
COUNTERS: dict[str, tuple[Series | Single, ...]] = {
    "Магазин «Ёлка» 🎄": (
        Series(2, 0.7, client_id_types=CLIENT_ID_TYPES),
        *(Single(age, 60, 60, 4, 41) for age in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)),
    ),
    "Клиника «Улыбка»": (Series(12, 0.6, stopped=12.5),),
    "Автосалон <Движок> & сын": (
        Series(8, 0.8, recent_share=0.2, client_id_types=("CLIENT_ID", "YCLID")),
    ),
    "Окна и двери": (
        HEALTHY,
        Single(5, 120, 0),
        Single(29, 80, 0),
        Single(11, 200, 143, 10, 96),
        Single(53, 90, 88, 0, 60, kind="BASIC"),
    ),
    "Такси «Северное»": (
        Series(12, 0.65),
        Single(7, 45, 45, 5),
        Single(31, 30, 30, 30),
        Single(55, 25, 25, 25),
    ),
    "Доставка 24": (
        HEALTHY,
        Single(9, 70, 70, 2, 50, last="MATCHED"),
        Single(75, 64, 64, 3, 40, last="UPLOADED"),
    ),
    "Онлайн-школа": (
        Series(12, 0.5, client_id_types=("USER_ID",)),
        Series(24, 0.4, kind="BASIC", client_id_types=CLIENT_ID_TYPES),
        Series(36, 0.55, kind="CHATS", client_id_types=("CLIENT_ID", "YCLID")),
        Single(8, 40, 40, kind="BASIC"),
        Single(6, 22, 22, 0, 9, last="EXPORTED", kind="CHATS"),
    ),
}


def add_demo_counters(world: World) -> None:
    """Add the counters of the demo."""
    rng = world.rng("demo")
    created: list[Created] = []
    for counter_id, (name, cases) in enumerate(COUNTERS.items(), FIRST_COUNTER):
        world.add_counter(counter_id, name)
        for case in cases:
            if isinstance(case, Series):
                created += _series(rng, counter_id, case, world.epoch)
            else:
                created.append(_single(rng, counter_id, case, world.epoch))
    upload_id = FIRST_ID
    for one in sorted(created, key=lambda one: one.at):
        world.add_upload(one.counter_id, one.kind, _upload(rng, upload_id, one))
        upload_id += rng.randint(1, 900)


def _series(
    rng: random.Random, counter_id: int, series: Series, epoch: datetime
) -> Iterator[Created]:
    at = epoch - PAST
    stop = epoch + FUTURE
    if series.stopped is not None:
        stop = epoch - timedelta(days=series.stopped)
    turn = 0
    while (at := at + timedelta(hours=series.every * rng.uniform(0.85, 1.15))) < stop:
        share = series.share
        if series.recent_share is not None and at >= epoch - FALLEN_FOR:
            share = series.recent_share
        rows = rng.randint(20, 120)
        static = rows // series.static if series.kind == "CALLS" else 0
        linked = round((rows - static) * share * rng.uniform(0.85, 1.15))
        yield Created(
            at.replace(microsecond=0),
            counter_id,
            series.kind,
            Quantities(rows, rows, static, linked),
            series.client_id_types[turn % len(series.client_id_types)],
        )
        turn += 1


def _single(
    rng: random.Random, counter_id: int, single: Single, epoch: datetime
) -> Created:
    at = epoch - timedelta(hours=single.age)
    quantities = Quantities(single.source, single.valid, single.static, single.linked)
    return Created(
        at.replace(microsecond=0),
        counter_id,
        single.kind,
        quantities,
        rng.choice(CLIENT_ID_TYPES),
        single.last,
    )


def _upload(rng: random.Random, upload_id: int, created: Created) -> Upload:
    return upload_of(
        rng,
        upload_id,
        created.at,
        created.kind,
        created.quantities,
        last=created.last,
        comment=rng.choice(COMMENTS),
        client_id_type=created.client_id_type,
    )
