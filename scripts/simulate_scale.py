"""Simulates loads of many logins in virtual time: `python -m scripts.simulate_scale`.

The file of logins and the plan are the real ones; Airflow is replaced by its rule for
pools: the first task that waits starts when its slots are free.
"""

from __future__ import annotations

import itertools
import sys
import typing as t
from collections import Counter, deque
from dataclasses import dataclass, field

from orchestrate.accounts import DEFAULT_RATE, Account, Accounts
from orchestrate.plan import dag_plans, pools

if t.TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 24 * 60 * 60
ADDRESS_LIMIT = 30  # requests per second
DAILY_QUOTA = 5_000  # requests of a login
# Seconds of one core, as measured: Airflow's process and Meltano's start, then the end.
CORE_SECONDS_BEFORE = 10.0
CORE_SECONDS_AFTER = 3.0
CORES = 4  # of the machine behind an address
SIZES = (  # logins, counters of each, hours between two rounds
    (10, 100, 1),
    (1_000, 10, 1),
    (1_000, 100, 2),
    (1_000, 100, 1),
    (10_000, 10, 4),
    (10_000, 100, 4),
)


@dataclass
class Load:
    """A task that holds slots of a pool.

    Attributes:
        login: Whose.
        rate: Its slots, which are the requests it sends per second.
        requests: Those left to send.
        before: Core-seconds left until the first request.
        after: Core-seconds left after the last one.
    """

    login: str
    rate: int
    requests: int
    before: float = CORE_SECONDS_BEFORE
    after: float = CORE_SECONDS_AFTER

    @property
    def needs_core(self) -> bool:
        """Whether it computes now, rather than wait for responses."""
        return self.before > 0 or (self.requests == 0 and self.after > 0)

    def compute(self, core_seconds: float) -> None:
        """Use a share of the cores."""
        if self.before > 0:
            self.before -= core_seconds
        else:
            self.after -= core_seconds

    def send(self) -> int:
        """Send the requests of one second."""
        sent = min(self.rate, self.requests)
        self.requests -= sent
        return sent


@dataclass
class Address:
    """An IP address: its pool, and its machines with their cores."""

    slots: int
    cores: int
    waiting: deque[Load] = field(default_factory=deque)
    running: list[Load] = field(default_factory=list)

    def step(self) -> dict[str, int]:
        """Let a second pass; the requests sent, by login."""
        self._start()
        computing = [load for load in self.running if load.needs_core]
        sending = [load for load in self.running if not load.needs_core]
        share = min(1.0, self.cores / len(computing)) if computing else 0.0
        for load in computing:
            load.compute(share)
        sent = {load.login: load.send() for load in sending}
        self.running = [
            load for load in self.running if load.requests or load.after > 0
        ]
        return sent

    def _start(self) -> None:
        free = self.slots - sum(load.rate for load in self.running)
        while self.waiting and self.waiting[0].rate <= free:
            load = self.waiting.popleft()
            free -= load.rate
            self.running.append(load)


@dataclass
class Result:
    """What a simulated time showed.

    Attributes:
        rounds: Seconds that each finished round took.
        is_late: Whether a round was still under way when the next was due.
        most_per_second: Most requests of one address in a second.
        most_per_day: Most requests of one login in a day.
        requests: All of them.
        most_at_once: Most loads under way at once on one address.
    """

    rounds: list[int] = field(default_factory=list)
    is_late: bool = False
    most_per_second: int = 0
    most_per_day: int = 0
    requests: int = 0
    most_at_once: int = 0


def accounts_of(logins: int, addresses: int, rate: int = DEFAULT_RATE) -> Accounts:
    """Return a file of so many logins, dealt out among the addresses."""
    names = [f"address-{number}" for number in range(addresses)]
    return Accounts(
        loader="target-postgres",
        egress=dict.fromkeys(names, ADDRESS_LIMIT),
        schedules={"round": "@hourly"},
        accounts=tuple(
            Account(
                name=f"login-{number}",
                is_delegated=False,
                connection=f"metrika_{number}",
                egress=names[number % addresses],
                schedule="round",
                requests_per_second=rate,
            )
            for number in range(logins)
        ),
    )


def simulate(
    accounts: Accounts, requests: int, every: int, *, cores: int, seconds: int = DAY
) -> Result:
    """Simulate loads of so many requests each, begun again and again.

    Args:
        accounts: The file of logins.
        requests: Of each load.
        every: Seconds between two rounds. One that is due waits for the one before.
        cores: Of the machines of each address.
        seconds: How much time passes.
    """
    limits = pools(accounts)
    addresses = {
        name: Address(limits[name]["slots"], cores) for name in accounts.egress
    }
    (plan,) = dag_plans(accounts)
    result, began = Result(), -1
    by_login: Counter[str] = Counter()
    for second in range(seconds):
        is_idle = not any(a.running or a.waiting for a in addresses.values())
        if began >= 0 and is_idle:
            result.rounds.append(second - began)
            began = -1
        if second % every == 0:
            result.is_late |= began >= 0
        if began < 0 and second // every >= len(result.rounds):
            began = second
            for group in plan.groups:
                addresses[group.egress].waiting.extend(
                    Load(load["login"], group.slots, requests) for load in group.loads
                )
        for address in addresses.values():
            sent = address.step()
            total = sum(sent.values())
            result.requests += total
            result.most_per_second = max(result.most_per_second, total)
            result.most_at_once = max(result.most_at_once, len(address.running))
            by_login.update(sent)
    result.most_per_day = max(by_login.values())
    return result


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the table of sizes, with the fewest addresses that keep up."""
    for logins, counters, hours in SIZES:
        requests, every = counters + 1, hours * 60 * 60
        for addresses in itertools.count(1):
            accounts = accounts_of(logins, addresses)
            result = simulate(accounts, requests, every, cores=CORES, seconds=every + 1)
            if not result.is_late:
                break
        core_seconds = logins * (CORE_SECONDS_BEFORE + CORE_SECONDS_AFTER)
        yield (
            f"{logins:,}",
            f"{counters}",
            "hour" if hours == 1 else f"{hours} hours",
            f"{logins * requests * 24 // hours:,}",
            f"{requests * 24 // hours:,}",
            f"{addresses}",
            f"{result.rounds[0] / 60:.0f}",
            f"{core_seconds * 24 / hours / 3600:,.1f}",
        )


def main() -> int:
    """Print the table.

    Returns:
        Exit code.
    """
    heads = (
        "logins",
        "counters of each",
        "read every",
        "requests per day",
        "of these per login",
        f"addresses (machines with {CORES} cores)",
        "minutes of a round",
        "core-hours per day",
    )
    for row in (heads, ("---:",) * len(heads), *rows()):
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
