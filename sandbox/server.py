"""The stand-in as a server in a thread of its own."""

from __future__ import annotations

import asyncio
import math
import random
import re
import threading
import typing as t
from collections import Counter as Count
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from sandbox.answers import refusal, throttled
from sandbox.faults import FAULTS, TRANSIENT_FAULTS, fail
from sandbox.journal import Planned, Request, error_type_of, kind_of
from sandbox.quotas import Quotas
from sandbox.routes import Routes
from sandbox.world import Counter, Fields, World

if t.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler: t.TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_ERROR = 400
THROTTLED = (420, 429)


class Sandbox:
    """The management API on a free port of the loopback address."""

    def __init__(  # noqa: PLR0913
        self,
        *,
        seed: int = 1,
        counters: int = 3,
        uploads: int = 20,
        epoch: datetime | None = None,
        speed: float = 1.0,
        port: int = 0,
    ) -> None:
        self.world = World(
            seed=seed,
            counters=counters,
            uploads=uploads,
            epoch=epoch or datetime.now(UTC),
            speed=speed,
        )
        self.quotas: Quotas | None = Quotas()
        self.latency = 0.0
        self.slow_seconds = 5.0
        self.fault_share = 0.0
        self.faults: tuple[str, ...] = TRANSIENT_FAULTS
        self.order = "newest"
        self.unknown_id_status = 404
        self.delegates: set[str] | None = {"agency-client"}
        self.on_request: Callable[[Request], object] | None = None
        self.requests: list[Request] = []
        self.max_in_flight = 0
        self.url = ""
        self._port = port
        self._in_flight = 0
        self._planned: list[Planned] = []
        self._random = random.Random(seed)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def counters(self) -> dict[int, Counter]:
        """The counters of the world, by ID."""
        return self.world.counters

    @property
    def throttled(self) -> int:
        """How many answers said that a quota is exceeded."""
        return sum(request.status in THROTTLED for request in self.requests)

    def now(self) -> datetime:
        """The time in the world."""
        return self.world.now()

    @property
    def clock(self) -> datetime:
        """The time in the world, as `advance` moves it."""
        return self.now()

    def advance(self, seconds: float) -> None:
        """Move the world's time on."""
        self.world.skipped += seconds

    def add_counter(
        self, counter_id: int, uploads: int = 0, *, closed: bool = False
    ) -> Counter:
        """Add a counter."""
        return self.world.add_counter(counter_id, uploads, closed=closed)

    def add_upload(
        self,
        counter_id: int,
        *,
        id: int | None = None,  # noqa: A002
        create_time: str | None = "2026-01-01T00:00:00Z",
        status: str | None = "PROCESSED",
        **fields: t.Any,
    ) -> Fields:
        """Add an upload that is answered as it is, also when it is changed later."""
        if id is None:
            id = self.counters[counter_id].next_id()  # noqa: A001
        given = {"id": id, "create_time": create_time, "status": status, **fields}
        for name in ("create_time", "status"):
            if given[name] is None:
                del given[name]
        return self.world.add_upload(counter_id, given)

    def fail(self, fault: str, *, times: float = 1, path: str | None = None) -> None:
        """Let the next requests fail whose path (with its query) has this pattern."""
        if fault not in FAULTS:
            message = f"No such fault: {fault}"
            raise ValueError(message)
        self._planned.append(Planned(path or "", times, fault=fault))

    def answer(
        self,
        path: str,
        body: bytes,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        times: float | None = None,
    ) -> None:
        """Answer requests whose path (with its query) has this pattern as given."""
        headers = {"Content-Type": "application/json"} | (headers or {})
        often = math.inf if times is None else times
        self._planned.append(Planned(path, often, answer=(status, headers, body)))

    def reset(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()
        self.max_in_flight = 0

    def stats(self) -> dict[str, t.Any]:
        """Counts of the requests so far."""
        return {
            "requests": len(self.requests),
            "by_kind": Count(request.kind for request in self.requests),
            "by_status": Count(str(request.status) for request in self.requests),
            "throttled": self.throttled,
            "max_in_flight": self.max_in_flight,
        }

    def __enter__(self) -> t.Self:
        """Start, and return when requests are taken."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once, whatever is under way."""
        self.close()

    def close(self) -> None:
        """Stop at once; more than once is fine."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as failure:
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(middlewares=[self._middleware], client_max_size=2**26)
        routes = Routes(self)
        base = "/management/v1"
        one = base + "/counter/{counter}/offline_conversions"
        app.router.add_get(one + "/calls_uploading/{id}", routes.uploading)
        app.router.add_get(one + "/calls_uploadings", routes.uploadings)
        app.router.add_get(base + "/counters", routes.counters)
        app.router.add_post(one + "/upload_calls", routes.upload)
        app.router.add_route("*", "/management/{rest:.*}", routes.unknown)
        app.router.add_get("/sandbox/stats", self._tell_stats)
        app.router.add_post("/sandbox/reset", self._tell_stats)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _tell_stats(self, request: web.Request) -> web.Response:
        body = msgspec.json.encode(self.stats())
        if request.method == "POST":
            self.reset()
        return web.Response(body=body, content_type="application/json")

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.path.startswith("/sandbox/"):
            return await handler(request)
        record = Request(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            kind_of(request.path),
        )
        self.requests.append(record)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            if self.on_request:
                self.on_request(record)
            response = await self._respond(request, handler)
            transport = request.transport
            if transport is None or transport.is_closing():
                return response  # the client saw no whole answer
            record.status = response.status
            if isinstance(response, web.Response) and response.status >= HTTP_ERROR:
                record.error_type = error_type_of(response)
            return response
        finally:
            self._in_flight -= 1

    async def _respond(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        counter = re.search(r"/counter/(\d+)/", request.path)
        exceeded = self.quotas and self.quotas.exceeded(
            self._in_flight, int(counter[1]) if counter else None, self.now().date()
        )
        if exceeded:
            return throttled(exceeded)
        if self.latency:
            await self._wait(self.latency)
        planned = self._plan_for(request.path_qs)
        if planned and not planned.fault:
            status, headers, body = planned.answer
            return web.Response(status=status, headers=headers, body=body)
        fault = planned.fault if planned else self._random_fault()
        if fault == "slow":
            await self._wait(self.slow_seconds)
        elif fault:
            return await fail(fault, request, self._wait)
        return refusal(request, self.delegates) or await handler(request)

    def _plan_for(self, path: str) -> Planned | None:
        for planned in self._planned:
            if planned.takes(path):
                return planned
        return None

    def _random_fault(self) -> str:
        if self._random.random() >= self.fault_share:
            return ""
        return self._random.choice(self.faults)

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
