"""Connections to the API: authorization, quota, time-outs and other faults."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import requests
import urllib3
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection

from tap_metrika_calls import errors
from tap_metrika_calls.quota import Quota

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3.response import HTTPResponse

TICK = 0.1  # seconds between two looks at what is late


def new_session(config: Mapping[str, t.Any]) -> requests.Session:
    """Prepare connections that authorize each request, within the quotas.

    Args:
        config: The settings of the tap.
    """
    session = requests.Session()
    session.auth = _oauth(config["oauth_token"].strip())
    session.headers["User-Agent"] = f"tap-metrika-calls/{version('tap-metrika-calls')}"
    # A proxy of the environment must not see a token that is sent without TLS.
    session.trust_env = config["api_url"].startswith("https:")
    quota = Quota(config["requests_per_second"])
    adapter = Adapter(quota, config["max_parallel_requests"])
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _oauth(
    token: str,
) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Authorize requests; as `auth`, no `.netrc` can take the header's place."""
    header = f"OAuth {token}".encode()

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = header  # type: ignore[assignment]
        return request

    return authorize


def fault(error: Exception, wanted: str) -> errors.MetrikaError:
    """Tell what a fault of the connection means.

    Only in our own words: those of a library may hold the URL.

    Args:
        error: What `requests` raised.
        wanted: What was asked for, in words.

    Returns:
        A `TransientError` if the next attempt may succeed.
    """
    if isinstance(error, (TimeoutError, requests.Timeout)):
        return errors.TransientError("no answer in time")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.MetrikaError(
            f"The certificate of the API is not trusted ({wanted}), so the token was "
            "not sent: check api_url, and REQUESTS_CA_BUNDLE behind a company's proxy."
        )
    return errors.TransientError(f"the connection failed ({type(error).__name__})")


class Adapter(HTTPAdapter):
    """Sends the requests of a session, retries included, when the quota allows."""

    def __init__(self, quota: Quota, connections: int) -> None:
        super().__init__(pool_maxsize=connections)
        self._quota = quota

    @override
    def send(
        self, request: requests.PreparedRequest, *args: t.Any, **kwargs: t.Any
    ) -> requests.Response:
        sent = self._quota.take()
        try:
            return super().send(request, *args, **kwargs)
        finally:
            self._quota.answered(sent)

    @override
    def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    @override
    def proxy_manager_for(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        if isinstance(manager, urllib3.ProxyManager):
            manager.pool_classes_by_scheme = _POOLS
        return manager


@contextlib.contextmanager
def in_time(seconds: float, hang_up: Callable[[], object]) -> Iterator[None]:
    """Let reading end in time, even if it comes byte by byte.

    The time-out of a socket is one of each read, which such an answer never reaches.

    Args:
        seconds: How long it may take in all.
        hang_up: Ends the connection, and so the reading.

    Raises:
        TimeoutError: If it took longer.
    """
    reading = _Reading(time.monotonic() + seconds, hang_up)
    _watch.begin(reading)
    try:
        yield
    finally:
        _watch.end(reading)
        if reading.is_late:
            raise TimeoutError


@dataclass(slots=True, eq=False)
class _Reading:
    until: float
    hang_up: Callable[[], object]
    is_late: bool = False


class _Watch:
    """One thread that hangs up on all that is late; a timer each costs far more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: set[_Reading] = set()
        self._is_running = False

    def begin(self, reading: _Reading) -> None:
        with self._lock:
            self._readings.add(reading)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="late", daemon=True).start()

    def end(self, reading: _Reading) -> None:
        with self._lock:
            self._readings.discard(reading)

    def _run(self) -> None:
        while self._is_running:
            time.sleep(TICK)
            with self._lock:
                now = time.monotonic()
                for reading in [one for one in self._readings if one.until <= now]:
                    self._readings.remove(reading)
                    reading.is_late = True
                    # The others still have to be watched, whatever goes wrong here.
                    with contextlib.suppress(Exception):
                        reading.hang_up()
                self._is_running = bool(self._readings)


_watch = _Watch()


class _Connection(HTTPConnection):
    """A connection whose time-out is one of status and headers as a whole."""

    @override
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        hang_up = partial(self.sock.shutdown, socket.SHUT_RDWR)
        with in_time(self.timeout or 0, hang_up):
            return super().getresponse()


class _ConnectionTLS(_Connection, HTTPSConnection):
    """The same behind TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTLS(urllib3.HTTPSConnectionPool):
    ConnectionCls = _ConnectionTLS


_POOLS = {"http": _Pool, "https": _PoolTLS}
