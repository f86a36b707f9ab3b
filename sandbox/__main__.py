"""Run the mock API as a process: `python -m sandbox --help`."""

from __future__ import annotations

import argparse
import signal
from datetime import UTC, datetime

from sandbox import TOKEN, Sandbox
from sandbox.uploads import ORDERS

SIZES = {"counters": 3, "uploads": 20, "conversions": 0, "chats": 0}


def main() -> None:
    """Serve until a signal comes."""
    options = parsed()
    sizes = {name: getattr(options, name) for name in SIZES}
    given = {name: size for name, size in sizes.items() if size is not None}
    sandbox = Sandbox(
        seed=options.seed,
        epoch=options.epoch,
        demo=not given,
        host=options.host,
        port=options.port,
        **(SIZES | given),
    )
    if options.now:
        sandbox.advance((options.now - sandbox.epoch).total_seconds())
    sandbox.seconds_per_request = options.seconds_per_request
    sandbox.order = options.order
    sandbox.page_cap = options.page_cap
    sandbox.latency = options.latency_ms / 1000
    sandbox.fault_share = options.fault_share
    if options.no_quotas:
        sandbox.quotas = None
    ids = list(sandbox.counters)
    for number in range(options.logins):
        counters = ids[number :: options.logins]
        sandbox.add_login(f"login{number + 1}", f"{TOKEN}-{number + 1}", counters)
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with sandbox:
        print(f"{sandbox.url} token: {TOKEN}", flush=True)  # noqa: T201
        signal.sigwait(stops)


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=__doc__,
        epilog="Without a number of counters or uploads, it has those of the demo.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at")
    add("--port", type=int, default=0, help="0 for a free one")
    add("--seed", type=int, default=1)
    add("--epoch", type=_instant, help="when the world begins, in ISO 8601")
    add("--now", type=_instant, help="the world's time, if it is not the epoch")
    add("--seconds-per-request", type=float, default=0, help="of the world's time")
    add("--counters", type=int, help="how many")
    add("--uploads", type=int, help="calls uploads of each counter")
    add("--conversions", type=int, help="conversions uploads of each counter")
    add("--chats", type=int, help="chats uploads of each counter")
    add("--order", choices=ORDERS, default="newest", help="of lists")
    add("--page-cap", type=int, help="most uploads of a page")
    add("--logins", type=int, default=0, metavar="N", help=f"{TOKEN}-1 to N")
    add("--latency-ms", type=float, default=0)
    add("--fault-share", type=float, default=0)
    add("--no-quotas", action="store_true")
    return parser.parse_args()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


if __name__ == "__main__":
    main()
