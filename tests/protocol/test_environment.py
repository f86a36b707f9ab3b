"""Proxies and certificates as the environment has them."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import typing as t

import pytest

from tests.support import Run, config_for, sync

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

SECRET = "CANARY"
UNREACHABLE = "https://localhost:1"
CYRILLIC = "пароль"
# None of these can be used, however often they are tried.
UNUSABLE = [
    f"http://user:{CYRILLIC}{SECRET}@127.0.0.1:1",
    f"http://{CYRILLIC}:{SECRET}@127.0.0.1:1",
    f"http://user:pa#ss{SECRET}@127.0.0.1:1",
    f"http://user:pa?ss{SECRET}@127.0.0.1:1",
    f"http://user:{SECRET}@127.0.0.1:99999",
    f"http://user:{SECRET}@a..b:1",
    f"http://user:{SECRET}@{'a' * 64}.net:1",
    f"http://user:{SECRET}@[::1:1",
    f"ftp://user:{SECRET}@127.0.0.1:1",
    f"socks5://user:{SECRET}@127.0.0.1:1",
    "http://",
    "http:///127.0.0.1",
]
NO_PROXIES = {"NO_PROXY": "", "no_proxy": ""}


class Proxy(socketserver.ThreadingTCPServer):
    """A proxy that gives one response to everything."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, response: bytes) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.response = response
        self.connections = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self.server_address[1]}"

    @property
    def url(self) -> str:
        """How to use it, with a password."""
        return f"http://user:{SECRET}@127.0.0.1:{self.server_address[1]}"


class ProxyHandler(socketserver.StreamRequestHandler):
    """Reads one request and responds."""

    server: Proxy

    def handle(self) -> None:
        """Respond."""
        self.server.connections += 1
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.response)


@contextlib.contextmanager
def proxy(status: str) -> Iterator[Proxy]:
    """A proxy that responds to everything with a status."""
    headers = "Content-Type: text/html\r\nContent-Length: 0\r\nConnection: close"
    response = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode()
    with Proxy(response) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def through(url: str, **settings: object) -> Run:
    """Sync through a proxy that is named in the environment."""
    config = {"oauth_token": "x", "counter_id": 7, "api_url": UNREACHABLE, **settings}
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
    return sync(config, env={**dict.fromkeys(names, url), **NO_PROXIES})


def assert_plain(run: Run, *words: str) -> str:
    """Assert that a run failed with one line of these words, without a retry."""
    assert run.code == 1
    (line,) = run.errors
    for word in words:
        assert word in line
    assert "Unexpected" not in run.log
    assert "Traceback" not in run.log
    assert SECRET not in run.log
    assert run.messages[-1]["type"] == "STATE"
    assert not [line for line in run.warnings if "attempt" in line]
    return line


@pytest.mark.parametrize("url", UNUSABLE)
def test_an_unusable_proxy_is_named_and_not_retried(url: str) -> None:
    assert_plain(through(url), "HTTPS_PROXY")


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 No"])
def test_a_proxy_that_refuses_is_named_and_not_retried(status: str) -> None:
    with proxy(status) as server:
        line = assert_plain(through(server.url), "HTTPS_PROXY")
    assert server.connections == 1
    assert "token" not in line


def test_the_response_of_a_proxy_that_wants_a_password(api: Sandbox) -> None:
    headers = {"Content-Type": "text/html", "Proxy-Authenticate": "Basic"}
    api.answer("counter/7/", b"<html>Password?</html>", status=407, headers=headers)
    assert_plain(sync(config_for(api, counter_id=7)), "proxy", "407")
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Unavailable"])
def test_a_proxy_that_is_overloaded_is_tried_again(status: str) -> None:
    with proxy(status) as server:
        run = through(server.url, max_attempts=3)
    assert run.code == 1
    assert server.connections == 3
    assert SECRET not in run.log


def test_a_proxy_that_does_not_listen_is_named() -> None:
    run = through(f"http://user:{SECRET}@127.0.0.1:1", max_attempts=2)
    assert run.code == 1
    (line,) = run.errors
    assert "HTTPS_PROXY" in line
    assert SECRET not in run.log


@pytest.mark.parametrize("kind", ["missing", "in a missing folder", "no certificates"])
def test_certificates_that_are_not_there_are_named_and_not_retried(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "certificates of mine"
    if kind == "in a missing folder":
        path = tmp_path / "missing" / "certificates.pem"
    elif kind == "no certificates":
        path.write_text("none", encoding="utf-8")
    with proxy("200 OK") as server:  # it listens, which is enough here
        config = {"oauth_token": "x", "counter_id": 7, "api_url": server.address}
        config |= {"request_timeout": 2}
        run = sync(config, env={"REQUESTS_CA_BUNDLE": str(path), **NO_PROXIES})
    line = assert_plain(run, "REQUESTS_CA_BUNDLE")
    assert "again later" not in line


def test_what_is_said_of_a_connection_that_is_refused() -> None:
    config = {"oauth_token": "x", "counter_id": 7, "api_url": UNREACHABLE}
    run = sync({**config, "max_attempts": 2}, env=NO_PROXIES)
    assert run.code == 1
    (line,) = run.errors
    assert "failed after 2 attempts" in line
    assert "counter 7" in line.lower()
    assert "run the sync again later" in line


def test_too_little_memory_for_a_thread_is_one_plain_line(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> t.NoReturn:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    api.add_counter(7, uploads=1)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert_plain(sync(config_for(api, counter_id=7)), "thread")
