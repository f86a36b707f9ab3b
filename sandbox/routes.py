"""What the API answers to each request."""

from __future__ import annotations

import csv
import io
import typing as t

from aiohttp import web

from sandbox.answers import error
from sandbox.world import BULK, Counter, Fields, bulk_page

if t.TYPE_CHECKING:
    from sandbox.server import Sandbox

ID_COLUMNS = {"UserId": "USER_ID", "ClientId": "CLIENT_ID", "Yclid": "YCLID"}
MOST_COUNTERS_A_PAGE = 10_000
MOST_COMMENT = 255


class Routes:
    """The endpoints, over one world."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._pages: dict[tuple[int, int, int], bytes] = {}

    async def uploading(self, request: web.Request) -> web.Response:
        """One upload."""
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        upload_id = int(request.match_info["id"])
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
        if counter.bulk:
            return _json(self._bulk(counter, offset, limit))
        now = self._sandbox.now()
        page = [u.at(now) for u in self._ordered(counter)[offset : offset + limit]]
        return web.json_response({"uploadings": page})

    async def counters(self, request: web.Request) -> web.Response:
        """One page of the counters."""
        per_page = _number(request, "per_page", 1_000)
        offset = _number(request, "offset", 1)
        if not per_page or not offset or per_page > MOST_COUNTERS_A_PAGE:
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
        if not isinstance(file, web.FileField) or len(comment) > MOST_COMMENT:
            return error(400, "missing_parameter", "file")
        rows = list(csv.DictReader(io.StringIO(file.file.read().decode("utf-8-sig"))))
        columns = set(rows[0]) if rows else set()
        kinds = [kind for name, kind in ID_COLUMNS.items() if name in columns]
        if len(kinds) != 1 or "DateTime" not in columns:
            return error(400, "invalid_parameter", "DateTime and one kind of ID wanted")
        fields = {**_counted(rows), "comment": comment, "client_id_type": kinds[0]}
        return web.json_response(
            {"uploading": self._sandbox.world.receive(counter.id, fields)}
        )

    def _counter(self, request: web.Request) -> Counter | web.Response:
        counter = self._sandbox.counters.get(int(request.match_info["counter"]))
        if counter is None:
            return error(404, "not_found", "No such counter")
        if counter.closed:
            return error(403, "access_denied", "Access is denied")
        return counter

    def _ordered(self, counter: Counter) -> list[t.Any]:
        if self._sandbox.order == "newest":
            return counter.uploads[::-1]
        if self._sandbox.order == "shuffled":
            return sorted(counter.uploads, key=lambda u: hash(str(u.fields.get("id"))))
        return counter.uploads

    def _bulk(self, counter: Counter, offset: int, limit: int) -> bytes:
        key = (counter.id, offset, limit)
        if key not in self._pages:
            if len(self._pages) >= BULK // 20:
                self._pages.pop(next(iter(self._pages)))
            self._pages[key] = bulk_page(counter, offset, limit)
        return self._pages[key]


def _number(request: web.Request, name: str, default: int) -> int | None:
    text = request.query.get(name, str(default))
    return int(text) if text.isdecimal() else None


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


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


def _counted(rows: list[dict[str, str]]) -> Fields:
    valid = [
        row
        for row in rows
        if row["DateTime"].isdecimal() and any(row.get(name) for name in ID_COLUMNS)
    ]
    static = sum(row.get("StaticCall") == "1" for row in valid)
    return {
        "source_quantity": len(rows),
        "line_quantity": len(valid),
        "static_calls_quantity": static,
        "dynamic_calls_quantity": len(valid) - static,
    }
