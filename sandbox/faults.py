"""The faults that the mock API shows when it is told to."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import typing as t
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from sandbox.responses import error, front_server_page, throttled

if t.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Wait: t.TypeAlias = Callable[[float], Awaitable[object]]

TRANSIENT_FAULTS = (
    "204",
    "206",
    "408",
    "420",
    "425",
    "429",
    "429_retry_after",
    "429_retry_date",
    "499",
    "500",
    "502_html",
    "503",
    "504",
    "drop_before",
    "drop_in_body",
    "cut_wrong_length",
    "cut_right_length",
    "bad_gzip",
    "unsolicited_br",
    "empty_200",
    "bom",
    "cp1251",
    "json_null",
    "json_list",
)
FAULTS = (
    *TRANSIENT_FAULTS,
    "200_errors",
    "403_plain",
    "403_quota",
    "404_html",
    "uploadings_null",
    "slow",
    "drip",
    "drip_headers",
    "redirect",
)

DRIP = 0.5  # seconds a byte: no single read is late
BODY = b'{"uploadings": [], "uploading": {}, "counters": [], "padding": "' + b"x" * 400
WHOLE_BODY = BODY.decode() + 'звонки"}'


async def fail(
    fault: str, request: web.Request, wait: Wait, date: str | None
) -> web.Response:
    """Respond to a request with a fault.

    Args:
        fault: One of `FAULTS`, but neither "slow" nor "bom", which need the true
            response.
        request: The request.
        wait: Waits some seconds, less if the server closes.
        date: The header `Date`, if there is to be one.
    """
    if fault in _WHOLE:
        return _WHOLE[fault]()
    transport = request.transport
    if transport is None or fault == "drop_before":
        _abort(transport)
        return web.Response(status=503)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if date is not None:
        head += b"Date: %b\r\n" % date.encode()
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


def with_bom(response: web.StreamResponse) -> web.StreamResponse:
    """Put a byte order mark before the body of a true response."""
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        response.body = codecs.BOM_UTF8 + response.body
    return response


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
    # Real time, not the world's: a client measures it by its own clock.
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


def _throttled(status: int, after: str | None = None) -> web.Response:
    headers = {} if after is None else {"Retry-After": after}
    return throttled("quota_parallel_requests", status=status, headers=headers)


def _json(text: str, status: int = 200, charset: str = "utf-8") -> web.Response:
    return web.Response(
        body=text.encode(charset), status=status, content_type="application/json"
    )


def _encoded(encoding: str, body: bytes) -> web.Response:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    return web.Response(body=body, headers=headers)


def _partial() -> web.Response:
    response = _json(WHOLE_BODY, 206)
    size = len(WHOLE_BODY.encode())
    response.headers["Content-Range"] = f"bytes 0-{size - 1}/{2 * size}"
    return response


def _quota_with_200() -> web.Response:
    response = throttled("quota_requests_by_uid")
    response.set_status(200)
    return response


_WHOLE: dict[str, Callable[[], web.Response]] = {
    "200_errors": _quota_with_200,
    "204": lambda: web.Response(status=204),
    "206": _partial,
    "403_plain": lambda: web.Response(status=403, text="Forbidden"),
    "403_quota": lambda: throttled("quota_requests_by_uid", status=403),
    "404_html": lambda: front_server_page(404, "Not Found"),
    "408": lambda: front_server_page(408, "Request Time-out"),
    "420": lambda: _throttled(420),
    "425": lambda: web.Response(status=425, text="Too Early"),
    "429": lambda: _throttled(429),
    "429_retry_after": lambda: _throttled(429, "1"),
    "429_retry_date": lambda: _throttled(429, _in_two_seconds()),
    "499": lambda: front_server_page(499, "Client Closed Request"),
    "500": lambda: error(500, "backend_error", "Internal error"),
    "502_html": lambda: front_server_page(502, "Bad Gateway"),
    "503": lambda: error(503, "backend_error", "Service is unavailable"),
    "504": lambda: error(504, "timeout", "Gateway time-out"),
    "empty_200": lambda: _json(""),
    "json_null": lambda: _json("null"),
    "json_list": lambda: _json("[]"),
    "uploadings_null": lambda: _json('{"uploadings": null}'),
    "cp1251": lambda: _json(WHOLE_BODY, charset="cp1251"),
    "bad_gzip": lambda: _encoded("gzip", gzip.compress(BODY)[:10] + b"\xff" * 50),
    "unsolicited_br": lambda: _encoded("br", b"\xff" * 50),
    "redirect": lambda: web.Response(
        status=302, headers={"Location": "http://127.0.0.2:1/elsewhere"}
    ),
}
