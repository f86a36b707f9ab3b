"""Tries the DAGs for real: `make test-airflow`.

First LocalExecutor with six logins, then CeleryExecutor with twelve logins and two
workers, each with an address of its own. All that it makes lies in `.demo/airflow`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import signal
import statistics
import sys
import threading
import typing as t

from sandbox import EXPIRED_TOKEN
from scripts.try_airflow.machines import enter_hub, hub, is_inside, remote
from scripts.try_airflow.trial import (
    COUNTERS,
    DAG,
    FOLDER,
    MACHINES,
    Login,
    Trial,
    expect,
    install,
    instant,
    say,
    trial,
)
from scripts.try_airflow.watch import SECRET

if t.TYPE_CHECKING:
    from sandbox import Request
    from scripts.try_airflow.machines import Machine
    from scripts.try_airflow.trial import Task

TWO_HOURS = 2 * 60 * 60
MIDDLE = 60  # requests after which something happens: four loads at once send 164
AWAY = 60  # seconds for which Postgres is away


def main() -> int:
    """Try everything.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="make test-airflow", description=__doc__)
    parser.add_argument("--only", choices=("local", "celery"))
    only = parser.parse_args().only
    for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    if not is_inside():
        install()
        with hub() as made:
            if made:
                return enter_hub()
    tables, overheads = [], []
    for name, attempt in (("local", try_local), ("celery", try_celery)):
        if only in (None, name):
            done = attempt()
            tables += done.table
            overheads.append((done.executor, done.overheads))
    return show(tables, overheads)


def show(table: list[tuple[str, ...]], overheads: list[tuple[str, list[float]]]) -> int:
    """Print what was tried; the exit code."""
    heads = (
        "executor",
        "what was tried",
        "result",
        "time",
        "loads",
        "core-seconds per load",
        "requests",
        "429",
    )
    rows = [heads, ("---",) * len(heads), *table]
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    for executor, seconds in overheads:
        if seconds:
            middle = statistics.median(seconds)
            print(f"{executor}: a load holds its slots {middle:.1f} s (median of "
                  f"{len(seconds)}) longer than it sends requests")  # fmt: skip
    return int(any(row[2] != "as expected" for row in table))


def try_local() -> Trial:
    """Try LocalExecutor on one machine."""
    share = 14  # two loads at once, so that others wait
    logins = [Login(f"login{n}", "office", share=share) for n in range(1, 5)]
    logins += [Login(f"client{n}", "office", "agency", share) for n in (1, 2)]
    with trial("local", "LocalExecutor", logins) as (made, _):
        made.write_accounts(egress={})
        made.airflow.start()
        with made.tried("a file of logins without an address", runs=0):
            expect_import_error(made, "local.yml: egress: expected")
        made.write_accounts()
        with made.tried("6 logins, two of them with one token"):
            tasks = made.await_run(made.airflow.await_dag(DAG))
            made.expect_ended(tasks)
            made.expect_whole(made.names)
            made.expect_own_states()
            expect_one_after_another(made, tasks)
        made.api.advance(TWO_HOURS)
        with made.tried(
            "two runs at once; a login removed while its task waits", runs=2
        ):
            begun = requests_seen(made, made.names, 1)
            first, second = (made.airflow.trigger(DAG) for _ in range(2))
            expect("requests arrive", holds=begun.wait(300))
            made.write_accounts(without="login4")
            runs = [made.await_run(run) for run in (first, second)]
            expect_removed(made, *runs)
        made.expect_no_token()
    return made


def try_celery() -> Trial:
    """Try CeleryExecutor with two workers."""
    logins = [Login(f"login{n}", MACHINES[n > 6]) for n in range(1, 13)]  # noqa: PLR2004
    with (
        trial("celery", "CeleryExecutor", logins) as (made, _),
        contextlib.ExitStack() as stack,
    ):
        made.airflow.start()
        workers = {}
        api = int(made.api.url.rpartition(":")[2])
        for number, name in enumerate(MACHINES, 1):
            environment = made.worker_env(name)
            folder = FOLDER / "celery" / name
            workers[name] = stack.enter_context(
                remote(number, folder, environment, made.ports, api)
            )
            made.airflow.start_worker(workers[name], name)
            made.machines.append(workers[name])
        try_killed_worker(made, workers["office"])
        try_rejected_token(made)
        try_used_up(made)
        try_missing_project(made)
        try_postgres_away(made)
        made.expect_no_token()
    return made


def try_killed_worker(made: Trial, worker: Machine) -> None:
    """Kill a worker in the middle of its loads, and start it again."""
    with made.tried("12 logins, 2 workers; one killed with all its descendants"):
        egress = {login.name: login.egress for login in made.logins}
        office = [name for name in made.names if egress[name] == "office"]
        begun = requests_seen(made, office, MIDDLE)
        run = made.airflow.await_dag(DAG)
        expect("requests arrive", holds=begun.wait(300))
        killed = worker.kill()
        say(f"Killed {killed} processes")
        made.airflow.start_worker(worker, "office")
        tasks = made.await_run(run)
        made.expect_ended(tasks)
        made.expect_whole(made.names)
        made.expect_own_states()
        expect("a load was killed", holds=bool(tried_again(made, tasks)))
        seen = {(egress[r.login], r.address) for r in made.api.requests}
        two = len({address for _, address in seen})
        expect(f"an address each: {seen}", holds=len(seen) == two == len(MACHINES))


def try_rejected_token(made: Trial) -> None:
    """Take one token away."""
    made.api.advance(TWO_HOURS)
    with made.tried("one token is rejected"):
        made.airflow.set_token("metrika_login7", f"{SECRET}nobody")
        tasks = made.await_run(made.airflow.trigger(DAG))
        made.airflow.set_token("metrika_login7", made.logins[6].token)
        made.expect_ended(tasks, login7="failed", outcome="failed")
        expect_named(made, tasks, "login7")


def try_used_up(made: Trial) -> None:
    """Let a daily quota be used up in the middle of a load, and a token expire."""
    made.api.advance(TWO_HOURS)
    what = "a daily quota is used up in the middle of a load; a token has expired"
    with made.tried(what, exhausted=["login8"]):
        error = {"error_type": "quota_requests_by_uid", "message": "Quota exceeded"}
        body = json.dumps({"errors": [error], "code": 429, "message": "Quota exceeded"})
        for counter in made.counters["login8"][COUNTERS // 2 :]:
            made.api.answer(f"/counter/{counter}/", body.encode(), status=429)
        made.airflow.set_token("metrika_login2", EXPIRED_TOKEN)
        tasks = made.await_run(made.airflow.trigger(DAG))
        made.airflow.set_token("metrika_login2", made.logins[1].token)
        made.api.recover()
        made.expect_ended(tasks, login2="failed", login8="failed", outcome="failed")
        expect_named(made, tasks, "login2", "login8")


def try_missing_project(made: Trial) -> None:
    """Take the Meltano project from a worker, until a load has missed it."""
    made.api.advance(TWO_HOURS)
    with made.tried("a worker without the Meltano project, which gets it later"):
        project = FOLDER / "cloud" / "meltano.yml"
        away = project.rename(project.with_suffix(".away"))
        run = made.airflow.trigger(DAG)
        failed = made.airflow.await_retry(DAG, run)
        away.rename(project)
        tasks = made.await_run(run)
        made.expect_ended(tasks)
        made.expect_whole(made.names)  # also of those that were refused before
        expect(f"{failed['pool']} failed", holds=failed["pool"] == "cloud")
        log = made.airflow.log(failed, 1)
        text = f"No Meltano project in {project.parent} on this worker"
        expect(log[-500:], holds=text in log)
        again = {login.egress for login in tried_again(made, tasks)}
        expect(f"tried again: {again}", holds=again == {"cloud"})


def try_postgres_away(made: Trial) -> None:
    """Stop the warehouse, which also keeps the states, for a minute."""
    made.api.advance(TWO_HOURS)
    with made.tried("Postgres away for a minute"):
        begun = requests_seen(made, made.names, MIDDLE)
        run = made.airflow.trigger(DAG)
        expect("requests arrive", holds=begun.wait(300))
        made.warehouse.stop()
        threading.Event().wait(AWAY)
        made.warehouse.start()
        tasks = made.await_run(run)
        made.expect_ended(tasks)
        made.expect_whole(made.names)
        made.expect_own_states()
        expect("a load was tried again", holds=bool(tried_again(made, tasks)))


def tried_again(made: Trial, tasks: dict[str, Task]) -> list[Login]:
    """Return the logins whose loads were tried more than once."""
    found = [login for login in made.logins if tasks[login.name]["try_number"] > 1]
    say(f"Tried again: {', '.join(login.name for login in found)}")
    return found


def requests_seen(
    made: Trial, logins: t.Collection[str], count: int
) -> threading.Event:
    """Return an event that so many requests of these logins set."""
    seen = threading.Event()
    requests = itertools.count(1)

    def arrived(request: Request) -> None:
        if request.query.get("ulogin", request.login) not in logins:
            return
        if next(requests) == count:
            seen.set()

    made.api.on_request = arrived
    return seen


def expect_import_error(made: Trial, line: str) -> None:
    """Expect that Airflow shows what is wrong with the file of logins."""
    errors = made.airflow.await_import_error()
    expect(f"{line} in {errors}", holds=line in errors)


def expect_one_after_another(made: Trial, tasks: dict[str, Task]) -> None:
    """Expect that no two logins of the agency were read at the same time."""
    order = [r.query["ulogin"] for r in made.api.requests if r.login == "agency"]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    attempts = sum(tasks[name]["try_number"] for name in set(order))
    text = f"{changes} changes between two logins in {attempts} attempts"
    expect(text, holds=0 < changes < attempts)


def expect_removed(
    made: Trial, first: dict[str, Task], second: dict[str, Task]
) -> None:
    """Expect that a removed login was skipped, and that runs were one after another."""
    made.expect_ended(first, login4="skipped")
    left = [name for name in made.names if name != "login4"]
    expect(f"loads of {sorted(second)}", holds=second.keys() >= set(left))
    expect("login4 is gone", holds="login4" not in second)
    bad = [name for name, task in second.items() if task["state"] != "success"]
    expect(f"these failed: {bad}", holds=not bad)
    made.expect_whole(left)
    expect("login4 is left alone", holds="login4" not in made.api.stats()["by_login"])
    ended = max(instant(task["end_date"]) for task in first.values())
    began = min(instant(task["start_date"]) for task in second.values())
    expect("the second run waited", holds=ended <= began)


def expect_named(made: Trial, tasks: dict[str, Task], *logins: str) -> None:
    """Expect that logins failed once and are named, and that the others are whole."""
    attempts = [tasks[login]["try_number"] for login in logins]
    expect(f"attempts: {attempts}", holds=set(attempts) == {1})
    log = made.airflow.log(tasks["outcome"])
    counts = f"{len(logins)} of {len(made.names)}"
    text = f"{counts} logins failed: {', '.join(logins)}"
    expect(log[-500:], holds=text in log)
    made.expect_whole([name for name in made.names if name not in logins])


if __name__ == "__main__":
    sys.exit(main())
