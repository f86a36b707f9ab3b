"""The DAGs: one for each schedule in the file of logins, one mapped task per login.

The checkout is the DAG bundle; its .airflowignore leaves only this file.
"""
# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from __future__ import annotations

import os
import typing as t
from datetime import UTC, datetime, timedelta

from airflow.sdk import (
    DAG,
    BaseOperator,
    Connection,
    TriggerRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from orchestrate.accounts import accounts_path, read_accounts
from orchestrate.meltano import (
    FinalRunError,
    Run,
    RunError,
    environment,
    load_command,
    remove_left_files,
    report_settings,
)
from orchestrate.plan import REPORT_POOL, dag_plans, failures

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import XComArg
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from orchestrate.plan import DagPlan, Group, Load

ACCOUNTS = read_accounts(accounts_path())
PLANS = dag_plans(ACCOUNTS)
PLANNED = {
    (plan.dag_id, load["login"])
    for plan in PLANS
    for group in plan.groups
    for load in group.loads
}

RETRIES = 2  # for a worker or a database that went away; the tap itself retries the API
LONGEST_RUN = timedelta(hours=3)  # a day's quota, at one request per second, is 84 min


class Meltano(BaseOperator):
    """Runs a command of Meltano in the project of the worker."""

    def __init__(
        self,
        *,
        command: Sequence[str],
        defaults: dict[str, str] | None = None,
        **kwargs: t.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.defaults = defaults or {}
        self.process = Run(self.log.info)

    def execute(self, context: object) -> None:  # noqa: ARG002
        """Run the command."""
        self.meltano(self.command, {})

    def on_kill(self) -> None:
        """End the command with its task."""
        self.process.stop()

    def meltano(self, command: Sequence[str], settings: dict[str, str]) -> None:
        """Run a command with settings of the tap.

        Raises:
            AirflowFailException: If another attempt now would fail in the same way.
            AirflowException: If it failed otherwise.
        """
        try:
            given = environment(os.environ, settings)
            self.process.run(command, {**self.defaults, **given})
        except FinalRunError as error:
            raise AirflowFailException(error) from None
        except RunError as error:
            raise AirflowException(error) from None


class Prepare(Meltano):
    """Brings Meltano's database up to date, and settles what this run loads.

    The first command after an upgrade migrates the database; several at once would be
    in each other's way. The logins of a run stay those it began with, whatever happens
    to the file: tasks that are mapped over the file itself would be numbered anew, and
    new ones would join a run under way, so that a login could be loaded twice at once.
    """

    def __init__(self, *, planned: dict[str, list[Load]], **kwargs: t.Any) -> None:
        super().__init__(command=("meltano", "state", "list"), **kwargs)
        self.planned = planned

    def execute(  # type: ignore[override]
        self,
        context: object,  # noqa: ARG002
    ) -> dict[str, list[Load]]:
        """Return the logins of each mapped task."""
        self.meltano(self.command, {})
        return self.planned


class LoadLogin(Meltano):
    """Loads the uploads of one login.

    The token is read from Airflow's connection here, and goes to Meltano through the
    environment of its process: it is in no argument, template, XCom or log.
    """

    def __init__(
        self,
        *,
        login: str,
        connection: str,
        settings: dict[str, str],
        loader: str,
        **kwargs: t.Any,
    ) -> None:
        super().__init__(command=load_command(login, loader), **kwargs)
        self.login = login
        self.connection = connection
        self.settings = settings

    def execute(self, context: object) -> None:  # noqa: ARG002
        """Run the load.

        Raises:
            AirflowSkipException: If the login left this schedule after the run began.
        """
        if (self.dag_id, self.login) not in PLANNED:
            message = f"{self.login} was taken from this schedule"
            raise AirflowSkipException(message)
        os.umask(0o077)  # Meltano writes the token into a file, until the load ends
        remove_left_files(self.login)
        self.meltano(self.command, {**self.settings, "OAUTH_TOKEN": self.token()})

    def token(self) -> str:
        """Return the token.

        Raises:
            AirflowFailException: If there is none.
        """
        try:
            token: str | None = Connection.get(self.connection).password
        except AirflowNotFoundException:
            token = None
        if not token:
            message = f"Airflow has no connection {self.connection} with a password"
            raise AirflowFailException(message)
        return token


def build(plan: DagPlan) -> None:
    """Make the DAG of one schedule."""
    # Some tasks need the project, but no address of their own.
    queue = plan.groups[0].egress
    with DAG(
        plan.dag_id,
        schedule=plan.schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,  # so that a login is never loaded twice at once
        max_active_tasks=sum(ACCOUNTS.egress.values()),  # the pools are the limits
        default_args={
            "execution_timeout": LONGEST_RUN,
            "queue": queue,
            "retries": RETRIES,
        },
        tags=["metrika"],
    ):
        prepare = Prepare(
            task_id="prepare",
            planned={group.task_id: list(group.loads) for group in plan.groups},
        )
        report = Meltano(
            task_id="report",
            command=("meltano", "run", "report"),
            defaults=report_settings(ACCOUNTS.loader),
            pool=REPORT_POOL,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        for group in plan.groups:
            load(group, prepare.output) >> report
        report >> outcome(plan)


def load(group: Group, planned: XComArg) -> MappedOperator:
    """Make the mapped task of one group."""

    @task(task_id=f"logins_{group.task_id}")
    def logins(planned: dict[str, list[Load]]) -> list[Load]:
        return planned.get(group.task_id, [])

    return LoadLogin.partial(
        task_id=group.task_id,
        pool=group.egress,
        pool_slots=group.slots,
        queue=group.egress,
        loader=ACCOUNTS.loader,
        max_active_tis_per_dag=1 if group.is_sequential else None,
        map_index_template="{{ task.login }}",
    ).expand_kwargs(logins(planned))


def outcome(plan: DagPlan) -> XComArg:
    """Make the last task: it names what failed, and so decides how the run ended."""
    groups = [group.task_id for group in plan.groups]
    others = ["prepare", *(f"logins_{group}" for group in groups), "report"]

    @task(task_id="outcome", trigger_rule=TriggerRule.ALL_DONE)
    def tell() -> str:
        context = get_current_context()
        instance, run_id = context["ti"], context["run_id"]
        states = instance.get_task_states(
            dag_id=plan.dag_id, run_ids=[run_id], task_ids=[*others, *groups]
        )
        planned: dict[str, list[Load]] = instance.xcom_pull(task_ids="prepare") or {}
        logins = {
            group: [row["login"] for row in planned.get(group, ())] for group in groups
        }
        failed = failures(states[run_id], logins)
        if failed:
            raise AirflowFailException(failed)
        return f"Logins loaded: {sum(map(len, logins.values()))}"

    return tell()


for dag_plan in PLANS:
    build(dag_plan)
