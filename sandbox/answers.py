"""Errors in the documented body."""

from __future__ import annotations

import typing as t

from aiohttp import web

if t.TYPE_CHECKING:
    from collections.abc import Mapping


def error(
    status: int,
    error_type: str,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error as the API tells it."""
    errors = [{"error_type": error_type, "message": message}]
    body = {"errors": errors, "code": status, "message": message}
    return web.json_response(body, status=status, headers=headers)


def throttled(
    error_type: str, status: int = 429, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A quota that is exceeded."""
    return error(status, error_type, f"Quota exceeded: {error_type}", headers)
