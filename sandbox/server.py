"""The stand-in as a server in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
import typing as t
from collections import Counter as Count
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from sandbox.answers import error, throttled
from sandbox.faults import TRANSIENT_FAULTS, fail
from sandbox.quotas import Quotas
from sandbox.routes import Routes
from sandbox.world import Counter, Fields, World

if t.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler: t.TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN = "sandbox-token"  # noqa: S105
EXPIRED_TOKEN = "expired-token"  # noqa: S105
HTTP_ERROR = 400
THROTTLED = (420, 429)


@dataclass
class Request:
    """One request that arrived; `status` and `error_type` follow with its answer."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    kind: str
    time: float = field(default_factory=time.monotonic)
    status: int | None = None
    error_type: str | None = None


@dataclass
class Planned:
    """An answer or a fault that waits for its requests."""

    path: str
    times: float
    fault: str = ""
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")


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
        self.on_request: Callable[[Request], object] = lambda _: None
        self.requests: list[Request] = []
        self.max_in_flight = 0
        self.url = ""
        self._port = port
        self._in_flight = 0
        self._planned: list[Planned] = []
        self._random = random.Random(seed)
        self._ready = threading.Event()
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
            id = 1 + len(self.counters[counter_id].uploads)  # noqa: A001
        given = {"id": id, "create_time": create_time, "status": status, **fields}
        kept = {name: value for name, value in given.items() if value is not None}
        return self.world.add_upload(counter_id, kept)

    def fail(self, fault: str, *, times: float = 1, path: str = "") -> None:
        """Let the next requests fail whose path (with its query) has this pattern."""
        self._planned.append(Planned(path, times, fault=fault))

    def answer(
        self,
        path: str,
        body: bytes,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        times: float = float("inf"),
    ) -> None:
        """Answer requests whose path (with its query) has this pattern as given."""
        headers = {"Content-Type": "application/json"} | (headers or {})
        self._planned.append(Planned(path, times, answer=(status, headers, body)))

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
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once, whatever is under way."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(middlewares=[self._middleware], client_max_size=2**26)
        routes = Routes(self)
        base = "/management/v1"
        one = base + r"/counter/{counter:\d+}/offline_conversions"
        app.router.add_get(one + r"/calls_uploading/{id:\d+}", routes.uploading)
        app.router.add_get(one + "/calls_uploadings", routes.uploadings)
        app.router.add_get(base + "/counters", routes.counters)
        app.router.add_post(one + "/upload_calls", routes.upload)
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
            _kind(request.path),
        )
        self.requests.append(record)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            self.on_request(record)
            response = await self._respond(request, handler)
            record.status = response.status
            if isinstance(response, web.Response) and response.status >= HTTP_ERROR:
                record.error_type = _error_type(response)
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
        if fault:
            return await fail(fault, request, self._wait, self.slow_seconds)
        return self._refusal(request) or await handler(request)

    def _plan_for(self, path: str) -> Planned | None:
        for planned in self._planned:
            if planned.times > 0 and re.search(planned.path, path):
                planned.times -= 1
                return planned
        return None

    def _random_fault(self) -> str:
        if self._random.random() >= self.fault_share:
            return ""
        return self._random.choice(self.faults)

    def _refusal(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if given == f"OAuth {EXPIRED_TOKEN}":
            return error(403, "invalid_token", "The token has expired")
        if given != f"OAuth {TOKEN}":
            return error(401, "unauthorized", "Wrong token")
        login = request.query.get("ulogin")
        if login and self.delegates is not None and login not in self.delegates:
            return error(403, "access_denied", "No rights of this account")
        return None

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


def _kind(path: str) -> str:
    kinds = {"calls_uploadings": "list", "counters": "counters"}
    last = path.rsplit("/", 1)[-1]
    return kinds.get(last, "upload" if last == "upload_calls" else "uploading")


def _error_type(response: web.Response) -> str | None:
    try:
        body = msgspec.json.decode(response.body or b"")  # type: ignore[arg-type]
        return str(body["errors"][0]["error_type"])
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        return None
