"""The file of logins: read, and checked with one line for each mistake."""

from __future__ import annotations

import difflib
import json
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

FOLDER = Path(__file__).parent
SCHEMA: dict[str, t.Any] = json.loads(
    (FOLDER / "accounts.schema.json").read_text("utf-8")
)
PATH_VARIABLE = "METRIKA_CALLS_ACCOUNTS"
LOGIN_SCHEMA = SCHEMA["$defs"]["login"]
DEFAULT_LOADER: str = SCHEMA["properties"]["loader"]["default"]
DEFAULT_RATE: int = LOGIN_SCHEMA["properties"]["requests_per_second"]["default"]

# Parsed once for every task: the C loader takes a tenth of the time.
if t.TYPE_CHECKING:
    FastLoader = yaml.SafeLoader
else:
    FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class AccountsError(Exception):
    """The file cannot be used; each line of the text is one mistake."""


class TwiceError(yaml.MarkedYAMLError):
    """A key is there twice: YAML would take the last one without a word."""


class Loader(FastLoader):
    """Reads YAML in which no key is there twice."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 (as PyYAML has it)
    ) -> dict[t.Hashable, t.Any]:
        """Read a mapping.

        Raises:
            TwiceError: If a key is there twice.
        """
        seen: list[object] = []
        for key, _ in node.value:
            if key.value in seen:
                raise TwiceError(problem=key.value, problem_mark=key.start_mark)
            seen.append(key.value)
        mapping: dict[t.Hashable, t.Any] = super().construct_mapping(node, deep)
        return mapping


@dataclass(frozen=True)
class Account:
    """One login to load.

    Attributes:
        name: Login of the account whose counters are read.
        is_delegated: Whether the token belongs to another account.
        connection: ID of the Airflow connection that holds the token.
        egress: Name of the IP address that its requests come from.
        schedule: Name of its schedule.
        counters: IDs of the counters, or none for all that the token has access to.
        requests_per_second: Its share of what the address may send.
    """

    name: str
    is_delegated: bool
    connection: str
    egress: str
    schedule: str
    counters: tuple[int, ...] = ()
    requests_per_second: int = DEFAULT_RATE


@dataclass(frozen=True)
class Accounts:
    """What the file says."""

    loader: str
    egress: dict[str, int]
    schedules: dict[str, str]
    accounts: tuple[Account, ...]


def accounts_path() -> Path:
    """Return where the file of logins is."""
    return Path(os.environ.get(PATH_VARIABLE) or FOLDER / "accounts.yml")


def read_accounts(path: Path) -> Accounts:
    """Read and check the file of logins.

    Raises:
        AccountsError: If it cannot be used.
    """
    try:
        document = yaml.load(path.read_bytes(), Loader)  # noqa: S506 (is a safe one)
    except OSError as error:
        hint = f"copy accounts.example.yml, or set {PATH_VARIABLE}"
        message = f"{path}: cannot be read ({error.strerror}): {hint}"
        raise AccountsError(message) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark else "the file"
        text = "not valid YAML"
        if isinstance(error, TwiceError):
            text = f"the key {error.problem} is there twice"
        message = f"{path.name}: {place}: {text}"
        raise AccountsError(message) from None
    problems = list(_schema_problems(document)) or list(_relation_problems(document))
    if problems:
        raise AccountsError("\n".join(f"{path.name}: {line}" for line in problems))
    return Accounts(
        loader=document.get("loader", DEFAULT_LOADER),
        egress=document["egress"],
        schedules=document["schedules"],
        accounts=tuple(_account(row, document["egress"]) for row in document["logins"]),
    )


def _account(row: dict[str, t.Any], egress: dict[str, int]) -> Account:
    return Account(
        name=row.get("ulogin") or row["login"],
        is_delegated="ulogin" in row,
        connection=row["connection"],
        egress=row["egress"],
        schedule=row["schedule"],
        counters=tuple(row.get("counters", ())),
        requests_per_second=row.get(
            "requests_per_second", min(DEFAULT_RATE, egress[row["egress"]])
        ),
    )


def _schema_problems(document: object) -> Iterator[str]:
    """Yield what the schema objects to, without any value of the file.

    A token may stand where it does not belong, and these lines are logged.
    """
    errors = Draft202012Validator(SCHEMA).iter_errors(document)
    for error in sorted(errors, key=lambda error: list(map(str, error.absolute_path))):
        for text in _problems(error):
            yield ": ".join((*_place(document, error), text))


def _problems(error: ValidationError) -> Iterator[str]:
    schema = t.cast("dict[str, t.Any]", error.schema)
    if error.validator == "required":
        # Each missing key is an error of its own that names it only in its text.
        keys = [
            key for key in schema["required"] if error.message.startswith(f"'{key}'")
        ]
        for key in keys:
            expected = schema["properties"][key]["description"]
            yield f"{key} is missing: expected {expected}"
    elif error.validator == "additionalProperties":
        known = schema["properties"]
        given = t.cast("dict[str, object]", error.instance)
        for key in sorted(map(str, set(given) - set(known))):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            yield f"unknown key {key}{hint}"
    else:
        yield f"expected {schema['description']}"


def _place(document: object, error: ValidationError) -> list[str]:
    match list(error.absolute_path):
        case ["logins", int(index), *rest]:
            rows = t.cast("dict[str, list[object]]", document)["logins"]
            return [_row(index, rows[index]), *map(str, rest[:1])]
        case path:
            return [".".join(map(str, path))] if path else []


def _row(index: int, row: object) -> str:
    name = (row.get("ulogin") or row.get("login")) if isinstance(row, dict) else None
    return f"login {index + 1}" + (f" ({name})" if isinstance(name, str) else "")


def _relation_problems(document: dict[str, t.Any]) -> Iterator[str]:
    """Yield what is wrong between the parts of a file that fits the schema."""
    egress, schedules = document["egress"], document["schedules"]
    first: dict[str, int] = {}
    shared: dict[str, dict[str, t.Any]] = {}
    for index, row in enumerate(document["logins"]):
        place = _row(index, row)
        if ("login" in row) == ("ulogin" in row):
            yield f"{place}: expected either login or ulogin"
            continue
        # Yandex takes upper and lower case, and a dot and a hyphen, for the same.
        account = (row.get("ulogin") or row["login"]).casefold().replace(".", "-")
        if first.setdefault(account, index) != index:
            yield f"{place}: is already login {first[account] + 1}"
        for key, names in (("egress", egress), ("schedule", schedules)):
            if row[key] not in names:
                yield f"{place}: {key}: expected one of {', '.join(names)}"
        if row.get("requests_per_second", 1) > egress.get(row["egress"], 30):
            yield f"{place}: requests_per_second: expected no more than its egress has"
        other = shared.setdefault(row["connection"], row)
        for key in ("egress", "schedule"):
            if row[key] != other[key]:
                known = other.get("ulogin") or other["login"]
                yield f"{place}: {key}: expected that of {known}, which has its token"
