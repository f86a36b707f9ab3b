"""What a catalog means: replication methods, keys, selected columns, their types."""

from __future__ import annotations

import typing as t
from copy import deepcopy

from singer_sdk.exceptions import ConfigValidationError

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk.streams import Stream

Schema: t.TypeAlias = dict[str, t.Any]

METHODS = ("INCREMENTAL", "FULL_TABLE")
NOT_A_CATALOG = "The file of --catalog is not a catalog: make one with --discover."


def normalize_catalog(
    catalog: t.Any,  # noqa: ANN401
    streams: Mapping[str, type[Stream]],
) -> Schema:
    """Return a catalog in the form in which the SDK takes all of it into account.

    The Singer specification has the replication method in the metadata of a stream,
    where users and Meltano write it; the SDK prefers the one beside it, and does not
    protect keys from being changed or deselected.

    Raises:
        ConfigValidationError: If it is not a catalog, or names an unknown method.
    """
    try:
        entries = [s for s in catalog["streams"] if s["tap_stream_id"] in streams]
        normal = [_normalize(s, streams[s["tap_stream_id"]]) for s in entries]
    except ConfigValidationError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise invalid(NOT_A_CATALOG) from None
    return {"streams": normal}


def declared_types(
    stream: str, documented: Schema, declared: Schema, keys: Sequence[str]
) -> dict[str, str]:
    """Return the type of each documented column, as the catalog wants it.

    Raises:
        ConfigValidationError: If a column cannot be loaded as declared.
    """
    types = {name: _own_type(prop) for name, prop in documented["properties"].items()}
    errors = []
    for column, schema in declared["properties"].items():
        own, is_key = types.get(column), column in keys
        kind = own and _declared_type(schema, own, is_key=is_key)
        if kind is not None:
            types[column] = kind
            continue
        problem = f"unknown column {column!a} in the catalog."
        if own is not None:
            expected = "string" if own != "integer" else "integer or string"
            expected += "" if is_key else ", and null"
            problem = f"type of column '{column}' in the catalog: expected {expected}."
        errors.append(f"Stream '{stream}': {problem}")
    if errors:
        raise invalid(*errors)
    return types


def invalid(*lines: str) -> ConfigValidationError:
    """Return the error of a wrong setting, catalog or state; a line for each."""
    return ConfigValidationError(lines[0], errors=list(lines))


def _normalize(entry: Schema, stream: type[Stream]) -> Schema:
    entry = deepcopy(entry)
    types = [prop.get("type", ()) for prop in entry["schema"]["properties"].values()]
    if not types or not all(isinstance(kind, str | list) for kind in types):
        raise ValueError
    name = entry["stream"] = entry["tap_stream_id"]
    entry["key_properties"] = list(t.cast("Sequence[str]", stream.primary_keys))
    entry["replication_key"] = stream.replication_key
    keys = [["properties", key] for key in entry["key_properties"]]
    metadata = [m for m in entry.get("metadata", ()) if m["breadcrumb"] not in keys]
    if not all(isinstance(m["metadata"], dict) for m in metadata):
        raise ValueError
    method = entry.get("replication_method")
    for root in [m["metadata"] for m in metadata if not m["breadcrumb"]]:
        for key in ("forced-replication-method", "replication-method"):
            method = method if root.get(key) is None else root[key]
    if method is not None and method not in METHODS:
        expected = " or ".join(METHODS)
        line = f"Stream '{name}': unknown replication method: expected {expected}."
        raise invalid(line)
    entry["replication_method"] = method
    entry["metadata"] = metadata + [
        {"breadcrumb": key, "metadata": {"inclusion": "automatic"}} for key in keys
    ]
    return entry


def _own_type(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "date-time"
    return "string" if "string" in _listed(schema) else "integer"


def _declared_type(schema: Schema, own: str, *, is_key: bool) -> str | None:
    """Return how a column with a type of its own is decoded; None if it cannot be."""
    kinds, form = _listed(schema), schema.get("format")
    if form not in (None, own) or not (is_key or "null" in kinds):
        return None
    if own in kinds or (own == "date-time" and "string" in kinds):
        return own
    if own == "integer" and "string" in kinds:
        return "text"
    return "number" if own == "integer" and "number" in kinds and not is_key else None


def _listed(schema: Schema) -> list[str]:
    kinds = schema.get("type", ())
    return [kinds] if isinstance(kinds, str) else list(kinds)
