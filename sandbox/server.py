"""The mock API as a server in a thread of its own."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import typing as t

import msgspec
from aiohttp import hdrs, web

from sandbox.demo import add_demo_counters
from sandbox.faults import fail, with_bom
from sandbox.logins import UNKNOWN_LOGIN
from sandbox.mock_api import MockApi
from sandbox.request_log import Request, error_type_of
from sandbox.responses import invalid_parameter, throttled
from sandbox.routes import Routes
from sandbox.world import FIRST_COUNTER, World

if t.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    Handler: t.TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_ERROR = 400
UNDATED = ""  # a header that is left out


class Sandbox(MockApi):
    """The mock API on a free port of a local address.

    Args:
        seed: What is random follows from it.
        counters: How many there are to begin with.
        uploads: How many uploads of calls each of them has.
        conversions: The same of conversions.
        chats: The same of chats.
        epoch: When the world's time begins; by default now, in whole seconds.
        demo: Have the counters of the demo instead.
        host: The address to listen at.
        port: 0 for a free one.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        seed: int = 1,
        counters: int = 3,
        uploads: int = 20,
        conversions: int = 0,
        chats: int = 0,
        epoch: datetime | None = None,
        demo: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(World(seed=seed, epoch=epoch), seed=seed)
        if demo:
            add_demo_counters(self.world)
        else:
            for counter_id in range(FIRST_COUNTER, FIRST_COUNTER + counters):
                self.add_counter(
                    counter_id, uploads, conversions=conversions, chats=chats
                )
        self.url = ""
        self._host = host
        self._port = port
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> t.Self:
        """Start, and return when requests are taken."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once, whatever is in flight."""
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
        app.on_response_prepare.append(_leave_out_date)
        app.router.add_get("/sandbox/stats", self._stats)
        app.router.add_post("/sandbox/reset", self._stats)
        app.router.add_post("/sandbox/advance", self._advance)
        Routes(self).add_to(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            self.url = f"http://{self._host}:{runner.addresses[0][1]}"
            self._ready.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _stats(self, request: web.Request) -> web.Response:
        body = msgspec.json.encode(self.stats())
        if request.method == "POST":
            self.reset()
        return web.Response(body=body, content_type="application/json")

    async def _advance(self, request: web.Request) -> web.Response:
        try:
            seconds = float(request.query["seconds"])
        except (KeyError, ValueError):
            return invalid_parameter("seconds")
        if not math.isfinite(seconds):
            return invalid_parameter("seconds")
        self.advance(seconds)
        return web.json_response({"now": self.now().isoformat()})

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.path.startswith("/sandbox/"):
            return await handler(request)
        login = self.logins.of(request)
        record = Request.arrived(request, login.name if login else UNKNOWN_LOGIN)
        self.requests.append(record)
        self.advance(self.seconds_per_request)
        self.in_flight[record.login] += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight.total())
        try:
            if self.on_request:
                self.on_request(record)
            response = await self._respond(request, record, handler)
            transport = request.transport
            if transport is None or transport.is_closing():
                return response  # the client saw no whole response
            response.headers.setdefault(hdrs.DATE, self.date or UNDATED)
            record.status = response.status
            if isinstance(response, web.Response) and response.status >= HTTP_ERROR:
                record.error_type = error_type_of(response)
            return response
        finally:
            self.in_flight[record.login] -= 1

    async def _respond(
        self, request: web.Request, record: Request, handler: Handler
    ) -> web.StreamResponse:
        counter = re.search(r"/counter/(\d+)/", request.path)
        exceeded = self.quotas and self.quotas.exceeded(
            login=record.login,
            address=record.address,
            in_flight=self.in_flight[record.login],
            counter_id=int(counter[1]) if counter else None,
            today=self.now().date(),
        )
        if exceeded:
            return throttled(exceeded)
        if self.latency:
            await self._wait(self.latency)
        planned = self.plan.take(request.path_qs)
        if planned and not planned.fault:
            status, headers, body = planned.response
            return web.Response(status=status, headers=headers, body=body)
        fault = planned.fault if planned else ""
        if fault == "slow":
            await self._wait(self.slow_seconds)
        elif fault and fault != "bom":
            return await fail(fault, request, self._wait, self.date)
        response = self.logins.refuse(request) or await handler(request)
        return with_bom(response) if fault == "bom" else response

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


async def _leave_out_date(_: web.Request, response: web.StreamResponse) -> None:
    """Remove the header where it is to be left out: aiohttp would set its own."""
    if response.headers.get(hdrs.DATE) == UNDATED:
        del response.headers[hdrs.DATE]
