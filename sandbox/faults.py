"""The faults that a sandbox answers with when it is told to."""

from __future__ import annotations

import asyncio
import gzip
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from sandbox.answers import error, throttled

if t.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Wait: t.TypeAlias = Callable[[float], Awaitable[object]]

TRANSIENT_FAULTS = (
    "420",
    "429",
    "429_retry_after",
    "429_retry_date",
    "500",
    "502_html",
    "503",
    "504",
    "drop_before",
    "drop_in_body",
    "cut_wrong_length",
    "cut_right_length",
    "bad_gzip",
    "empty_200",
    "json_null",
    "json_list",
)
FAULTS = (*TRANSIENT_FAULTS, "slow", "drip", "drip_headers", "redirect")

DRIP = 0.5  # seconds a byte: no single read is late
BODY = b'{"uploadings": [], "uploading": {}, "counters": [], "padding": "' + b"x" * 400


async def fail(
    fault: str,
    request: web.Request,
    wait: Wait,
) -> web.StreamResponse:
    """Answer a request with a fault.

    Args:
        fault: One of `FAULTS` but "slow", which delays an answer and gives none.
        request: The request.
        wait: Waits some seconds, less if the sandbox closes.
    """
    if fault in _WHOLE:
        return _WHOLE[fault]()
    transport = request.transport
    if transport is None or fault == "drop_before":
        _abort(transport)
        return web.Response(status=503)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if fault == "drip_headers":
        return await _drip(transport, head + b"\r\n", wait)
    if fault == "drip":
        transport.write(head + b"Content-Length: %d\r\n\r\n" % len(BODY))
        return await _drip(transport, BODY, wait)
    length = len(BODY) if fault == "cut_right_length" else 2 * len(BODY)
    transport.write(head + b"Content-Length: %d\r\n\r\n" % length + BODY)
    if fault == "drop_in_body":
        await asyncio.sleep(0)
        _abort(transport)
    else:
        transport.close()
    return web.Response(status=503)


async def _drip(
    transport: asyncio.Transport,
    data: bytes,
    wait: Wait,
) -> web.Response:
    for index in range(len(data)):
        if transport.is_closing():
            break
        transport.write(data[index : index + 1])
        await wait(DRIP)
    _abort(transport)
    return web.Response(status=503)


def _abort(transport: asyncio.Transport | None) -> None:
    if transport is not None:
        transport.abort()


def _in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


def _throttled(status: int, after: str | None = None) -> web.Response:
    headers = {} if after is None else {"Retry-After": after}
    return throttled("quota_parallel_requests", status=status, headers=headers)


def _json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


_WHOLE: dict[str, Callable[[], web.Response]] = {
    "420": lambda: _throttled(420),
    "429": lambda: _throttled(429),
    "429_retry_after": lambda: _throttled(429, "1"),
    "429_retry_date": lambda: _throttled(429, _in_two_seconds()),
    "500": lambda: error(500, "backend_error", "Internal error"),
    "502_html": lambda: web.Response(
        status=502, text="<html><h1>Bad Gateway</h1></html>", content_type="text/html"
    ),
    "503": lambda: error(503, "backend_error", "Service is unavailable"),
    "504": lambda: error(504, "timeout", "Gateway time-out"),
    "empty_200": lambda: _json(""),
    "json_null": lambda: _json("null"),
    "json_list": lambda: _json("[]"),
    "bad_gzip": lambda: web.Response(
        body=gzip.compress(BODY)[:10] + b"\xff" * 50,
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
    ),
    "redirect": lambda: web.Response(
        status=302, headers={"Location": "http://127.0.0.2:1/elsewhere"}
    ),
}
