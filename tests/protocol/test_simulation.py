"""No upload is lost and no status stale, whatever happens between the syncs.

The state machine of `tests.simulation` runs the tap. It also runs a reference tap, to
show that the contract can be kept, and that tap with the faults that taps are known
for, each of which it has to catch.
"""

from __future__ import annotations

import os
import typing as t
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests import simulation
from tests.reference_tap import ReferenceTap
from tests.simulation import JSON, Simulation, Tap, run_tap

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tests.support import RecordProperty

PARTS = 2
COMMON = 12
SCENARIOS = int(os.environ.get("SIMULATED_SCENARIOS", COMMON))
STEPS = 25


def simulate(
    tap: Tap,
    scenarios: int,
    part: int = 0,
    counts: Counter[str] | None = None,
    phases: tuple[Phase, ...] = (Phase.generate, Phase.shrink),
) -> Counter[str]:
    """Run a tap through scenarios, the same ones each time.

    Returns:
        How many scenarios, syncs, crashes and requests there were.
    """

    counts = Counter() if counts is None else counts

    @seed(part)
    def machine() -> Simulation:
        return Simulation(tap, counts)

    run_state_machine_as_test(
        t.cast("type[Simulation]", machine),
        settings=settings(
            max_examples=scenarios,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return counts


class NaiveBookmark(ReferenceTap):
    """Takes the newest `create_time` for all there is to know."""

    def in_flight(self, rows: object) -> list[int]:  # noqa: ARG002
        return []


class NoOverlap(ReferenceTap):
    """Does not wait for uploads that are shown late."""

    overlap = simulation.SECOND * 0


class NaiveEarlyStop(ReferenceTap):
    """Stops at the first known upload, whatever the order."""

    def is_in_order(self, times: list[datetime | None]) -> bool:  # noqa: ARG002
        return True


class NoFullRead(ReferenceTap):
    """Trusts an order for ever."""

    def is_due(self, full_read: JSON) -> bool:  # noqa: ARG002
        return False


class ShortPageEnds(ReferenceTap):
    """Takes a page shorter than requested for the last one."""

    def is_last(self, received: int, requested: int) -> bool:
        return received < requested


class OffsetIsPosition(ReferenceTap):
    """Takes an offset for a position, though rows before it are deleted."""

    def pages(
        self, fetch: Callable[[int, int], list[JSON]], rows: int
    ) -> Iterator[tuple[list[JSON], bool]]:
        seen: set[int] = set()
        offset = 0
        while page := fetch(offset, rows):
            fresh = [row for row in page if row["id"] not in seen]
            seen.update(row["id"] for row in fresh)
            offset += len(page)
            yield fresh, False


class StateFirst(ReferenceTap):
    """Writes the state of a counter before its records."""

    def emit(self, key: tuple[str, int], row: JSON) -> None:
        self.held = [*getattr(self, "held", ()), (key, row)]

    def sync_stream(self, stream: str, *, is_full_table: bool) -> None:
        super().sync_stream(stream, is_full_table=is_full_table)
        for key, row in getattr(self, "held", ()):
            super().emit(key, row)
        self.held = []


class ForgetsStartDate(ReferenceTap):
    """Does not read again from the start when `start_date` moves back."""

    def commit(self, key: tuple[str, int], partition: JSON) -> None:
        partition.pop("start_date", None)
        super().commit(key, partition)


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_and_nothing_is_stale(
    record_property: RecordProperty, part: int
) -> None:
    with simulation.small_and_repeatable():
        counts = simulate(run_tap, SCENARIOS // PARTS, part)
    record_property("simulated", dict(counts))
    assert counts["syncs"] > SCENARIOS // PARTS
    assert counts["crashes"]


def test_the_contract_can_be_kept(record_property: RecordProperty) -> None:
    counts = simulate(ReferenceTap.run, SCENARIOS)
    record_property("simulated", dict(counts))


BUGS = [
    NaiveBookmark,
    NoOverlap,
    NaiveEarlyStop,
    ShortPageEnds,
    OffsetIsPosition,
    StateFirst,
    ForgetsStartDate,
    NoFullRead,
]


# What is rare is looked for where there is time for it.
@pytest.mark.parametrize("bug", BUGS if SCENARIOS > COMMON else BUGS[:-1])
def test_a_fault_is_caught(
    record_property: RecordProperty, bug: type[ReferenceTap]
) -> None:
    counts: Counter[str] = Counter()
    with pytest.raises(AssertionError, match=r"is lost|is stale"):
        simulate(bug.run, 2_000, counts=counts, phases=(Phase.generate,))
    record_property("caught", f"in scenario {counts['scenarios']}")


def test_a_loss_is_shown_in_a_few_steps() -> None:
    with pytest.raises(AssertionError, match="is lost") as caught:
        simulate(ShortPageEnds.run, 2_000)
    steps = "\n".join(caught.value.__notes__)
    assert 2 <= steps.count("state.") <= 6, steps
