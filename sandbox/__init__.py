"""A mock of the Yandex Metrica management API, for tests, demo and benchmark."""

from __future__ import annotations

from sandbox.faults import FAULTS, TRANSIENT_FAULTS
from sandbox.logins import EXPIRED_TOKEN, TOKEN, Login
from sandbox.quotas import Quotas
from sandbox.request_log import Request
from sandbox.server import Sandbox
from sandbox.uploads import KINDS

__all__ = [
    "EXPIRED_TOKEN",
    "FAULTS",
    "KINDS",
    "TOKEN",
    "TRANSIENT_FAULTS",
    "Login",
    "Quotas",
    "Request",
    "Sandbox",
]
