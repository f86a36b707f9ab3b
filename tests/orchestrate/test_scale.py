"""What docs/scale.md says about many logins, simulated in virtual time."""

from __future__ import annotations

import pytest

from orchestrate.accounts import DEFAULT_RATE
from scripts.simulate_scale import (
    ADDRESS_LIMIT,
    CORES,
    DAILY_QUOTA,
    DAY,
    accounts_of,
    simulate,
)

HOUR = 60 * 60
HUNDRED_COUNTERS = 101  # requests: a page each, and the list of counters


def test_a_day_of_1000_logins_keeps_the_limits() -> None:
    result = simulate(
        accounts_of(1_000, 1), HUNDRED_COUNTERS, 2 * HOUR, cores=CORES, seconds=DAY + 1
    )
    assert not result.is_late
    assert len(result.rounds) == 12
    assert result.requests == 12 * 1_000 * HUNDRED_COUNTERS
    assert result.most_per_second == 4 * DEFAULT_RATE < ADDRESS_LIMIT
    assert result.most_per_day <= DAILY_QUOTA
    assert result.most_at_once == 4


@pytest.mark.parametrize(("addresses", "is_late"), [(1, True), (2, False)])
def test_every_hour_needs_two_addresses(addresses: int, is_late: bool) -> None:  # noqa: FBT001
    accounts = accounts_of(1_000, addresses)
    result = simulate(accounts, HUNDRED_COUNTERS, HOUR, cores=CORES, seconds=HOUR + 1)
    assert result.is_late is is_late


@pytest.mark.parametrize(("addresses", "is_late"), [(1, True), (2, False)])
def test_5_million_requests_a_day_need_two_addresses(
    addresses: int,
    is_late: bool,  # noqa: FBT001
) -> None:
    result = simulate(
        accounts_of(1_000, addresses, rate=10),
        DAILY_QUOTA,
        DAY,
        cores=CORES,
        seconds=DAY + 1,
    )
    assert result.is_late is is_late
    assert result.most_per_second == ADDRESS_LIMIT
    if not is_late:
        assert result.requests == 5_000_000
