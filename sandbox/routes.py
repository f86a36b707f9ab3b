"""What the API responds to each request."""

from __future__ import annotations

import typing as t

from aiohttp import web

from sandbox.calls_csv import counted
from sandbox.responses import error, front_server_page, invalid_parameter
from sandbox.uploads import KINDS

if t.TYPE_CHECKING:
    from sandbox.mock_api import MockApi
    from sandbox.uploads import Counter, Fields

MAX_COUNTERS_PER_PAGE = 10_000
MAX_COUNTERS_OFFSET = 100_000
MAX_COMMENT = 255
MAX_DIGITS = 19  # of an int64
INT32 = 2**31
INT64 = 2**63
BASE = "/management/v1"
COUNTER = BASE + "/counter/{counter}/offline_conversions"


class Routes:
    """The endpoints of one mock API."""

    def __init__(self, api: MockApi) -> None:
        self._api = api

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register the endpoints."""
        router.add_get(COUNTER + "/calls_uploading/{id}", self.calls_uploading)
        router.add_get(COUNTER + "/calls_uploadings", self.calls_uploadings)
        router.add_get(COUNTER + "/uploading/{id}", self.uploading)
        router.add_get(COUNTER + "/uploadings", self.uploadings)
        router.add_get(BASE + "/counters", self.counters)
        router.add_post(COUNTER + "/upload_calls", self.upload)
        router.add_route("*", "/management/{rest:.*}", self.unknown)
        router.add_route("*", "/{rest:.*}", self.elsewhere)

    async def calls_uploading(self, request: web.Request) -> web.Response:
        """Return one upload of calls."""
        return self._uploading(request, ("CALLS",))

    async def uploading(self, request: web.Request) -> web.Response:
        """Return one upload of any kind."""
        return self._uploading(request, KINDS)

    async def calls_uploadings(self, request: web.Request) -> web.Response:
        """Return one page of the uploads of calls."""
        return self._uploadings(request, "CALLS")

    async def uploadings(self, request: web.Request) -> web.Response:
        """Return one page of the uploads of a kind."""
        kind = request.query.get("type", "BASIC")
        if kind not in KINDS:
            return invalid_parameter("type")
        return self._uploadings(request, kind)

    def _uploading(self, request: web.Request, kinds: tuple[str, ...]) -> web.Response:
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        upload_id = _parsed(request.match_info["id"], INT64)
        if upload_id is None:
            return invalid_parameter("id")
        for kind in kinds:
            found = counter.lists[kind].find(upload_id, self._api.now())
            if found is not None:
                return web.json_response({"uploading": found})
        if self._api.unknown_id_status == 400:  # noqa: PLR2004
            return error(400, "invalid_parameter", "No object with specified ID.")
        return error(404, "not_found", "No such upload")

    def _uploadings(self, request: web.Request, kind: str) -> web.Response:
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        limit = _number(request, "limit", 10_000)
        offset = _number(request, "offset", 0)
        if not limit:
            return invalid_parameter("limit")
        if offset is None:
            return invalid_parameter("offset")
        api = self._api
        if api.slow_above is not None and limit > api.slow_above:
            return error(504, "timeout", "Gateway time-out")
        if api.page_cap is not None:
            limit = min(limit, api.page_cap)
        page = counter.lists[kind].page(api.order, offset, limit, api.now())
        body = b'{"uploadings":[' + b",".join(page) + b"]}"
        return web.Response(body=body, content_type="application/json")

    async def counters(self, request: web.Request) -> web.Response:
        """Return one page of the counters that the token has access to."""
        api = self._api
        per_page = _number(request, "per_page", 1_000)
        offset = _number(request, "offset", 1)
        if not per_page or per_page > MAX_COUNTERS_PER_PAGE:
            return invalid_parameter("per_page")
        if not offset or offset > MAX_COUNTERS_OFFSET:
            return invalid_parameter("offset")
        if api.counters_cap is not None:
            per_page = min(per_page, api.counters_cap)
        login = api.logins.of(request)
        counters = [
            c for c in api.counters.values() if login and login.has_access(c.id)
        ]
        page = counters[offset - 1 : offset - 1 + per_page]
        rows = len(counters) if api.rows is None else api.rows
        return web.json_response(
            {"rows": rows, "counters": [_described(counter) for counter in page]}
        )

    async def upload(self, request: web.Request) -> web.Response:
        """Take a CSV of calls."""
        counter = self._counter(request)
        if isinstance(counter, web.Response):
            return counter
        form = await request.post()
        file = form.get("file")
        comment = request.query.get("comment", "")
        id_type = request.query.get("client_id_type")
        if not isinstance(file, web.FileField):
            return error(400, "missing_parameter", "No file", location="file")
        if len(comment) > MAX_COMMENT:
            return invalid_parameter("comment", "Too long")
        try:
            fields = {**counted(file.file.read(), id_type), "comment": comment}
        except ValueError as problem:
            return invalid_parameter("file", str(problem))
        return web.json_response(
            {"uploading": self._api.world.receive(counter.id, fields)}
        )

    async def unknown(self, _: web.Request) -> web.Response:
        """Return that there is no such endpoint."""
        return error(404, "not_found", "No such endpoint")

    async def elsewhere(self, _: web.Request) -> web.Response:
        """Return what a front server says about a path that is none of the API's."""
        return front_server_page(404, "Not Found")

    def _counter(self, request: web.Request) -> Counter | web.Response:
        counter_id = _parsed(request.match_info["counter"], INT32)
        if counter_id is None:
            return invalid_parameter("counterId")
        counter = self._api.counters.get(counter_id)
        if counter is None:
            return error(404, "not_found", "No such counter")
        login = self._api.logins.of(request)
        if counter.inaccessible or not (login and login.has_access(counter_id)):
            return error(403, "access_denied", "Access is denied")
        return counter


def _number(request: web.Request, name: str, default: int) -> int | None:
    return _parsed(request.query.get(name, str(default)), INT64)


def _parsed(text: str, limit: int) -> int | None:
    """Return a number that is not negative and below a limit, or None."""
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) >= limit:
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
