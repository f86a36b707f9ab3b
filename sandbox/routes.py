"""What the API answers to each request."""

from __future__ import annotations

import typing as t

from aiohttp import web

from sandbox.answers import error
from sandbox.calls import counted

if t.TYPE_CHECKING:
    from sandbox.server import Sandbox
    from sandbox.world import Counter, Fields

MOST_COUNTERS_A_PAGE = 10_000
MOST_COMMENT = 255
FURTHEST_COUNTER = 100_000
LONGEST_NUMBER = 19  # digits of an int64
INT32 = 2**31
INT64 = 2**63


class Routes:
    """The endpoints, over one world."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def uploading(self, request: web.Request) -> web.Response:
        """One upload."""
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        upload_id = _parsed(request.match_info["id"], INT64)
        if upload_id is None:
            return error(400, "invalid_parameter", "id is no int64")
        found = counter.find(upload_id, self._sandbox.now())
        if found is not None:
            return web.json_response({"uploading": found})
        if self._sandbox.unknown_id_status == 400:  # noqa: PLR2004
            return error(400, "invalid_parameter", "No object with specified ID.")
        return error(404, "not_found", "No such upload")

    async def uploadings(self, request: web.Request) -> web.Response:
        """One page of the uploads of a counter."""
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        limit = _number(request, "limit", 10_000)
        offset = _number(request, "offset", 0)
        if limit is None or offset is None or limit < 1:
            return error(400, "invalid_parameter", "limit, offset")
        page = counter.page(self._sandbox.order, offset, limit, self._sandbox.now())
        body = b'{"uploadings":[' + b",".join(page) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def unknown(self, _: web.Request) -> web.Response:
        """No such endpoint."""
        return error(404, "not_found", "No such endpoint")

    async def counters(self, request: web.Request) -> web.Response:
        """One page of the counters."""
        per_page = _number(request, "per_page", 1_000)
        offset = _number(request, "offset", 1)
        if (
            not per_page
            or not offset
            or per_page > MOST_COUNTERS_A_PAGE
            or offset > FURTHEST_COUNTER
        ):
            return error(400, "invalid_parameter", "per_page, offset")
        counters = list(self._sandbox.counters.values())
        page = counters[offset - 1 : offset - 1 + per_page]
        body = {"rows": len(counters), "counters": [_described(c) for c in page]}
        return web.json_response(body)

    async def upload(self, request: web.Request) -> web.Response:
        """Take a CSV of calls."""
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        form = await request.post()
        file = form.get("file")
        comment = request.query.get("comment", "")
        kind = request.query.get("client_id_type")
        if not isinstance(file, web.FileField):
            return error(400, "missing_parameter", "file")
        if len(comment) > MOST_COMMENT:
            return error(400, "invalid_parameter", "comment is too long")
        try:
            fields = {**counted(file.file.read(), kind), "comment": comment}
        except ValueError as problem:
            return error(400, "invalid_parameter", str(problem))
        return web.json_response(
            {"uploading": self._sandbox.world.receive(counter.id, fields)}
        )

    def _counter(self, request: web.Request) -> Counter | web.Response:
        counter_id = _parsed(request.match_info["counter"], INT32)
        if counter_id is None:
            return error(400, "invalid_parameter", "counterId is no int32")
        counter = self._sandbox.counters.get(counter_id)
        if counter is None:
            return error(404, "not_found", "No such counter")
        if counter.closed:
            return error(403, "access_denied", "Access is denied")
        return counter


def _number(request: web.Request, name: str, default: int) -> int | None:
    return _parsed(request.query.get(name, str(default)), INT64)


def _parsed(text: str, limit: int) -> int | None:
    """A number that is not negative and below a limit, or None."""
    if not text.isdecimal() or len(text) > LONGEST_NUMBER or int(text) >= limit:
        return None
    return int(text)


def _described(counter: Counter) -> Fields:
    return {
        "id": counter.id,
        "name": counter.name,
        "site": f"shop{counter.id}.example",
        "status": "Active",
        "type": "simple",
        "permission": "view" if counter.id % 2 else "own",
        "owner_login": "shop-owner",
        "create_time": "2020-05-05T12:00:00+03:00",
        "time_zone_name": "Europe/Moscow",
        "favorite": 0,
        "hide_address": 1,
        "code_status": "CS_OK",
        "gdpr_agreement_accepted": 1,
    }
