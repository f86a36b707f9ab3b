"""Who sends a request, and which counters it may read."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from sandbox.responses import error

if t.TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

TOKEN = "sandbox-token"  # noqa: S105
EXPIRED_TOKEN = "expired-token"  # noqa: S105
UNKNOWN_LOGIN = "unknown"


@dataclass
class Login:
    """An account with a token and quotas of its own.

    Attributes:
        name: Of the account.
        token: Sent as `Authorization: OAuth ...`.
        counters: The counters that the token has access to; None for all.
    """

    name: str
    token: str
    counters: set[int] | None = None

    def has_access(self, counter_id: int) -> bool:
        """Whether the token has access to a counter."""
        return self.counters is None or counter_id in self.counters


class Logins:
    """All accounts; the one of `TOKEN` has access to every counter."""

    def __init__(self) -> None:
        self.delegates: Collection[str] | None = {"agency-client"}
        self._by_header: dict[str, Login] = {}
        self.add(Login("sandbox", TOKEN))

    def add(self, login: Login) -> None:
        """Add an account, or replace the one with this token."""
        self._by_header[f"OAuth {login.token}"] = login

    def of(self, request: web.Request) -> Login | None:
        """Return the account of a request, unless its token is unknown."""
        return self._by_header.get(request.headers.get("Authorization", ""))

    def refuse(self, request: web.Request) -> web.Response | None:
        """Return an error if the token, or the account of `ulogin`, is wrong."""
        if request.headers.get("Authorization") == f"OAuth {EXPIRED_TOKEN}":
            return error(403, "invalid_token", "The token has expired")
        if self.of(request) is None:
            return error(401, "unauthorized", "Wrong token")
        account = request.query.get("ulogin")
        if account and self.delegates is not None and account not in self.delegates:
            return error(403, "access_denied", "No rights of this account")
        return None
