"""Logins to load, and what is expected of their loads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from orchestrate.accounts import PATH_VARIABLE, read_accounts
from orchestrate.meltano import DATABASE, PROJECT
from orchestrate.plan import pools
from sandbox import Sandbox
from scripts.try_airflow.machines import ROOT, TOOLS, Machine
from scripts.try_airflow.services import Airflow, Postgres, start_redis

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

FOLDER = ROOT / ".demo" / "airflow"
PLUGINS = ("tap-metrika-calls", "target-postgres")
DAG = "metrika_calls_yearly"
YEARLY = "0 0 1 1 *"  # one run begins when the DAG does, and then only those asked for
MACHINES = ("office", "cloud")
COUNTERS = 40  # of each login: enough requests to exceed a limit that is not kept
UPLOADS = 20  # of each counter
LATENCY = 0.1  # seconds

Task: t.TypeAlias = dict[str, t.Any]


class FailedError(Exception):
    """Something is not as expected."""


@dataclass(frozen=True)
class Login:
    """One row of the file of logins.

    Attributes:
        name: Whose counters are read.
        egress: Name of the address.
        agency: Whose token it is read with, if not its own.
    """

    name: str
    egress: str
    agency: str = ""

    @property
    def connection(self) -> str:
        """ID of the Airflow connection."""
        return f"metrika_{self.agency or self.name}"

    @property
    def token(self) -> str:
        """The token that the connection holds."""
        return f"secret-token-of-{self.agency or self.name}"

    def row(self, counters: Sequence[int]) -> dict[str, t.Any]:
        """Return the row."""
        rest = {
            "connection": self.connection,
            "egress": self.egress,
            "schedule": "yearly",
            "requests_per_second": 10,
        }
        if self.agency:
            return {"ulogin": self.name, "counters": list(counters), **rest}
        return {"login": self.name, **rest}


def expect(what: str, *, holds: bool) -> None:
    """Fail unless something holds.

    Raises:
        FailedError: If it does not.
    """
    if not holds:
        raise FailedError(what)


def say(text: str) -> None:
    """Tell how far this is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def install() -> None:
    """Make a Meltano project for each machine, with the tap of this checkout."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    text = (ROOT / "meltano.yml").read_text("utf-8")
    definition = yaml.safe_load(text.replace("pip_url: -e .", f"pip_url: -e {ROOT}"))
    # What is tried is when the report is made, not the report.
    report = {"name": "report", "namespace": "report", "executable": "./report"}
    definition["plugins"]["utilities"] = [report]
    definition["jobs"] = definition["schedules"] = []
    for name in MACHINES:
        project = FOLDER / name
        project.mkdir(parents=True)
        (project / "meltano.yml").write_text(yaml.safe_dump(definition), "utf-8")
        script = project / "report"
        script.write_text(f"#!/bin/sh\necho made >> {FOLDER / 'reports'}\n", "utf-8")
        script.chmod(0o755)
        say(f"Installing the tap and the loader on {name}")
        meltano = TOOLS / "meltano" / "bin" / "meltano"
        options = ["--log-level=warning", "install", *PLUGINS]
        subprocess.run([str(meltano), *options], cwd=project, check=True)


@dataclass
class Trial:
    """What is tried with one executor.

    Attributes:
        database: Name of the warehouse, and of all that belongs to this trial.
        table: What was tried, and how it went.
        overheads: Seconds of each load beside its requests.
        machines: Where Airflow and the loads run.
        loads: How many loads there were so far.
    """

    database: str
    executor: str
    logins: Sequence[Login]
    api: Sandbox
    airflow: Airflow
    warehouse: Postgres
    ports: Sequence[int]
    table: list[tuple[str, ...]] = field(default_factory=list)
    overheads: list[float] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    loads: int = 0

    def __post_init__(self) -> None:
        """Add the logins to the API, each with counters of its own."""
        self.accounts = FOLDER / f"{self.database}.yml"
        self.counters = {
            login.name: range(first, first + COUNTERS)
            for login, first in zip(
                self.logins, range(20_000_001, 30_000_000, 100), strict=False
            )
        }
        readable: dict[tuple[str, str], list[int]] = {}
        for login in self.logins:
            for counter in self.counters[login.name]:
                self.api.add_counter(counter, UPLOADS)
            key = (login.agency or login.name, login.token)
            readable.setdefault(key, []).extend(self.counters[login.name])
        for (name, token), counters in readable.items():
            self.api.add_login(name, token, counters)
        self.api.delegates = {login.name for login in self.logins if login.agency}
        self.api.latency = LATENCY

    @property
    def names(self) -> list[str]:
        """All logins."""
        return [login.name for login in self.logins]

    def write_accounts(self, *, without: str = "", **changes: object) -> None:
        """Write the file of logins."""
        document = {
            "egress": {login.egress: 30 for login in self.logins},
            "schedules": {"yearly": YEARLY},
            "logins": [
                login.row(self.counters[login.name])
                for login in self.logins
                if login.name != without
            ],
        }
        # In one step: a task may read it at any time.
        draft = self.accounts.with_suffix(".draft")
        draft.write_text(yaml.safe_dump({**document, **changes}), "utf-8")
        draft.replace(self.accounts)

    def worker_env(self, machine: str) -> dict[str, str]:
        """Return what loads on a machine need."""
        meltano = TOOLS / "meltano" / "bin"
        port = self.api.url.rpartition(":")[2]
        return {
            "PATH": f"{meltano}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
            "TAP_METRIKA_CALLS_API_URL": f"http://127.0.0.1:{port}",
            "TARGET_POSTGRES_SQLALCHEMY_URL": self.warehouse.url(
                self.database, "psycopg"
            ),
            DATABASE: self.warehouse.url(f"meltano_{self.database}", "psycopg"),
            PATH_VARIABLE: str(self.accounts),
            PROJECT: str(FOLDER / machine),
        }

    @property
    def reports(self) -> int:
        """How many reports were made."""
        made = FOLDER / "reports"
        return len(made.read_text("utf-8").split()) if made.exists() else 0

    @contextlib.contextmanager
    def tried(self, what: str, *, exhausted: str = "", runs: int = 1) -> Iterator[None]:
        """Note what is tried and how it went.

        Args:
            what: Shown in the table.
            exhausted: The only login whose requests may be refused with 429.
            runs: Each makes one report, whatever failed.
        """
        say(what)
        self.api.reset()
        began, result, reports = time.monotonic(), "FAILED", self.reports
        loads, cores = self.loads, self._core_seconds()
        try:
            yield
            throttled = {r.login for r in self.api.requests if r.is_throttled}
            expect(f"429 for {throttled}", holds=throttled <= {exhausted})
            made = self.reports - reports
            expect(f"{made} reports in {runs} runs", holds=made == runs)
            result = "as expected"
        except FailedError as error:
            say(f"FAILED: {error}")
        finally:
            stats = self.api.stats()
            requests = ", ".join(
                f"{counts['requests']} from {address}"
                for address, counts in sorted(stats["by_address"].items())
            )
            taken = f"{time.monotonic() - began:.0f} s"
            refused = str(stats["throttled"])
            loads, cores = self.loads - loads, self._core_seconds() - cores
            each = f"{cores / loads:.1f}" if loads else ""
            if any(machine.kills for machine in self.machines):
                each = ""  # what the killed processes took is not known
                for machine in self.machines:
                    machine.kills = 0
            self.table.append(
                (
                    self.executor,
                    what,
                    result,
                    taken,
                    str(loads),
                    each,
                    requests,
                    refused,
                )
            )
            say(f"{result} after {taken}: {requests}, 429: {refused}")

    def _core_seconds(self) -> float:
        return sum(machine.core_seconds() for machine in self.machines)

    def await_run(self, run: str) -> dict[str, Task]:
        """Wait for a run; its tasks, and its loads by login."""
        self.airflow.await_run(DAG, run)
        tasks: dict[str, Task] = {}
        for task in self.airflow.tasks(DAG, run):
            mapped = task["map_index"] >= 0
            tasks[task["rendered_map_index"] if mapped else task["task_id"]] = task
            self.loads += task["try_number"] if mapped else 0
        for name in self.names:
            times = [r.time for r in self.api.requests if r.login == name]
            if times and (load := tasks.get(name)) and is_first_success(load):
                held = instant(load["end_date"]) - instant(load["queued_when"])
                self.overheads.append(held - (max(times) - min(times)))
        return tasks

    def expect_ended(self, tasks: dict[str, Task], **expected: str) -> None:
        """Expect that all tasks succeeded but these."""
        found = {
            name: str(task["state"])
            for name, task in tasks.items()
            if task["state"] != "success"
        }
        expect(f"these did not succeed: {found}", holds=found == expected)
        there = tasks.keys() & set(self.names)
        expect(f"loads of {sorted(there)}", holds=len(there) == len(self.names))

    def expect_whole(self, logins: Collection[str]) -> None:
        """Expect that the table holds all uploads of these logins as they are now."""
        query = "select counter_id, id, status from calls_uploadings"
        found = [
            (row["counter_id"], row["id"], row["status"])
            for row in self.warehouse.rows(self.database, query)
        ]
        expect("each upload is one row", holds=len(set(found)) == len(found))
        now = self.api.now()
        for login in logins:
            for counter in self.counters[login]:
                uploads = self.api.counters[counter].uploads
                expected = {
                    (counter, upload.fields["id"], upload.at(now).get("status"))
                    for upload in uploads
                    if upload.exists(now)
                }
                missing = len(expected - set(found))
                text = f"{missing} uploads of {login}, counter {counter}, are missing"
                expect(text, holds=not missing)

    def expect_own_states(self) -> None:
        """Expect that each login has a state, with its own counters alone."""
        rows = self.warehouse.rows(f"meltano_{self.database}", "select * from state")
        states = {row["state_id"]: json.dumps(row) for row in rows}
        expect(f"states: {sorted(states)}", holds=states.keys() == set(self.names))
        for login, text in states.items():
            named = [
                name
                for name, counters in self.counters.items()
                if any(str(counter) in text for counter in counters)
            ]
            expect(f"the state of {login} is of {named}", holds=named == [login])

    def expect_no_token(self) -> None:
        """Expect that no log, no file and no rendered template holds a token."""
        secrets = [login.token.encode() for login in self.logins]
        logs = [path for path in FOLDER.rglob("*") if path.suffix in (".log", ".yml")]
        for path in logs:
            content = path.read_bytes()
            shown = [secret for secret in secrets if secret in content]
            expect(f"{path} holds a token", holds=not shown)
        rendered = self.airflow.metadata()
        expect("no token was rendered", holds=not any(s in rendered for s in secrets))
        expect("there are logs", holds=len(logs) > len(self.names))


def is_first_success(task: Task) -> bool:
    """Whether a task succeeded in its first attempt."""
    return bool(task["state"] == "success" and task["try_number"] == 1)


def instant(text: str) -> float:
    """Return a time of Airflow in seconds."""
    return datetime.fromisoformat(text).timestamp()


@contextlib.contextmanager
def trial(
    database: str, executor: str, logins: Sequence[Login]
) -> Iterator[tuple[Trial, Machine]]:
    """Set up all that does not depend on what is tried.

    Yields:
        The trial, and the machine that Airflow runs on.
    """
    folder = FOLDER / database
    folder.mkdir()
    services = Machine("services", folder, env=dict(os.environ))
    hub = Machine("hub", folder)
    try:
        warehouse, meta = (Postgres(services, n, folder) for n in ("data", "meta"))
        for name in (database, f"meltano_{database}"):
            warehouse.make(name)
        meta.make("airflow")
        airflow = Airflow(hub, executor, meta)
        ports = [warehouse.port, meta.port, airflow.port]
        if executor == "CeleryExecutor":
            ports.append(start_redis(services))
            airflow.use_redis(ports[-1])
        # On all addresses, so that machines reach it from their own.
        with Sandbox(counters=0, host="0.0.0.0") as api:  # noqa: S104
            made = Trial(database, executor, logins, api, airflow, warehouse, ports)
            made.machines.append(hub)
            hub.env = made.worker_env(MACHINES[0])
            made.write_accounts()
            say(f"Setting up Airflow with {executor}")
            airflow.set_up(
                json.dumps(pools(read_accounts(made.accounts))),
                {login.connection: login.token for login in logins},
            )
            yield made, hub
    finally:
        hub.kill()
        services.kill()
