"""The token goes to the API, and nowhere else."""

from __future__ import annotations

import http.server
import ssl
import threading
import typing as t

import pytest
import trustme

from sandbox import FAULTS, Sandbox
from tests.support import PREFIX, config_for, run, sync

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "y0_CANARY-of-a-token"
QUICK = {"max_attempts": 2, "request_timeout": 1, "counter_id": 7}
DEBUG = {f"{PREFIX}LOGLEVEL": "DEBUG"}
UNBOUNDED = {"drip_headers"}  # lasts as long as headers keep coming


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent, as an error or as data."""

    status = 403
    seen: t.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Echo the token in every part of an answer that a client might show."""
        token = self.headers["Authorization"]
        self.seen.append(token)
        body = (
            f'{{"errors": [{{"error_type": "{token}", "message": "{token}"}}], '
            f'"message": "{token}", "uploadings": "{token}"}}'
        ).encode()
        self.send_response(self.status, "Echo")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", f"http://localhost/{token.split()[1]}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def echo() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server that tells all it was sent."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Echo.seen.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500])
def test_what_a_response_echoes_is_not_shown(
    echo: http.server.ThreadingHTTPServer, status: int
) -> None:
    Echo.status = status
    url = f"http://127.0.0.1:{echo.server_port}"
    config = {"oauth_token": CANARY, "api_url": url, **QUICK}
    result = sync(config, env=DEBUG)
    assert result.code == 1
    assert Echo.seen[0] == f"OAuth {CANARY}"
    assert CANARY not in result.log
    assert all(CANARY not in line for line in result.lines)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - UNBOUNDED))
def test_no_fault_shows_the_token(api: Sandbox, fault: str) -> None:
    api.add_login("login", CANARY, [])
    api.slow_seconds = 3
    api.fail(fault, times=100)
    result = sync(config_for(api, oauth_token=CANARY, **QUICK), env=DEBUG)
    assert CANARY not in result.log
    assert all(CANARY not in line for line in result.lines)


def test_the_installed_tap_shows_no_token(api: Sandbox, tmp_path: Path) -> None:
    api.fail("503", times=100)
    config = config_for(api, oauth_token=CANARY, **QUICK)
    result = run(config, tmp_path, env=DEBUG)
    assert result.code == 1
    assert "/counter/7/" in result.log
    assert CANARY not in result.log
    assert all(CANARY not in line for line in result.lines)


def test_a_certificate_that_nobody_trusts_gets_no_token(
    echo: http.server.ThreadingHTTPServer,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    echo.socket = context.wrap_socket(echo.socket, server_side=True)
    url = f"https://127.0.0.1:{echo.server_port}"
    config = {"oauth_token": CANARY, "api_url": url, "counter_id": 7}
    result = sync(config, env=DEBUG)
    assert result.code == 1
    assert len(result.errors) == 1
    assert "certificate" in result.errors[0]
    assert "api_url" in result.errors[0]
    assert Echo.seen == []
    assert CANARY not in result.log


def test_a_redirect_does_not_take_the_token_along(
    api: Sandbox, echo: http.server.ThreadingHTTPServer
) -> None:
    elsewhere = {"Location": f"http://127.0.0.1:{echo.server_port}/"}
    api.answer("counter/7/", b"", status=307, headers=elsewhere)
    result = sync(config_for(api, counter_id=7))
    assert result.code == 1
    assert "redirect" in result.errors[0]
    assert "127.0.0.1" in result.errors[0]
    assert Echo.seen == []
    assert len(api.requests) == 1


def test_a_netrc_does_not_take_the_tokens_place(
    echo: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n", encoding="ascii")
    Echo.status = 403
    url = f"http://127.0.0.1:{echo.server_port}"
    config = {"oauth_token": CANARY, "api_url": url, "counter_id": 7}
    sync(config, env={"NETRC": str(netrc)})
    assert Echo.seen == [f"OAuth {CANARY}"]
