"""Makes uploads that are processed as the documentation tells."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta, timezone

from sandbox.uploads import Fields, Upload

if t.TYPE_CHECKING:
    import random

MOSCOW = timezone(timedelta(hours=3))
STAGES = ("PREPARED", "UPLOADED", "EXPORTED", "MATCHED")
LONGEST_PROCESSING = 115  # minutes
CLIENT_ID_TYPES = ("USER_ID", "CLIENT_ID", "YCLID")
COMMENTS = ("звонки колл-центра", "Выгрузка CRM 📞", "calls, week 12", "", "ёлка «Сад»")
MAY_BE_ABSENT = ("comment", "type", "linked_quantity", "static_calls_quantity")
UNLINKABLE_SHARE = 0.15
STUCK_EVERY = 20
STUCK_PLACE = 7


class Quantities(t.NamedTuple):
    """What is in an upload: rows, valid ones, static calls, linked ones."""

    source: int
    valid: int
    static: int
    linked: int


def upload_of(  # noqa: PLR0913
    rng: random.Random,
    upload_id: int,
    created: datetime,
    kind: str,
    quantities: Quantities,
    *,
    last: str | None = None,
    comment: str | None = None,
    client_id_type: str | None = None,
) -> Upload:
    """Return an upload.

    Args:
        rng: Chooses what is not given.
        upload_id: Its ID.
        created: When its first status begins.
        kind: Its `type`.
        quantities: Its rows.
        last: Its last status; without one it follows from what is linked.
        comment: Its comment.
        client_id_type: Its kind of IDs.
    """
    source, valid, static, linked = quantities
    fields: Fields = {
        "id": upload_id,
        "create_time": _written(created, rng.choice((UTC, MOSCOW))),
        "source_quantity": source,
        "line_quantity": valid,
        "comment": rng.choice(COMMENTS) if comment is None else comment,
        "client_id_type": client_id_type or rng.choice(CLIENT_ID_TYPES),
        "status": STAGES[0],
        "static_calls_quantity": static,
        "dynamic_calls_quantity": valid - static,
        "type": kind,
        "linked_quantity": linked,
        "user_not_found_quantity": valid - static - linked,
        "goal_not_found_quantity": 0,
    }
    if kind != "CALLS":
        del fields["static_calls_quantity"], fields["dynamic_calls_quantity"]
    last = last or ("PROCESSED" if linked else "LINKAGE_FAILURE")
    statuses = STAGES[: STAGES.index(last)] if last in STAGES else STAGES
    steps = sorted(rng.uniform(1, LONGEST_PROCESSING) for _ in statuses)
    begins = [created + timedelta(minutes=step) for step in (0, *steps)]
    return Upload(fields, list(zip(begins, (*statuses, last), strict=True)))


def random_uploads(
    rng: random.Random, first_id: int, epoch: datetime, kind: str, count: int
) -> list[Upload]:
    """Return uploads of all sorts, the last created shortly before the epoch."""
    uploads = []
    upload_id = first_id
    for index in range(count):
        source = rng.randint(1, 500)
        valid = rng.randint(source // 2, source)
        static = rng.randint(0, valid // 3) if kind == "CALLS" else 0
        stuck = index % STUCK_EVERY == STUCK_PLACE
        upload = upload_of(
            rng,
            upload_id,
            epoch - timedelta(minutes=40 * (count - index) - 30),
            kind,
            Quantities(source, valid, static, random_linked(rng, valid - static)),
            last=STAGES[-1] if stuck else None,
        )
        for name in rng.sample(MAY_BE_ABSENT, k=rng.choice((0, 0, 0, 2))):
            upload.fields.pop(name, None)
        uploads.append(upload)
        upload_id += rng.randint(1, 9)
    return uploads


def random_linked(rng: random.Random, linkable: int) -> int:
    """Return how many rows are linked."""
    return 0 if rng.random() < UNLINKABLE_SHARE else rng.randint(0, linkable)


def _written(instant: datetime, zone: timezone) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")
