"""ClickHouse's own engine behind enough of its HTTP interface for dbt and loaders.

The engine is real, the server is not: no users, no native protocol, no cluster. Runs
where `chdb` is installed, prints its port, and ends with its standard input.

`clickhouse_front.py FOLDER`
"""

from __future__ import annotations

import gzip
import re
import sys
import tempfile
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
from chdb.session import Session
from typing_extensions import override

DECODE: dict[str, t.Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
    "identity": bytes,
}
# Of the transport, not of the engine.
TRANSPORT = {
    "query",
    "database",
    "default_format",
    "session_id",
    "session_timeout",
    "session_check",
    "query_id",
    "client_protocol_version",
    "wait_end_of_query",
    "compress",
    "decompress",
}
# Rows that follow their statement; rows of VALUES and of a SELECT are part of it.
INSERT = re.compile(
    rb"\s*insert\s+into\s[^;]*?\sformat\s+(?!values\b)\w+", re.IGNORECASE
)
CODE = re.compile(r"Code: (\d+)\.")


class Engine:
    """The sessions with one folder of data, each with settings of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        # Without one, the engine would close the folder between two requests.
        self._sessions = {"": Session(folder)}
        self._lock = threading.Lock()

    def answer(self, parameters: dict[str, str], body: bytes) -> bytes:
        """Execute a statement; its rows, in the format that it names.

        Raises:
            RuntimeError: If the engine refuses it.
        """
        name = parameters.get("session_id", "")
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = Session(self._folder)
            session = self._sessions[name] if name else Session(self._folder)
            self._prepare(session, parameters)
            query = parameters.get("query", "").encode()
            statement = query + b"\n" * bool(query) + body
            form = parameters.get("default_format", "TabSeparated")
            return self._execute(session, statement, form)

    @staticmethod
    def _prepare(session: Session, parameters: dict[str, str]) -> None:
        session.query(f"use `{parameters.get('database') or 'default'}`")
        for name in parameters.keys() - TRANSPORT:
            value = parameters[name].replace("\\", "\\\\").replace("'", "\\'")
            session.query(f"set {name} = '{value}'")

    @staticmethod
    def _execute(session: Session, statement: bytes, form: str) -> bytes:
        insert = INSERT.match(statement)
        if not insert:
            found = session.query(statement.decode(), form)
            return bytes(found.bytes() or b"")
        head, _, form = insert[0].decode().rpartition(" ")
        head = head[: -len("format")]
        with tempfile.NamedTemporaryFile() as file:
            file.write(statement[insert.end() :].removeprefix(b"\n"))
            file.flush()
            session.query(f"{head} from infile '{file.name}' format {form}")
        return b""


class Handler(BaseHTTPRequestHandler):
    """Answers as ClickHouse's HTTP interface does."""

    protocol_version = "HTTP/1.1"
    engine: t.ClassVar[Engine]

    def do_GET(self) -> None:
        """Answer a ping, or a query in the URL."""
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        """Execute a statement."""
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = DECODE[self.headers.get("Content-Encoding", "identity")](self._body())
        try:
            self._send(200, self.engine.answer(parameters, body))
        except RuntimeError as error:
            code = CODE.search(str(error))
            self._send(500, str(error).encode(), code[1] if code else "1002")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, status: int, content: bytes, code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, *arguments: t.Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until standard input ends."""
    Handler.engine = Engine(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)  # noqa: T201 - tells who started it
    sys.stdin.read()


if __name__ == "__main__":
    main()
