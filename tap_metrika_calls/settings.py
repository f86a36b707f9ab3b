"""What the configuration means: which counters, which uploads of them."""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import json
import re
import typing as t
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from singer_sdk.typing import (
    DEFAULT_JSONSCHEMA_VALIDATOR,
    extend_validator_with_defaults,
)

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema import ValidationError

Schema: t.TypeAlias = dict[str, t.Any]

MAX_INT32 = 2**31 - 1
_Validator = extend_validator_with_defaults(DEFAULT_JSONSCHEMA_VALIDATOR)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one counter.

    Attributes:
        counter_id: The counter.
        whole: Whether every upload of the counter is wanted, incrementally.
        uploading_ids: The uploads wanted in every sync, each once.
    """

    counter_id: int
    whole: bool = True
    uploading_ids: tuple[int, ...] = ()


def with_lists(config: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Read lists that came as JSON text, as Meltano hands variables on."""
    read = dict(config)
    for name in ("counters", "uploading_ids"):
        if isinstance(text := config.get(name), str):
            with contextlib.suppress(ValueError, RecursionError):
                read[name] = json.loads(text)
    return read


def wanted_counters(config: Mapping[str, t.Any]) -> list[Wanted] | None:
    """Tell what is wanted, each counter once, in the order of the configuration.

    Args:
        config: A valid configuration.

    Returns:
        The counters, or None where the configuration names none: every counter
        that the token sees is wanted.
    """
    entries: list[Mapping[str, t.Any]] = list(config.get("counters", ()))
    if "counter_id" in config:
        entries.insert(0, config)
    elif "counters" not in config:
        return None
    whole: dict[int, bool] = {}
    ids: dict[int, dict[int, None]] = {}
    for entry in entries:
        counter_id = entry["counter_id"]
        listed = entry.get("uploading_ids")
        whole[counter_id] = whole.get(counter_id, False) or listed is None
        ids.setdefault(counter_id, {}).update(dict.fromkeys(listed or ()))
    return [Wanted(key, whole[key], tuple(ids[key])) for key in whole]


def parse_time(value: object) -> datetime | None:
    """Read a date-time in ISO 8601, taken as UTC where it names no zone.

    Returns:
        The instant in UTC, or None for what is no date-time.
    """
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            return instant.replace(tzinfo=UTC)
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def errors_of(config: dict[str, t.Any], schema: Schema) -> list[str]:
    """Check a configuration and fill in the defaults.

    Args:
        config: The configuration; defaults are added to it.
        schema: The JSON schema of the settings.

    Returns:
        A line for each error, with the name of the setting and what it takes, and
        never with a value: it might be a secret in the wrong place.
    """
    errors = [line for e in _Validator(schema).iter_errors(config) for line in _told(e)]
    return sorted(set(errors)) or list(_contradictions(config))


def _told(error: ValidationError) -> Iterator[str]:
    where = _dotted(error.absolute_path)
    prefix = f"{where}." if where else ""
    schema = t.cast("Schema", error.schema)
    known: Schema = schema.get("properties", {})
    given = t.cast("Mapping[str, t.Any]", error.instance)
    if error.validator == "required":
        for name in schema["required"]:
            if name not in given:
                yield f"Setting {prefix}{name} is missing: it {_takes(known[name])}."
    elif error.validator == "additionalProperties":
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                listed = ", ".join(known) if prefix else "see --about"
                hint = f"did you mean {close[0]}?" if close else f"{listed}."
                yield f"Setting {prefix}{_printable(name)} is unknown: {hint}"
    else:
        yield f"Setting {where} {_takes(schema)}."


def _takes(schema: Schema) -> str:
    """What a setting takes, in words."""
    kinds = schema.get("type", ())
    if "enum" in schema:
        what = "one of " + ", ".join(v for v in schema["enum"] if v is not None)
    elif schema.get("format") == "date-time":
        what = "a date or a date-time such as 2026-01-31T00:00:00Z"
    elif "integer" in kinds:
        low, high = schema.get("minimum"), schema.get("maximum")
        what = f"an integer from {low} to {high}"
        if high is None or high > MAX_INT32:
            what = "a positive integer"
    elif "array" in kinds:
        inner = schema.get("items", {}).get("type", ())
        what = "a list of " + ("integers" if "integer" in inner else "objects")
    elif "object" in kinds:
        what = "an object"
        if "counter_id" in schema.get("properties", {}):
            what += ' such as {"counter_id": 1, "uploading_ids": [2, 3]}'
    else:
        what = "true or false" if "boolean" in kinds else "a string that is not blank"
    return f"takes {what}"


def _contradictions(config: Mapping[str, t.Any]) -> Iterator[str]:
    """What a JSON schema cannot say."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f]+", config["oauth_token"].strip()):
        yield "Setting oauth_token takes a token without line breaks inside."
    if "uploading_ids" in config and "counter_id" not in config:
        yield "Setting uploading_ids takes effect only with counter_id: set that too."
    if (
        config.get("start_date") is not None
        and parse_time(config["start_date"]) is None
    ):
        yield f"Setting start_date {_takes({'format': 'date-time'})}."
    if config.get("stream_maps") and config.get("batch_config"):
        yield (
            "Setting batch_config takes effect only without stream_maps: the SDK does "
            "not apply them to batches."
        )
    if not _is_safe_url(config["api_url"]):
        yield (
            "Setting api_url takes an address such as https://api-metrika.yandex.net, "
            "with plain http:// only on a loopback address."
        )


def _is_safe_url(url: str) -> bool:
    """Whether the token may be sent to this address."""
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[\w./~-]*)?", url, re.ASCII):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname:
        return False
    return parts.scheme == "https" or _is_loopback(parts.hostname)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _dotted(path: Iterable[str | int]) -> str:
    """A path into the configuration: `counters[0].uploading_ids[2]`."""
    steps = (f"[{s}]" if isinstance(s, int) else f".{_printable(s)}" for s in path)
    return "".join(steps).removeprefix(".")


def _printable(name: str) -> str:
    """A name given by the user, made fit for one line of a log."""
    return ascii(name)[1:-1][:80] if not name.isprintable() else name[:80]
