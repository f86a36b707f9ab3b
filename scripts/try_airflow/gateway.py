"""Forwards TCP connections: `python -m scripts.try_airflow.gateway SOURCE FROM=TO ...`.

The tap sends its token over plain HTTP to a loopback address only, so each machine
reaches the others through a port of its own. What leaves has SOURCE as its address, or
with `-` the one that the machine has.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


def address(text: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what one side sends."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def forward(source: str, listen: str, target: str) -> None:
    """Forward one port for as long as the process lives."""
    local = None if source == "-" else (source, 0)

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            there = await asyncio.open_connection(*address(target), local_addr=local)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(connected, *address(listen))
    await server.serve_forever()


async def main() -> None:
    """Forward all ports."""
    source, *pairs = sys.argv[1:]
    await asyncio.gather(*(forward(source, *pair.split("=")) for pair in pairs))


if __name__ == "__main__":
    asyncio.run(main())
