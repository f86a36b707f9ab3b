"""The settings: declared in `settings.json`, read and checked here."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import typing as t
from importlib.resources import files

import click
from dotenv import find_dotenv, load_dotenv
from singer_sdk import typing as sdk
from singer_sdk.exceptions import ConfigValidationError

from tap_metrika_calls.output.lines import printable
from tap_metrika_calls.timestamps import parse_time

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping

    from jsonschema import ValidationError

JSON: t.TypeAlias = dict[str, t.Any]

PREFIX = "TAP_METRIKA_CALLS_"
SETTINGS: JSON = json.loads((files(__package__) / "settings.json").read_bytes())
INVALID = "Setting '{}' is invalid: {}"
SDK_HELP = "see https://sdk.meltano.com."
RENAMED = {"on_missing": "on_unavailable", "unsettled_days": "in_flight_days"}
_Validator = sdk.extend_validator_with_defaults(sdk.DEFAULT_JSONSCHEMA_VALIDATOR)
# A JSON schema takes 7.0 for an integer; in an address of the API it is none.
_Validator.TYPE_CHECKER = _Validator.TYPE_CHECKER.redefine(
    "integer", lambda _, value: type(value) is int
)


def read_environment(schema: JSON, logger: logging.Logger) -> JSON:
    """Return the settings in the environment, and in a `.env` file.

    A variable that is none is only a warning: Kubernetes sets such variables for a
    service with the tap's name.
    """
    try:
        load_dotenv(find_dotenv(usecwd=True))
    except (OSError, ValueError) as error:
        line = f"The file .env cannot be read: {type(error).__name__}."
        raise ConfigValidationError(line, errors=[line]) from None
    known, config = schema["properties"], {}
    for variable, text in os.environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == "loglevel" or name[:1] == "_":
            continue
        if name in known:
            config[name] = _parse(text, known[name]["type"])
        else:
            hint = _hint(name, known)
            logger.warning("Unknown variable %s: %s", printable(variable), hint)
    return config


def normalize_config(config: Mapping[str, t.Any]) -> JSON:
    """Return a configuration without nulls and surrounding white space.

    Lists may come as JSON text, and the IDs in them as strings of digits: this is how
    Meltano passes variables on.
    """
    normal = {k: v for k, v in config.items() if v is not None}
    for name in normal.keys() & {"oauth_token", "ulogin", "api_url"}:
        if isinstance(normal[name], str):
            normal[name] = normal[name].strip()
    for name in normal.keys() & {"counters", "uploading_ids"}:
        normal[name] = _with_numbers(_parse(normal[name], ["array"]))
    return normal


def validate_config(config: JSON, schema: JSON) -> list[str]:
    """Check a normalized configuration, and fill in the defaults.

    Returns:
        A line for each error, never with a value: it might be a misplaced secret.
    """
    lines = set()
    try:
        for error in _Validator(schema).iter_errors(config):
            lines |= {line.replace("$.", "", 1) for line in _describe(error)}
    except AttributeError:  # part of the SDK's schema of stream maps is no schema
        lines.add(INVALID.format("stream_maps", SDK_HELP))
    start = config.get("start_date")
    if isinstance(start, str) and parse_time(start) is None:
        expected = SETTINGS["properties"]["start_date"]["x-expected"]
        lines.add(f"Setting 'start_date': expected {expected}.")
    return sorted(lines)


def _hint(name: str, known: Iterable[str]) -> str:
    """Return what an unknown name may have been meant for."""
    meant = difflib.get_close_matches(RENAMED.get(name, name), known, n=1)
    return f"did you mean '{meant[0]}'?" if meant else f"use {', '.join(known)}."


def _parse(text: t.Any, kinds: str | list[str]) -> t.Any:  # noqa: ANN401
    """Return what a text means; what was given where it does not fit the setting."""
    with contextlib.suppress(click.BadParameter, RecursionError, TypeError, ValueError):
        if "boolean" in kinds:
            return click.BOOL(text)
        if "string" not in kinds:
            value = json.loads(text)
            return text if value is None else value
    return text


def _with_numbers(value: t.Any) -> t.Any:  # noqa: ANN401
    """Return a value in which strings of digits are numbers."""
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_numbers(item) for name, item in value.items()}
    is_number = isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value)
    return int(value) if is_number else value


def _describe(error: ValidationError) -> list[str]:
    schema = t.cast("JSON", error.schema)
    instance: t.Any = error.instance
    path = printable(error.json_path)  # such as $.counters[0].counter_id
    if "x-error" in schema:
        return [schema["x-error"]]
    if error.validator == "required":
        names = set(schema["required"]) - set(instance)
        return [f"Setting '{path}.{name}' is required." for name in names]
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        return [
            f"Setting '{path}.{printable(name)}' is unknown: {_hint(name, known)}"
            for name in instance.keys() - known.keys()
        ]
    if "x-expected" not in schema:  # one of the SDK's own
        return [INVALID.format(path, SDK_HELP)]
    faults = schema.get("x-found", {}) if error.validator == "pattern" else {}
    found = [text for sign, text in faults.items() if re.search(sign, instance)]
    but = f", found {found[0]}" if found else ""
    return [f"Setting '{path}': expected {schema['x-expected']}{but}."]
