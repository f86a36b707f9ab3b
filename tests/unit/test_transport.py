"""How a request is sent: headers, deadline, and what a broken connection means."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import typing as t

import pytest
import requests
import requests_mock
import urllib3

from tap_metrika_calls.api import errors
from tap_metrika_calls.api.transport import Transport

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Respond = Callable[[socket.socket], None]

CONFIG: dict[str, t.Any] = {
    "oauth_token": "token",
    "api_url": "https://api.example",
    "request_timeout": 7,
    "max_parallel_requests": 1,
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n"


@contextlib.contextmanager
def serving(
    respond: Respond, timeout: t.Any = 30
) -> Iterator[tuple[Transport, list[bytes]]]:
    """Respond to one connection; yield a transport and what it will have sent."""
    heads: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            heads.append(head)
            respond(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        transport = Transport(CONFIG | {"api_url": url, "request_timeout": timeout})
        try:
            yield transport, heads
        finally:
            transport.close()
            thread.join(30)


def sending(*chunks: bytes) -> Respond:
    return lambda connection: connection.sendall(b"".join(chunks))


def whole(body: bytes, headers: bytes = b"") -> Respond:
    return sending(OK % (len(body), headers), body)


def test_what_is_sent() -> None:
    with serving(whole(b"{}")) as (transport, heads):
        transport.get("counters", {"offset": 1, "ulogin": "a b&c"})
    (head,) = heads
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /management/v1/counters?offset=1&ulogin=a+b%26c HTTP/1.1"
    assert "Authorization: OAuth token" in lines
    assert any(line.startswith("User-Agent: tap-metrika-calls/") for line in lines)


@pytest.mark.parametrize("status", [200, 204, 302, 403, 404, 500])
def test_a_response_is_returned_whatever_its_code(status: int) -> None:
    head = b"HTTP/1.1 %d X\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n" % status
    with serving(sending(head)) as (transport, heads):
        response = transport.get("counters", {})
    assert (response.status, response.body) == (status, b"")
    assert response.headers["location"] == "/a"
    assert len(heads) == 1


@pytest.mark.parametrize("size", [0, 1, 2**16, 300_000])
def test_a_body_is_read_whole(size: int) -> None:
    body = b"x" * size
    with serving(whole(body)) as (transport, _):
        assert transport.get("counters", {}).body == body


def test_a_chunked_and_compressed_body_is_read_whole() -> None:
    body = b"x" * 300_000
    packed = gzip.compress(body)
    halves = packed[:50], packed[50:]
    chunks = [b"%x\r\n%b\r\n" % (len(half), half) for half in halves]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked"
    with serving(sending(head, b"\r\n\r\n", *chunks, b"0\r\n\r\n")) as (transport, _):
        assert transport.get("counters", {}).body == body


def assert_transient(respond: Respond, *, is_slow: bool = False) -> str:
    """Assert that a response means that the request may succeed later."""
    timeout = 0.3 if is_slow else 30
    with (
        serving(respond, timeout) as (transport, _),
        pytest.raises(errors.TransientError) as failed,
    ):
        transport.get("counters", {})
    assert isinstance(failed.value, errors.SlowError) is is_slow
    return str(failed.value)


@pytest.mark.parametrize(
    "respond",
    [
        sending(),
        sending(b"HTTP/1.1 "),
        sending(OK % (100, b""), b"x" * 99),
        sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxxx"),
        whole(b"no gzip", b"Content-Encoding: gzip\r\n"),
        sending(b"no HTTP at all\r\n\r\n"),
    ],
    ids=["nothing", "half a head", "truncated", "half a chunk", "no gzip", "no HTTP"],
)
def test_a_broken_response_may_pass(respond: Respond) -> None:
    assert assert_transient(respond).startswith("connection failed (")


@pytest.mark.parametrize("begin", [OK % (10**6, b""), b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_body_that_drips_has_a_deadline(begin: bytes) -> None:
    gone = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(begin)
        try:
            while not gone.wait(0.02):  # far less than the timeout of one read
                connection.sendall(b"x")
        except OSError:
            gone.set()

    text = assert_transient(drip, is_slow=True)
    assert text == "no whole response within 0.3 s"
    assert gone.is_set()


def stay_silent(connection: socket.socket) -> None:
    connection.recv(1)  # until the client goes


def test_a_server_that_stays_silent_has_one_too() -> None:
    text = assert_transient(stay_silent, is_slow=True)
    assert text == "no whole response within 0.3 s"


CONNECT = "Tunnel connection failed: {} No"
PROXY = requests.exceptions.ProxyError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (requests.ReadTimeout("CANARY"), errors.SlowError, "within 7 s"),
        (requests.ConnectTimeout("CANARY"), errors.SlowError, "within 7 s"),
        (TimeoutError("CANARY"), errors.SlowError, "within 7 s"),
        (requests.ConnectionError("CANARY"), errors.TransientError, "ConnectionError"),
        (
            requests.exceptions.ChunkedEncodingError("CANARY"),
            errors.TransientError,
            "ChunkedEncodingError",
        ),
        (
            urllib3.exceptions.ProtocolError("CANARY"),
            errors.TransientError,
            "ProtocolError",
        ),
        (urllib3.exceptions.DecodeError("CANARY"), errors.TransientError, "Decode"),
        (requests.exceptions.SSLError("CANARY"), errors.TransientError, "SSLError"),
        (PROXY(CONNECT.format(502)), errors.TransientError, "HTTP 502"),
        (PROXY("CANARY"), errors.TransientError, "HTTPS_PROXY"),
        (PROXY(CONNECT.format(403)), errors.FatalError, "HTTP 403): check HTTPS_PROXY"),
        (PROXY(CONNECT.format(407)), errors.FatalError, "HTTP 407): check HTTPS_PROXY"),
        (
            requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] CANARY"),
            errors.FatalError,
            "the token was not sent",
        ),
        (
            OSError("Could not find a suitable TLS CA certificate bundle, CANARY"),
            errors.FatalError,
            "REQUESTS_CA_BUNDLE",
        ),
        (requests.exceptions.InvalidURL("CANARY"), errors.FatalError, "api_url"),
        (requests.exceptions.InvalidSchema("CANARY"), errors.FatalError, "HTTPS_PROXY"),
        (
            requests.exceptions.InvalidProxyURL("CANARY"),
            errors.FatalError,
            "HTTPS_PROXY",
        ),
        (
            urllib3.exceptions.LocationParseError("CANARY"),
            errors.FatalError,
            "HTTPS_PROXY",
        ),
        (
            UnicodeEncodeError("latin-1", "CANARY", 0, 1, "CANARY"),
            errors.FatalError,
            "HTTPS_PROXY",
        ),
        (ValueError("CANARY"), errors.FatalError, "(ValueError)"),
        (RuntimeError("CANARY"), errors.FatalError, "(RuntimeError)"),
    ],
)
def test_what_a_failed_connection_means(
    error: Exception, kind: type[errors.MetrikaError], words: str
) -> None:
    transport = Transport(CONFIG)
    with requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, exc=error)
        with pytest.raises(errors.MetrikaError) as failed:
            transport.get("counters", {})
    transport.close()
    assert type(failed.value) is kind
    assert words in str(failed.value)
    assert "CANARY" not in str(failed.value)
    assert failed.value.__cause__ is None, "a traceback would repeat it"


def test_no_proxy_of_the_environment_sees_a_token_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(whole(b"{}")) as (transport, heads):
        assert transport.get("counters", {}).status == 200
    assert len(heads) == 1


def test_no_netrc_file_replaces_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    transport = Transport(CONFIG)
    with requests_mock.Mocker() as mocker:
        mocker.get(requests_mock.ANY, json={})
        transport.get("counters", {})
    transport.close()
    (sent,) = mocker.request_history
    assert sent.headers["Authorization"] == "OAuth token"
    assert sent.timeout == 7
