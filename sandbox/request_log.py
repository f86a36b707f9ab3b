"""The requests that arrived, and counts of them."""

from __future__ import annotations

import time
import typing as t
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

THROTTLED = (420, 429)
ENDPOINTS = {
    "calls_uploadings": "list",
    "uploadings": "list",
    "counters": "counters",
    "upload_calls": "upload",
}


@dataclass
class Request:
    """One request that arrived; `status` and `error_type` follow with its response.

    Attributes:
        kind: The endpoint: `list`, `uploading`, `counters` or `upload`.
        login: The account of its token; `unknown` without a known one.
        address: Where it came from.
        time: When, in real seconds.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    kind: str
    login: str
    address: str
    time: float = field(default_factory=time.monotonic)
    status: int | None = None
    error_type: str | None = None

    @property
    def is_throttled(self) -> bool:
        """Whether its response said that a quota is exceeded."""
        return self.status in THROTTLED

    @classmethod
    def arrived(cls, request: web.Request, login: str) -> Request:
        """Return what is known of a request before its response."""
        kind = ENDPOINTS.get(request.path.rsplit("/", 1)[-1], "uploading")
        return cls(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            kind,
            login,
            request.remote or "",
        )


def stats_of(requests: Iterable[Request]) -> dict[str, t.Any]:
    """Return counts of requests."""
    by_kind: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    by_login: dict[str, Counter[str]] = defaultdict(_no_requests)
    by_address: dict[str, Counter[str]] = defaultdict(_no_requests)
    everything = _no_requests()
    for request in requests:
        by_kind[request.kind] += 1
        by_status[str(request.status)] += 1
        logins, addresses = by_login[request.login], by_address[request.address]
        for counts in (everything, logins, addresses):
            counts["requests"] += 1
            counts["throttled"] += request.is_throttled
    return {
        **everything,
        "by_kind": by_kind,
        "by_status": by_status,
        "by_login": by_login,
        "by_address": by_address,
    }


def _no_requests() -> Counter[str]:
    return Counter(requests=0, throttled=0)


def error_type_of(response: web.Response) -> str | None:
    """Return the `error_type` of a response, if it has one."""
    try:
        body = msgspec.json.decode(response.body or b"")  # type: ignore[arg-type]
        return str(body["errors"][0]["error_type"])
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        return None
