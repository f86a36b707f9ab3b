"""The settings: declared in `settings.json`, read and checked here."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import typing as t
from importlib.resources import files

from dotenv import find_dotenv, load_dotenv
from singer_sdk import typing as sdk
from singer_sdk.exceptions import ConfigValidationError

from tap_metrika_calls.output.lines import printable
from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema import ValidationError

Config: t.TypeAlias = dict[str, t.Any]
Schema: t.TypeAlias = dict[str, t.Any]

PREFIX = "TAP_METRIKA_CALLS_"
SETTINGS: Schema = json.loads((files(__package__) / "settings.json").read_bytes())
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
    (r"^$", "nothing"),
)
BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off", ""), False
)
_Validator = sdk.extend_validator_with_defaults(sdk.DEFAULT_JSONSCHEMA_VALIDATOR)


def config_from_environment(schema: Schema) -> tuple[Config, list[str]]:
    """Return the settings in the environment, and in a `.env` file.

    Returns:
        The settings, and the variables with the prefix that are none: Kubernetes sets
        such variables for a service with the tap's name.
    """
    try:
        load_dotenv(find_dotenv(usecwd=True))
    except (OSError, ValueError) as error:
        line = f"The file .env cannot be read: {type(error).__name__}."
        raise ConfigValidationError(line, errors=[line]) from None
    config: Config = {}
    unknown = []
    for variable, text in os.environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == "loglevel" or name[:1] == "_":
            continue
        if name in schema["properties"]:
            config[name] = _parse_text(text, schema["properties"][name]["type"])
        else:
            unknown.append(variable)
    return config, unknown


def normalize_config(config: Mapping[str, t.Any]) -> Config:
    """Return a configuration without nulls and surrounding white space.

    Lists may come as JSON text, and the IDs in them as strings of digits: this is how
    Meltano passes variables on.
    """
    normal = {k: _normalize(v) for k, v in config.items() if v is not None}
    for name, value in normal.items():
        if isinstance(value, str) and name in {"oauth_token", "ulogin", "api_url"}:
            normal[name] = value.strip()
        if isinstance(value, str) and name in {"counters", "uploading_ids"}:
            normal[name] = _normalize(_parse_text(value, ["array"]))
    return normal


def validate_config(config: Config, schema: Schema) -> list[str]:
    """Check a normalized configuration, and fill in the defaults.

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
    meant = difflib.get_close_matches(name, known, n=1)
    meant = [RENAMED[name]] if name in RENAMED else meant
    return f"did you mean '{meant[0]}'?" if meant else f"use {', '.join(known)}."


def _parse_text(text: str, kinds: str | list[str]) -> t.Any:  # noqa: ANN401
    """Return what a text means; the text where it does not fit the setting."""
    with contextlib.suppress(ValueError, RecursionError):
        if "integer" in kinds and re.fullmatch(r"\s*-?[0-9]+\s*", text):
            return int(text)
        if "boolean" in kinds:
            return BOOLEANS.get(text.strip().lower(), text)
        if "object" in kinds or "array" in kinds:
            return json.loads(text)
    return text


def _normalize(value: t.Any, *, is_in_list: bool = False) -> t.Any:  # noqa: ANN401
    if isinstance(value, float) and value.is_integer():  # an integer in JSON
        return int(value)
    if is_in_list and isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        return int(value)
    if isinstance(value, list):
        return [_normalize(item, is_in_list=True) for item in value]
    if is_in_list and isinstance(value, dict):
        return {k: _normalize(v, is_in_list=True) for k, v in value.items()}
    return value


def _describe(error: ValidationError) -> Iterator[str]:
    path = [f"[{s}]" if isinstance(s, int) else f".{s}" for s in error.absolute_path]
    where = printable("".join(path).removeprefix("."))
    prefix = f"{where}." if where else ""
    schema = t.cast("Schema", error.schema)
    instance: t.Any = error.instance
    if error.validator == "required":
        for name in set(schema["required"]) - set(instance):
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
    start = config.get("start_date")
    if isinstance(start, str) and parse_time(start) is None:
        expected = SETTINGS["properties"]["start_date"]["x-expected"]
        yield f"Setting 'start_date': expected {expected}."
    if isinstance(token := config.get("oauth_token"), str):
        faults = [text for pattern, text in TOKEN_FAULTS if re.search(pattern, token)]
        if faults:
            yield f"Setting 'oauth_token': expected a token alone, found {faults[0]}."
    if isinstance(config.get("uploading_ids"), list) and "counter_id" not in config:
        yield "Setting 'uploading_ids' requires 'counter_id'."
    batches = config.get("batch_config")
    size = batches.get("batch_size") if isinstance(batches, dict) else None
    if isinstance(size, int) and size < 1:
        yield "Setting 'batch_config.batch_size': expected a positive integer."
    for name in ("stream_maps", "emit_activate_version_messages"):
        if config.get(name) and batches:
            yield f"Setting 'batch_config' cannot be combined with '{name}'."
