"""A stand-in of the Yandex Metrica management API, for tests, demo and benchmark."""

from sandbox.answers import EXPIRED_TOKEN, TOKEN
from sandbox.faults import FAULTS, TRANSIENT_FAULTS
from sandbox.journal import Request
from sandbox.quotas import Quotas
from sandbox.server import Sandbox

__all__ = [
    "EXPIRED_TOKEN",
    "FAULTS",
    "TOKEN",
    "TRANSIENT_FAULTS",
    "Quotas",
    "Request",
    "Sandbox",
]
