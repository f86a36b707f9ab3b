"""Uploads of all kinds, and what the models have to say of each."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

JSON: t.TypeAlias = dict[str, t.Any]

COLUMNS = {
    "counter_id": "int",
    "id": "int",
    "create_time": "timestamp",
    "source_quantity": "int",
    "line_quantity": "int",
    "static_calls_quantity": "int",
    "dynamic_calls_quantity": "int",
    "linked_quantity": "int",
    "user_not_found_quantity": "int",
    "goal_not_found_quantity": "int",
    "comment": "text",
    "client_id_type": "text",
    "status": "text",
    "type": "text",
}
COUNTERS = {"id": "int", "name": "text", "site": "text"}
FINAL = ("PROCESSED", "LINKAGE_FAILURE")
FIRST_FLIGHT = 1
SECOND_FLIGHT = 2
NAME = "<b>Shop</b> & \"Co\" 'Ё' {{ 7 * 7 }}"
COMMENT = "<script>alert(1)</script> \u202e</td> &amp; {{ 7 * 7 }} "
EMOJI = "\N{TELEPHONE RECEIVER}" * 255


@dataclass(frozen=True)
class Case:
    """One upload.

    Attributes:
        fields: What was loaded.
        stream: The stream it was loaded with.
        attention: The `attention_reason` it has to have.
        stuck: Whether it has to be stuck.
        rate: The `linked_rate` it has to have.
    """

    fields: JSON
    stream: str = "calls"
    attention: str | None = None
    stuck: bool = False
    rate: float | None = None

    @property
    def row(self) -> list[t.Any]:
        """The row in a loader's table."""
        return [self.fields.get(name) for name in COLUMNS]


@dataclass
class World:
    """What was loaded, and what is expected of it.

    Attributes:
        now: The time it was made at, in UTC.
    """

    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    )

    def ago(self, **span: float) -> str:
        """A time before now."""
        return (self.now - timedelta(**span)).isoformat(" ")

    def upload(self, upload: int, counter: int = 7, **fields: object) -> JSON:
        """An upload that was processed, but for what is given."""
        return {
            "counter_id": counter,
            "id": upload,
            "create_time": self.ago(days=3),
            "source_quantity": 10,
            "line_quantity": 10,
            "static_calls_quantity": 0,
            "dynamic_calls_quantity": 10,
            "client_id_type": "CLIENT_ID",
            "status": "PROCESSED",
            **fields,
        }

    @property
    def cases(self) -> list[Case]:
        """The uploads that show one thing each."""
        up, ago = self.upload, self.ago
        return [
            Case(
                up(FIRST_FLIGHT, status="MATCHED", create_time=ago(hours=3)),
                attention="stuck",
                stuck=True,
            ),
            Case(up(SECOND_FLIGHT, status="UPLOADED", create_time=ago(hours=1))),
            Case(up(3, status=None), attention="stuck", stuck=True),
            Case(up(4, status="MATCHED", create_time=None)),
            Case(up(5, line_quantity=0), attention="all_rows_rejected"),
            Case(up(6, source_quantity=0, line_quantity=0, linked_quantity=0)),
            Case(
                up(7, status="LINKAGE_FAILURE", linked_quantity=0, client_id_type=None),
                attention="not_linked",
                rate=0,
            ),
            Case(up(8, status="LINKAGE_FAILURE", dynamic_calls_quantity=0)),
            Case(
                up(9, line_quantity=8, linked_quantity=6, comment=COMMENT),
                attention="rows_rejected",
                rate=0.75,
            ),
            Case(up(10, linked_quantity=6, client_id_type="YCLID"), rate=0.6),
            Case(up(11, status="NEWBORN"), attention="stuck", stuck=True),
            Case(
                up(2**53 + 1, counter=2**31 - 1, comment=EMOJI, linked_quantity=1),
                rate=0.1,
            ),
            Case({"counter_id": 7, "id": 14}),
            Case(
                up(15, status="LINKAGE_FAILURE", dynamic_calls_quantity=None),
                attention="not_linked",
            ),
            Case(
                up(1, status="LINKAGE_FAILURE", dynamic_calls_quantity=0),
                stream="conversions",
                attention="not_linked",
            ),
            Case(up(2, linked_quantity=5), stream="conversions", rate=0.5),
        ]

    @property
    def silent(self) -> list[Case]:
        """Uploads of counters of which one fell silent.

        20 uploaded daily until six days ago, 21 three files each week, 22 only four
        times, 23 daily until yesterday.
        """
        days = {
            20: range(6, 16),
            21: [6, 6.01, 6.02, 13, 13.01, 13.02, 20, 20.01, 20.02],
            22: range(10, 14),
            23: range(1, 10),
        }
        return [
            Case(self.upload(upload, counter=counter, create_time=self.ago(days=day)))
            for counter, times in days.items()
            for upload, day in enumerate(times)
        ]

    @property
    def fallen(self) -> list[Case]:
        """Uploads of counters of which one has a linked share that fell.

        Of 30 the share fell from 0.8 to 0.3, of 31 too, but with too few rows to tell;
        of 32 it is just half.
        """
        shares = {30: (100, 80, 30), 31: (19, 15, 5), 32: (100, 80, 40)}
        cases = []
        for counter, (rows, before, recent) in shares.items():
            for upload, (day, linked) in enumerate(
                [(8, before), (34, before), (6, recent)]
            ):
                quantities = {"line_quantity": rows, "source_quantity": rows}
                fields = self.upload(
                    upload,
                    counter=counter,
                    create_time=self.ago(days=day),
                    linked_quantity=linked,
                    **quantities,
                )
                cases.append(Case(fields, rate=linked / rows))
        return cases

    @property
    def everything(self) -> list[Case]:
        """All uploads."""
        return [*self.cases, *self.silent, *self.fallen]

    def rows(self, stream: str) -> list[list[t.Any]]:
        """The rows of a loader's table."""
        return [case.row for case in self.everything if case.stream == stream]


COUNTER_ROWS = [[20, NAME, "shop.example"], [7, None, None], [99, "Never used", None]]
SILENT = {20}
FALLEN = {30}
