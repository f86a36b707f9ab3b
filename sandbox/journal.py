"""What a sandbox is asked, and the answers that wait for requests."""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field

import msgspec

if t.TYPE_CHECKING:
    from aiohttp import web


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

    def takes(self, path: str) -> bool:
        """Whether this is for a request; counts it if so."""
        if self.times <= 0 or not re.search(self.path, path):
            return False
        self.times -= 1
        return True


def kind_of(path: str) -> str:
    """Which endpoint a path is of."""
    kinds = {"calls_uploadings": "list", "counters": "counters"}
    last = path.rsplit("/", 1)[-1]
    return kinds.get(last, "upload" if last == "upload_calls" else "uploading")


def error_type_of(response: web.Response) -> str | None:
    """The `error_type` of an answer, if it has one."""
    try:
        body = msgspec.json.decode(response.body or b"")  # type: ignore[arg-type]
        return str(body["errors"][0]["error_type"])
    except (msgspec.DecodeError, KeyError, TypeError, IndexError):
        return None
