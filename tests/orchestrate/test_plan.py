"""Which DAGs, tasks, pools and queues follow from the file of logins."""

from __future__ import annotations

import json

from orchestrate.accounts import Account, Accounts
from orchestrate.plan import REPORT_POOL, Load, dag_plans, failures, pools


def account(name: str, **changes: object) -> Account:
    values: dict[str, object] = {
        "name": name,
        "is_delegated": False,
        "connection": f"of_{name}",
        "egress": "office",
        "schedule": "hourly",
        **changes,
    }
    return Account(**values)  # type: ignore[arg-type]


def accounts(*rows: Account) -> Accounts:
    return Accounts(
        loader="target-postgres",
        egress={"office": 30, "cloud": 20},
        schedules={"hourly": "@hourly", "nightly": "0 2 * * *"},
        accounts=rows,
    )


def test_a_dag_for_each_schedule_that_is_used() -> None:
    (plan,) = dag_plans(accounts(account("a"), account("b")))
    assert (plan.dag_id, plan.schedule) == ("metrika_calls_hourly", "@hourly")
    both = dag_plans(accounts(account("a"), account("b", schedule="nightly")))
    assert [plan.dag_id for plan in both] == [
        "metrika_calls_hourly",
        "metrika_calls_nightly",
    ]


def test_logins_are_grouped_by_what_a_mapped_task_cannot_vary() -> None:
    (plan,) = dag_plans(
        accounts(
            account("a"),
            account("b", egress="cloud"),
            account("c", requests_per_second=8),
            account("d"),
        )
    )
    groups = {
        group.task_id: (
            group.egress,
            group.slots,
            [row["login"] for row in group.loads],
        )
        for group in plan.groups
    }
    assert groups == {
        "office_7_per_second": ("office", 7, ["a", "d"]),
        "cloud_7_per_second": ("cloud", 7, ["b"]),
        "office_8_per_second": ("office", 8, ["c"]),
    }
    assert not any(group.is_sequential for group in plan.groups)


def test_logins_that_share_a_token_are_one_after_another() -> None:
    (plan,) = dag_plans(
        accounts(
            account("a", connection="agency", is_delegated=True),
            account("b"),
            account("c", connection="agency", requests_per_second=4),
        )
    )
    shared = [group for group in plan.groups if group.is_sequential]
    assert [group.task_id for group in shared] == ["office_4_per_second_agency"]
    assert shared[0].loads == (
        Load(
            login="a",
            connection="agency",
            settings={"REQUESTS_PER_SECOND": "4", "ULOGIN": "a"},
        ),
        Load(login="c", connection="agency", settings={"REQUESTS_PER_SECOND": "4"}),
    )


def test_counters_are_settings_of_the_tap() -> None:
    (plan,) = dag_plans(accounts(account("a", counters=(7, 8))))
    settings = plan.groups[0].loads[0]["settings"]
    assert json.loads(settings["COUNTERS"]) == [{"counter_id": 7}, {"counter_id": 8}]


def test_a_pool_for_each_address() -> None:
    slots = {name: pool["slots"] for name, pool in pools(accounts()).items()}
    assert slots == {"office": 30, "cloud": 20, REPORT_POOL: 1}


def test_failures_are_named_by_login() -> None:
    logins = {"load": ["a", "b", "c"]}
    states: dict[str, str | None] = {
        "prepare": "success",
        "load_0": "success",
        "load_1": "failed",
        "load_2": "skipped",
        "report": "success",
    }
    assert failures(states, logins) == "1 of 3 logins failed: b"
    assert failures({**states, "load_1": "success"}, logins) == ""
    assert failures({**states, "report": "failed"}, logins) == (
        "1 of 3 logins failed: b; tasks failed: report"
    )
    both = {"load_2": "failed", "load_1": "failed"}
    assert failures(both, logins) == "2 of 3 logins failed: b, c"
    lost = {"prepare": "failed", "load": "upstream_failed"}
    assert failures(lost, {"load": []}) == "tasks failed: prepare, load"
