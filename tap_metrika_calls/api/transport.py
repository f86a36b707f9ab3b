"""How a request is sent: authorization, TLS, proxies, deadline."""

from __future__ import annotations

import re
import time
import typing as t
from importlib.metadata import version

import requests
import urllib3
from requests.adapters import HTTPAdapter
from singer_sdk.authenticators import APIKeyAuthenticator

from tap_metrika_calls.api import errors
from tap_metrika_calls.api.responses import Response

if t.TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK_BYTES = 2**16
PROXY_VARIABLES = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY"


class Transport:
    """A session that sends one GET request at a time per thread."""

    def __init__(self, config: Mapping[str, t.Any]) -> None:
        """Prepare connections, as the settings say."""
        self._base = config["api_url"].rstrip("/") + "/management/v1/"
        self._timeout: int = config["request_timeout"]
        self._session = requests.Session()
        # As `auth`, so that no .netrc file can replace the header.
        self._session.auth = APIKeyAuthenticator(
            key="Authorization", value=f"OAuth {config['oauth_token']}"
        )
        agent = f"tap-metrika-calls/{version('tap-metrika-calls')}"
        self._session.headers["User-Agent"] = agent
        # A proxy of the environment must not see a token that is sent without TLS.
        self._session.trust_env = self._base.startswith("https:")
        for scheme in ("https://", "http://"):
            adapter = HTTPAdapter(pool_maxsize=config["max_parallel_requests"])
            self._session.mount(scheme, adapter)

    def get(self, path: str, params: Mapping[str, t.Any]) -> Response:
        """Send a request and return the whole response, whatever its code.

        Args:
            path: Path below `/management/v1/`.
            params: Query parameters.

        Raises:
            TransientError: If the connection failed in a way that may pass.
            FatalError: If nothing can be sent with these settings or environment.
        """
        try:
            with self._session.get(
                self._base + path,
                params=params,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._read(response.raw)
                return Response(response.status_code, response.headers, body)
        except Exception as error:  # noqa: BLE001
            raise _error(error, self._timeout) from None

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _read(self, raw: urllib3.HTTPResponse) -> bytearray:
        """Read a body before a deadline: the socket's timeout is one of each read."""
        deadline = time.monotonic() + self._timeout
        body = bytearray()
        while chunk := raw.read1(CHUNK_BYTES, decode_content=True):
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError
        return body


def _error(error: Exception, timeout: int) -> errors.MetrikaError:
    """Return what a failed connection means: only some failures may pass."""
    name, text = type(error).__name__, str(error)
    slow = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, slow):
        msg = f"no whole response within {timeout} s"
        return errors.SlowError(msg)
    if isinstance(error, requests.exceptions.ProxyError):
        code = re.search(r"failed: (\d{3})", text)
        reason = f"HTTP {code[1]}" if code else name
        msg = f"No connection through the proxy ({reason}): check {PROXY_VARIABLES}."
        is_passing = code is None or code[1] not in {"403", "407"}
        return (errors.TransientError if is_passing else errors.FatalError)(msg)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return errors.FatalError(
            f"TLS certificate verification failed ({name}); the token was not sent. "
            "Check api_url, or set REQUESTS_CA_BUNDLE behind a corporate proxy."
        )
    if isinstance(error, OSError) and re.search("CA cert|X509|CERTIFICATE", text):
        msg = (
            f"The CA certificates cannot be read ({name}): check REQUESTS_CA_BUNDLE "
            "and CURL_CA_BUNDLE."
        )
        return errors.FatalError(msg)
    is_sendable = not isinstance(error, ValueError)
    if is_sendable and isinstance(error, (OSError, urllib3.exceptions.HTTPError)):
        return errors.TransientError(f"connection failed ({name})")
    return errors.FatalError(
        f"The request cannot be sent ({name}): check api_url, ulogin, "
        f"{PROXY_VARIABLES}."
    )
