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
    *,
    location: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return an error of the API, with the name of the wrong parameter if it is one."""
    details = {"error_type": error_type, "message": message}
    if location is not None:
        details["location"] = location
    body = {"errors": [details], "code": status, "message": message}
    return web.json_response(body, status=status, headers=headers)


def invalid_parameter(location: str, message: str = "Invalid value") -> web.Response:
    """Return the error of a parameter."""
    return error(400, "invalid_parameter", message, location=location)


def throttled(
    error_type: str, status: int = 429, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the error of an exceeded quota."""
    return error(status, error_type, f"Quota exceeded: {error_type}", headers=headers)


def front_server_page(status: int, reason: str) -> web.Response:
    """Return what a server in front of the API says: it is no word of the API."""
    head = f"{status} {reason}"
    page = f"<html><head><title>{head}</title></head><body><h1>{head}</h1><hr>nginx"
    return web.Response(
        status=status, text=f"{page}</body></html>", content_type="text/html"
    )
