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
from pathlib import Path

import yaml

from orchestrate.accounts import DEFAULT_RATE, PATH_VARIABLE, read_accounts
from orchestrate.meltano import DATABASE, PROJECT
from orchestrate.plan import pools
from sandbox import Sandbox
from scripts.try_airflow.machines import ROOT, TOOLS, Machine
from scripts.try_airflow.services import OWNER, Airflow, Postgres, start_redis
from scripts.try_airflow.watch import SECRET, Watch, files_with_tokens

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

FOLDER = ROOT / ".demo" / "airflow"
PLUGINS = ("tap-metrika-calls", "target-postgres")
REPORT = "upload-health"
FROZEN = Path(__file__).parent / "requirements.txt"
DAG = "metrika_calls_yearly"
YEARLY = "0 0 1 1 *"  # one run begins when the DAG does, and then only those asked for
MACHINES = ("office", "cloud")
COUNTERS = 40  # of each login: enough requests to exceed a limit that is not kept
UPLOADS = 20  # of each counter
LATENCY = 0.1  # seconds

BUILT = shutil.ignore_patterns("target", "logs", "__pycache__")

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
        share: Requests per second.
    """

    name: str
    egress: str
    agency: str = ""
    share: int = DEFAULT_RATE

    @property
    def connection(self) -> str:
        """ID of the Airflow connection."""
        return f"metrika_{self.agency or self.name}"

    @property
    def token(self) -> str:
        """The token that the connection holds."""
        return f"{SECRET}{self.agency or self.name}"

    def row(self, counters: Sequence[int]) -> dict[str, t.Any]:
        """Return the row."""
        rest = {
            "connection": self.connection,
            "egress": self.egress,
            "schedule": "yearly",
            "requests_per_second": self.share,
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
    """Make a Meltano project for each machine, with the tap and the report of today."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    # From a project, since neither Meltano nor uv takes a path with a space.
    root = os.path.relpath(ROOT, FOLDER / MACHINES[0])
    frozen = {**os.environ, "UV_CONSTRAINT": f"{root}/{FROZEN.relative_to(ROOT)}"}
    text = (ROOT / "meltano.yml").read_text("utf-8")
    definition = yaml.safe_load(text.replace("pip_url: -e .", f"pip_url: -e {root}"))
    for name in MACHINES:
        project = FOLDER / name
        project.mkdir(parents=True)
        (project / "meltano.yml").write_text(yaml.safe_dump(definition), "utf-8")
        shutil.copytree(ROOT / "transform", project / "transform", ignore=BUILT)
        say(f"Installing the tap, the loader and the report on {name}")
        command = [str(TOOLS / "meltano" / "bin" / "meltano"), "--log-level=warning"]
        for plugins, env in ((PLUGINS, frozen), ((REPORT,), None)):
            install = [*command, "install", *plugins]
            subprocess.run(install, cwd=project, check=True, env=env)


@dataclass
class Trial:
    """What is tried with one executor.

    Attributes:
        database: Name of the warehouse, and of all that belongs to this trial.
        table: What was tried, and how it went.
        overheads: Seconds of each load beside its requests.
        machines: Where Airflow and the loads run.
        loads: How many loads there were so far.
        reports: How many reports were begun so far.
    """

    database: str
    executor: str
    logins: Sequence[Login]
    api: Sandbox
    airflow: Airflow
    warehouse: Postgres
    watch: Watch
    ports: Sequence[int]
    table: list[tuple[str, ...]] = field(default_factory=list)
    overheads: list[float] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    loads: int = 0
    reports: int = 0

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
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.warehouse.port),
            "PGUSER": OWNER,
            "PGDATABASE": self.database,
            PATH_VARIABLE: str(self.accounts),
            PROJECT: str(FOLDER / machine),
        }

    @contextlib.contextmanager
    def tried(
        self, what: str, *, exhausted: Collection[str] = (), runs: int = 1
    ) -> Iterator[None]:
        """Note what is tried and how it went.

        Args:
            what: Shown in the table.
            exhausted: The only logins whose requests may be refused with 429.
            runs: Each makes one report, whatever failed.
        """
        say(what)
        self.api.reset()
        began, result, reports = time.monotonic(), "FAILED", self.reports
        loads, cores = self.loads, self._core_seconds()
        try:
            yield
            throttled = {
                (request.login, request.error_type)
                for request in self.api.requests
                if request.is_throttled and request.login not in exhausted
            }
            expect(f"429: {throttled}", holds=not throttled)
            made = self.reports - reports
            expect(f"{made} reports in {runs} runs", holds=made == runs)
            if runs:
                self.expect_reported()
            result = "as expected"
        except (FailedError, TimeoutError) as error:
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
        self.reports += tasks["report"]["try_number"]
        loads = [tasks[name] for name in self.names if name in tasks]
        ended = max(instant(load["end_date"]) for load in loads)
        began = instant(tasks["report"]["start_date"])
        expect("the report waits for all loads", holds=ended <= began)
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

    def expect_reported(self) -> None:
        """Expect that the report was made of what the warehouse holds now."""
        loaded, reported = (
            self.warehouse.rows(
                self.database,
                f"select counter_id, {key} as id, status from {table} order by 1, 2",  # noqa: S608
            )
            for key, table in (
                ("id", "calls_uploadings"),
                ("upload_id", "metrika_calls__uploads"),
            )
        )
        text = f"the report is of {len(reported)} uploads of {len(loaded)}"
        expect(text, holds=reported == loaded)

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
        """Expect that no file, command line or rendered template shows a token."""
        with self.tried("tokens in logs, files, command lines, templates", runs=0):
            shown = [*map(str, files_with_tokens(FOLDER)), *self.watch.shown]
            expect(f"a token in {shown}", holds=not shown)
            rendered = self.airflow.metadata()
            expect("no token was rendered", holds=SECRET.encode() not in rendered)
            seen = min(len(self.watch.taps), len(self.watch.files))
            say(f"Looked at {seen} loads under way")
            expect("loads were looked at", holds=seen >= len(self.names))


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
        with Sandbox(counters=0, host="0.0.0.0") as api, Watch(FOLDER) as watch:  # noqa: S104
            made = Trial(
                database, executor, logins, api, airflow, warehouse, watch, ports
            )
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
