"""Errors in the documented body."""

from __future__ import annotations

import typing as t

from aiohttp import web

if t.TYPE_CHECKING:
    from collections.abc import Collection, Mapping


TOKEN = "sandbox-token"  # noqa: S105
EXPIRED_TOKEN = "expired-token"  # noqa: S105


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


def refusal(
    request: web.Request, delegates: Collection[str] | None
) -> web.Response | None:
    """Why a request may not be answered: its token, or the account it asks for."""
    given = request.headers.get("Authorization", "")
    if given == f"OAuth {EXPIRED_TOKEN}":
        return error(403, "invalid_token", "The token has expired")
    if given != f"OAuth {TOKEN}":
        return error(401, "unauthorized", "Wrong token")
    login = request.query.get("ulogin")
    if login and delegates is not None and login not in delegates:
        return error(403, "access_denied", "No rights of this account")
    return None
