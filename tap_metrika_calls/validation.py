"""How wrong settings are reported: one line each, and never with a value."""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t
from urllib.parse import urlsplit

from singer_sdk.typing import (
    DEFAULT_JSONSCHEMA_VALIDATOR,
    extend_validator_with_defaults,
)

from tap_metrika_calls.output.lines import printable
from tap_metrika_calls.settings import SETTINGS
from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema import ValidationError

    from tap_metrika_calls.settings import Config, Schema

INVALID = "is invalid: see https://sdk.meltano.com."
RENAMED = {"on_missing": "on_unavailable", "unsettled_days": "in_flight_days"}
# What no token has (RFC 6750), by what it looks like.
TOKEN_FAULTS = (
    (r"^['\"]|['\"]$", "quotation marks"),
    (r"(?i)^(oauth|bearer)\s", "a word before the token"),
    (r"\s", "white space"),
    (r"[\x00-\x1f\x7f]", "a control character"),
    (r"[^\x00-\x7f]", "a character that is not ASCII, perhaps an invisible one"),
    (r"[^A-Za-z0-9._~+/=-]", "a punctuation character"),
)
_Validator = extend_validator_with_defaults(DEFAULT_JSONSCHEMA_VALIDATOR)


def validate_config(config: Config, schema: Schema) -> list[str]:
    """Check a normalized configuration and fill in the defaults.

    Args:
        config: The configuration; defaults are added to it.
        schema: The JSON schema of all settings.

    Returns:
        A line for each error, never with a value: it might be a misplaced secret.
    """
    try:
        found = list(_Validator(schema).iter_errors(config))
    except AttributeError:  # part of the SDK's schema of stream maps is no schema
        return [f"Setting 'stream_maps' {INVALID}"]
    lines = {line for error in found for line in _describe(error)}
    return sorted(lines.union(_describe_contradictions(config)))


def hint(name: str, known: Iterable[str]) -> str:
    """Return what an unknown name may have been meant for."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = RENAMED.get(name) or (close and close[0])
    return f"did you mean '{meant}'?" if meant else f"use {', '.join(known)}."


def _describe(error: ValidationError) -> Iterator[str]:
    path = [f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path]
    where = printable("".join(path).removeprefix("."))
    prefix = f"{where}." if where else ""
    schema = t.cast("Schema", error.schema)
    instance = t.cast("Mapping[str, t.Any]", error.instance)
    if error.validator == "required":
        for name in schema["required"]:
            if name not in instance:
                yield f"Setting '{prefix}{name}' is required."
    elif error.validator == "additionalProperties" and "properties" in schema:
        known = schema["properties"]
        for name in instance.keys() - known.keys():
            yield f"Setting '{prefix}{printable(name)}' is unknown: {hint(name, known)}"
    elif "x-expected" in schema:
        yield f"Setting '{where}': expected {schema['x-expected']}."
    else:  # one of the SDK's own
        yield f"Setting '{where}' {INVALID}"


def _describe_contradictions(config: Config) -> Iterator[str]:
    """Say what a JSON schema cannot, or not in words that help."""
    for name, is_valid in (("start_date", parse_time), ("api_url", _is_safe_url)):
        value = config.get(name)
        if isinstance(value, str) and not is_valid(value):
            expected = SETTINGS["properties"][name]["x-expected"]
            yield f"Setting '{name}': expected {expected}."
    if isinstance(token := config.get("oauth_token"), str):
        faults = [text for pattern, text in TOKEN_FAULTS if re.search(pattern, token)]
        faults = faults or ([] if token else ["nothing"])
        if faults:
            yield f"Setting 'oauth_token': expected a token alone, found {faults[0]}."
    if isinstance(config.get("uploading_ids"), list) and "counter_id" not in config:
        yield "Setting 'uploading_ids' requires 'counter_id'."
    for name in ("stream_maps", "emit_activate_version_messages"):
        if config.get(name) and config.get("batch_config"):
            yield f"Setting 'batch_config' cannot be combined with '{name}'."


def _is_safe_url(url: str) -> bool:
    """Return whether the token may be sent to an address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # refuses labels that are empty or too long
        if host.strip(".") != host or not host:
            return False
        if parts.scheme == "https" or host == "localhost":
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
