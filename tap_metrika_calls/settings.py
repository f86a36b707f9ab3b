"""The settings, as declared in `settings.json`, and where they come from."""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t
from importlib.resources import files

from dotenv import find_dotenv, load_dotenv

from tap_metrika_calls.sync.selection import CounterSelection

if t.TYPE_CHECKING:
    from collections.abc import Mapping

Config: t.TypeAlias = dict[str, t.Any]
Schema: t.TypeAlias = dict[str, t.Any]

PREFIX = "TAP_METRIKA_CALLS_"
SETTINGS: Schema = json.loads((files(__package__) / "settings.json").read_bytes())


def select_counters(config: Mapping[str, t.Any]) -> list[CounterSelection] | None:
    """Return the configured counters, each once, in the order of the configuration.

    Args:
        config: A valid configuration.

    Returns:
        None if no counter is configured, so that every counter is read.
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
    return [CounterSelection(c, whole[c], tuple(ids[c])) for c in whole]


def config_from_environment(schema: Schema) -> tuple[Config, list[str]]:
    """Return the settings in the environment, and in a `.env` file.

    Returns:
        The settings, and the variables with the prefix that are none: Kubernetes sets
        such variables for a service with the tap's name.
    """
    load_dotenv(find_dotenv(usecwd=True))
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
    for name in ("oauth_token", "ulogin", "api_url"):
        if isinstance(normal.get(name), str):
            normal[name] = normal[name].strip()
    for name in ("counters", "uploading_ids"):
        if isinstance(text := normal.get(name), str):
            normal[name] = _normalize(_parse_text(text, ["array"]))
    return normal


def _parse_text(text: str, kinds: str | list[str]) -> t.Any:  # noqa: ANN401
    """Return what a text means; the text where it does not fit the setting."""
    with contextlib.suppress(ValueError, RecursionError):
        if "integer" in kinds and re.fullmatch(r"\s*-?[0-9]+\s*", text):
            return int(text)
        if "boolean" in kinds:
            return text.strip().lower() in {"true", "1", "yes", "on"}
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
