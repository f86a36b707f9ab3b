"""What the mock API knows, and how it behaves: everything but HTTP."""

from __future__ import annotations

import math
import typing as t
from collections import Counter as Count
from email.utils import format_datetime

from sandbox.faults import FAULTS
from sandbox.logins import Login, Logins
from sandbox.planned import Plan, Planned
from sandbox.quotas import Quotas
from sandbox.request_log import Request, stats_of
from sandbox.uploads import Upload

if t.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from sandbox.uploads import Counter, Fields
    from sandbox.world import World


class MockApi:
    """The data, the time, the accounts and the faults of the mock API.

    Attributes:
        seconds_per_request: How far each request moves the world's time.
        date_header: Whether responses have the header `Date`.
        order: The order of lists, one of `ORDERS`; "newest" is what was added last.
        page_cap: Most rows of a page of uploads, whatever is requested.
        counters_cap: The same of a page of counters.
        rows: What the list of counters says as `rows` instead of the truth.
        slow_above: Pages of more rows than this time out.
        unknown_id_status: 404, or 400 as some have seen.
        quotas: None for no quotas.
        latency: Seconds before each response.
        slow_seconds: Seconds that the fault "slow" takes.
        on_request: Called with each request that arrives, in the thread of the server,
            before its response is made: what it changes counts for this response.
        requests: What arrived so far.
        max_in_flight: Most requests at once so far.
    """

    def __init__(self, world: World, *, seed: int) -> None:
        self.seconds_per_request = 0.0
        self.date_header = True
        self.order = "newest"
        self.page_cap: int | None = None
        self.counters_cap: int | None = None
        self.rows: int | None = None
        self.slow_above: int | None = None
        self.unknown_id_status = 404
        self.quotas: Quotas | None = Quotas()
        self.latency = 0.0
        self.slow_seconds = 5.0
        self.on_request: Callable[[Request], object] | None = None
        self.requests: list[Request] = []
        self.max_in_flight = 0
        self.world = world
        self.logins = Logins()
        self.plan = Plan(seed)
        self.in_flight: Count[str] = Count()

    @property
    def counters(self) -> dict[int, Counter]:
        """The counters, by ID."""
        return self.world.counters

    @property
    def epoch(self) -> datetime:
        """When the world's time began."""
        return self.world.epoch

    def now(self) -> datetime:
        """Return the world's time."""
        return self.world.now()

    def advance(self, seconds: float) -> None:
        """Move the world's time on."""
        self.world.elapsed += seconds

    @property
    def date(self) -> str | None:
        """The header `Date`, if there is to be one."""
        return format_datetime(self.now(), usegmt=True) if self.date_header else None

    def add_counter(
        self,
        counter_id: int,
        uploads: int = 0,
        *,
        conversions: int = 0,
        chats: int = 0,
        inaccessible: bool = False,
    ) -> Counter:
        """Add a counter with uploads of all sorts."""
        counter = self.world.add_counter(counter_id)
        counter.inaccessible = inaccessible
        counts = {"CALLS": uploads, "BASIC": conversions, "CHATS": chats}
        self.world.add_random_uploads(counter, counts)
        return counter

    def remove_counter(self, counter_id: int) -> None:
        """Remove a counter: it is unknown from now on."""
        del self.counters[counter_id]

    def add_upload(  # noqa: PLR0913
        self,
        counter_id: int,
        *,
        id: int | None = None,  # noqa: A002
        create_time: str | None = "2026-01-01T00:00:00Z",
        status: str | None = "PROCESSED",
        kind: str = "CALLS",
        visible: bool = True,
        **fields: t.Any,
    ) -> Fields:
        """Add an upload that is sent as it is, also when it is changed later.

        Args:
            counter_id: Its counter.
            id: Its ID; by default, one above all others.
            create_time: As it is sent; None for an upload without it.
            status: The same.
            kind: The list that it is in; its field `type` is one of the others.
            visible: Whether it exists for a client, see `reveal`.
            **fields: Its other fields.
        """
        if id is None:
            id = self.counters[counter_id].next_id()  # noqa: A001
        given = {"id": id, "create_time": create_time, "status": status, **fields}
        for name in ("create_time", "status"):
            if given[name] is None:
                del given[name]
        self.world.add_upload(counter_id, kind, Upload(given, visible=visible))
        return given

    def reveal(self, counter_id: int, id: int, *, kind: str = "CALLS") -> None:  # noqa: A002
        """Make an upload visible, at the place where it was added."""
        self.counters[counter_id].lists[kind].kept(id).visible = True

    def delete_upload(self, counter_id: int, id: int, *, kind: str = "CALLS") -> None:  # noqa: A002
        """Delete an upload."""
        self.counters[counter_id].lists[kind].delete(id)

    def add_login(self, login: str, token: str, counters: Iterable[int]) -> Login:
        """Add an account with quotas of its own, and access to these counters only."""
        added = Login(login, token, set(counters))
        self.logins.add(added)
        return added

    @property
    def delegates(self) -> Collection[str] | None:
        """The accounts that every token may read as `ulogin`; None for any."""
        return self.logins.delegates

    @delegates.setter
    def delegates(self, accounts: Collection[str] | None) -> None:
        self.logins.delegates = accounts

    @property
    def fault_share(self) -> float:
        """The share of requests that meets one of `faults` by chance."""
        return self.plan.share

    @fault_share.setter
    def fault_share(self, share: float) -> None:
        self.plan.share = share

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that come by chance."""
        return self.plan.faults

    @faults.setter
    def faults(self, faults: tuple[str, ...]) -> None:
        self.plan.faults = faults

    def seed_faults(self, seed: int) -> None:
        """Let the faults that come by chance follow from a seed."""
        self.plan.seed(seed)

    def fail(self, fault: str, *, times: float = 1, path: str | None = None) -> None:
        """Let the next requests fail whose path (with its query) has this pattern."""
        if fault not in FAULTS:
            message = f"No such fault: {fault}"
            raise ValueError(message)
        self.plan.add(Planned(path or "", times, fault=fault))

    def answer(
        self,
        path: str,
        body: bytes,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        times: float | None = None,
    ) -> None:
        """Respond to requests whose path (with its query) has this pattern as given."""
        headers = {"Content-Type": "application/json"} | (headers or {})
        often = math.inf if times is None else times
        self.plan.add(Planned(path, often, response=(status, headers, body)))

    def recover(self) -> None:
        """Forget the responses and faults that still wait for requests."""
        self.plan.clear()

    @property
    def throttled(self) -> int:
        """How many responses said that a quota is exceeded."""
        return sum(request.is_throttled for request in self.requests)

    def reset(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()
        self.max_in_flight = 0

    def stats(self) -> dict[str, t.Any]:
        """Return counts of the requests so far."""
        return {**stats_of(self.requests), "max_in_flight": self.max_in_flight}
