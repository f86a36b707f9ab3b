"""The file of logins: what it may say, and what is said about mistakes."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from orchestrate.accounts import (
    DEFAULT_RATE,
    FOLDER,
    SCHEMA,
    AccountsError,
    read_accounts,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Edit: t.TypeAlias = Callable[[dict[str, t.Any]], object]

EXAMPLE = FOLDER / "accounts.example.yml"
VALID: dict[str, t.Any] = {
    "egress": {"office": 20, "cloud": 30},
    "schedules": {"hourly": "@hourly", "nightly": "0 2 * * *"},
    "logins": [
        {
            "login": "shop",
            "connection": "metrika_shop",
            "egress": "office",
            "schedule": "hourly",
        },
        {
            "ulogin": "client",
            "connection": "metrika_agency",
            "egress": "cloud",
            "schedule": "nightly",
        },
    ],
}


def problems(tmp_path: Path, edit: Edit) -> list[str]:
    document = copy.deepcopy(VALID)
    edit(document)
    path = tmp_path / "accounts.yml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(AccountsError) as caught:
        read_accounts(path)
    return str(caught.value).splitlines()


def row(**changes: object) -> Edit:
    return lambda document: document["logins"][0].update(changes)


def without(key: str) -> Edit:
    return lambda document: document["logins"][0].pop(key)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            row(conection="x"),
            "login 1 (shop): unknown key conection, did you mean connection?",
        ),
        (row(zzz="secret"), "login 1 (shop): unknown key zzz"),
        (
            without("egress"),
            "login 1 (shop): egress is missing: expected a name listed under egress",
        ),
        (without("login"), "login 1: expected either login or ulogin"),
        (row(ulogin="other"), "login 1 (other): expected either login or ulogin"),
        (
            row(egress="moon"),
            "login 1 (shop): egress: expected one of cloud, office",
        ),
        (
            row(schedule="weekly"),
            "login 1 (shop): schedule: expected one of hourly, nightly",
        ),
        (
            row(requests_per_second=0),
            "login 1 (shop): requests_per_second: expected a whole number from 1 to 30",
        ),
        (
            row(requests_per_second=21),
            "login 1 (shop): requests_per_second: expected no more than its egress has",
        ),
        (
            row(counters=[]),
            (
                "login 1 (shop): counters: expected a list of counter IDs; without it, "
                "every counter that the token has access to"
            ),
        ),
        (
            row(counters=[7, "8"]),
            "login 1 (shop): counters: expected a list of counter IDs",
        ),
        (
            row(login="--force"),
            (
                "login 1 (--force): login: expected the name of an account: letters, "
                "digits, and . @ _ -"
            ),
        ),
        (row(login="CLIENT"), "login 2 (client): is already login 1"),
        (
            lambda document: document["logins"][0].update(connection="metrika_agency"),
            "login 2 (client): egress: expected that of shop, which has its token",
        ),
        (
            lambda document: document.pop("egress"),
            (
                "egress is missing: expected a name for each IP address that requests "
                "come from, with its requests per second"
            ),
        ),
        (
            lambda document: document["egress"].update(office=31),
            (
                "egress.office: expected a whole number of requests per second from 1 "
                "to 30"
            ),
        ),
        (
            lambda document: document["schedules"].update(hourly="every hour"),
            (
                "schedules.hourly: expected @hourly, @daily, @weekly or five cron "
                "fields, in UTC"
            ),
        ),
        (
            lambda document: document["egress"].update({"a b": 1}),
            "egress: expected names of letters, digits, - and _",
        ),
        (
            lambda document: document.update(logins={}),
            "logins: expected a list of logins",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, edit: Edit, expected: str) -> None:
    assert f"accounts.yml: {expected}" in problems(tmp_path, edit)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    def edit(document: dict[str, t.Any]) -> None:
        del document["logins"][0]["egress"], document["logins"][0]["schedule"]
        document["logins"][1]["tokn"] = 1

    assert len(problems(tmp_path, edit)) == 3


def test_a_token_in_the_wrong_place_is_not_shown(tmp_path: Path) -> None:
    lines = problems(tmp_path, row(connection="y0_AgSECRET", token="y0_AgSECRET"))
    assert len(lines) == 2
    assert "SECRET" not in "".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("egress: [", "accounts.yml: line 2: not valid YAML"),
        ("{[1]: 2}", "accounts.yml: line 1: not valid YAML"),
        ("a: 1\na: 2", "accounts.yml: line 2: the key a is there twice"),
        ("- 1", "accounts.yml: expected egress, schedules and logins"),
        ("", "accounts.yml: expected egress, schedules and logins"),
    ],
)
def test_a_file_that_is_something_else(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = tmp_path / "accounts.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(AccountsError) as caught:
        read_accounts(path)
    assert str(caught.value) == expected


def test_a_login_takes_no_more_than_a_small_address_has(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yml"
    path.write_text(
        yaml.safe_dump({**VALID, "egress": {"office": 3, "cloud": 30}}), "utf-8"
    )
    rates = [account.requests_per_second for account in read_accounts(path).accounts]
    assert rates == [3, DEFAULT_RATE]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AccountsError, match=r"cannot be read .*: copy accounts"):
        read_accounts(tmp_path / "accounts.yml")


def test_the_example_is_valid() -> None:
    accounts = read_accounts(EXAMPLE)
    assert [account.name for account in accounts.accounts] == [
        "shop",
        "bakery",
        "client-one",
        "client-two",
    ]
    known = SCHEMA["$defs"]["login"]["properties"].keys()
    text = EXAMPLE.read_text("utf-8")
    assert [key for key in known if f"{key}:" not in text] == []
