"""Runs the stand-in as a process: `python -m sandbox --help`."""

from __future__ import annotations

import argparse
import signal
from datetime import UTC, datetime

from sandbox import TOKEN, Sandbox


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epoch", help="when the world began, in ISO 8601")
    parser.add_argument("--speed", type=float, default=1, help="of the world's time")
    parser.add_argument("--counters", type=int, default=3)
    parser.add_argument("--uploads", type=int, default=20, help="of each counter")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--fault-share", type=float, default=0)
    parser.add_argument("--no-quotas", action="store_true")
    options = parser.parse_args()
    epoch = datetime.fromisoformat(options.epoch) if options.epoch else None
    sandbox = Sandbox(
        seed=options.seed,
        counters=options.counters,
        uploads=options.uploads,
        epoch=epoch.astimezone(UTC) if epoch else None,
        speed=options.speed,
        port=options.port,
    )
    sandbox.latency = options.latency_ms / 1000
    sandbox.fault_share = options.fault_share
    if options.no_quotas:
        sandbox.quotas = None
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with sandbox:
        print(f"{sandbox.url} token: {TOKEN}", flush=True)  # noqa: T201
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
