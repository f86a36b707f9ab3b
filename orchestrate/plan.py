"""The plan: which DAGs, tasks, pools and queues follow from the file of logins.

Plain data, without Airflow, so that it can be tested and shown without it.
"""

from __future__ import annotations

import json
import typing as t
from collections import defaultdict
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrate.accounts import Account, Accounts

REPORT_POOL = "metrika_report"
WELL = ("success", "skipped")


class Load(t.TypedDict):
    """One mapped task: what Airflow hands from the first task of a run to this one."""

    login: str
    connection: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Group:
    """Logins that one mapped task loads.

    Airflow knows the pool, its slots and the queue of a mapped task only for all of its
    instances together, so logins that differ in these are in different groups.

    Attributes:
        task_id: Name of the mapped task.
        egress: Name of the IP address, which is the pool and the queue.
        slots: Requests per second of each login, as slots of the pool.
        is_sequential: Whether the logins share a token, so that it is unknown whose
            quota their requests count against.
        loads: Its logins.
    """

    task_id: str
    egress: str
    slots: int
    is_sequential: bool
    loads: tuple[Load, ...]


@dataclass(frozen=True)
class DagPlan:
    """The logins of one schedule."""

    dag_id: str
    schedule: str
    groups: tuple[Group, ...]


def dag_plans(accounts: Accounts) -> tuple[DagPlan, ...]:
    """Return a DAG for each schedule that a login has."""
    by_schedule: dict[str, list[Account]] = defaultdict(list)
    for account in accounts.accounts:
        by_schedule[account.schedule].append(account)
    return tuple(
        DagPlan(f"metrika_calls_{name}", accounts.schedules[name], _groups(rows))
        for name, rows in by_schedule.items()
    )


def pools(accounts: Accounts) -> dict[str, dict[str, t.Any]]:
    """Return the pools in the form that `airflow pools import` reads."""
    limits = {
        name: (slots, "Requests per second of one IP address")
        for name, slots in accounts.egress.items()
    }
    limits[REPORT_POOL] = (1, "One report at a time")
    return {
        name: {"slots": slots, "description": text, "include_deferred": False}
        for name, (slots, text) in limits.items()
    }


def failures(
    states: Mapping[str, str | None], logins: Mapping[str, Sequence[str]]
) -> str:
    """Name what failed in a run.

    Args:
        states: State of each task, mapped ones as `<task>_<index>`.
        logins: Logins of each mapped task, by index.

    Returns:
        One line, with the logins in their order, or nothing if all went well. A login
        that was removed is skipped.
    """
    names = {
        f"{task_id}_{index}": login
        for task_id, mapped in logins.items()
        for index, login in enumerate(mapped)
    }
    failed = {task: state for task, state in states.items() if state not in WELL}
    if not failed:
        return ""
    tasks = [task for task in failed if task not in names]
    lost = [login for task, login in names.items() if task in failed]
    parts = []
    if lost:
        parts.append(f"{len(lost)} of {len(names)} logins failed: {', '.join(lost)}")
    if tasks:
        parts.append(f"tasks failed: {', '.join(tasks)}")
    return "; ".join(parts)


def _groups(accounts: Iterable[Account]) -> tuple[Group, ...]:
    by_connection: dict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        by_connection[account.connection].append(account)
    grouped: dict[tuple[str, int, str], list[Account]] = defaultdict(list)
    for connection, rows in by_connection.items():
        # The slots are those of the task, so of all logins that share the token.
        rate = min(account.requests_per_second for account in rows)
        shared = connection if len(rows) > 1 else ""
        grouped[rows[0].egress, rate, shared] += rows
    return tuple(
        Group(
            task_id="_".join(filter(None, (egress, f"{rate}_per_second", shared))),
            egress=egress,
            slots=rate,
            is_sequential=bool(shared),
            loads=tuple(_load(account, rate) for account in rows),
        )
        for (egress, rate, shared), rows in grouped.items()
    )


def _load(account: Account, rate: int) -> Load:
    settings = {"REQUESTS_PER_SECOND": str(rate)}
    if account.is_delegated:
        settings["ULOGIN"] = account.name
    if account.counters:
        counters = [{"counter_id": counter_id} for counter_id in account.counters]
        settings["COUNTERS"] = json.dumps(counters)
    return Load(login=account.name, connection=account.connection, settings=settings)
