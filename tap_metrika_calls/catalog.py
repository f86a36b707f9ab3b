"""What a catalog means: replication methods, keys, selected columns, their types."""

from __future__ import annotations

import typing as t
from copy import deepcopy

from singer_sdk.exceptions import ConfigValidationError

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Schema: t.TypeAlias = dict[str, t.Any]

METHODS = ("INCREMENTAL", "FULL_TABLE")
NOT_A_CATALOG = "The file of --catalog is not a catalog: make one with --discover."


def normalize_catalog(
    catalog: object, keys: Mapping[str, Sequence[str]]
) -> dict[str, t.Any]:
    """Return a catalog in the form in which the SDK takes all of it into account.

    The Singer specification has the replication method in the metadata of a stream,
    where users and Meltano write it; the SDK prefers the one beside it, and does not
    protect keys from being deselected.

    Args:
        catalog: The content of a catalog file.
        keys: The primary key of each stream.

    Raises:
        ConfigValidationError: If it is not a catalog, or names an unknown method.
    """
    try:
        streams = [_normalize(dict(s), keys) for s in catalog["streams"]]  # type: ignore[index]
    except ConfigValidationError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise invalid(NOT_A_CATALOG) from None
    return {"streams": [stream for stream in streams if stream["stream"] in keys]}


def declared_types(
    stream: str, documented: Schema, declared: Schema, keys: Sequence[str]
) -> dict[str, str]:
    """Return the type of each documented column, as the catalog wants it.

    Args:
        stream: The name of the stream.
        documented: Its own schema.
        declared: The schema in the catalog.
        keys: The primary key.

    Raises:
        ConfigValidationError: If a column cannot be loaded as declared.
    """
    types = {name: _own_type(prop) for name, prop in documented["properties"].items()}
    errors = []
    for column, schema in declared["properties"].items():
        own, is_key = types.get(column), column in keys
        kind = own and _declared_type(schema, own, is_key=is_key)
        if own is None:
            errors.append(
                f"Stream '{stream}': unknown column {column!a} in the catalog."
            )
        elif kind is None:
            allowed = "string" if own != "integer" else "integer or string"
            allowed += "" if is_key else ", and null"
            errors.append(
                f"Stream '{stream}': type of column '{column}' in the catalog: "
                f"expected {allowed}."
            )
        else:
            types[column] = kind
    if errors:
        raise invalid(*errors)
    return types


def invalid(*lines: str) -> ConfigValidationError:
    """Return the error of a wrong setting, catalog or state; a line for each."""
    return ConfigValidationError(lines[0], errors=list(lines))


def _normalize(
    stream: dict[str, t.Any], keys: Mapping[str, Sequence[str]]
) -> dict[str, t.Any]:
    stream = deepcopy(stream)
    name = stream["stream"] = stream["tap_stream_id"]
    types = [prop.get("type", ()) for prop in stream["schema"]["properties"].values()]
    if not types or not all(isinstance(kind, str | list) for kind in types):
        raise ValueError
    stream["key_properties"] = list(keys.get(name, ()))
    root: dict[str, t.Any] = {}
    automatic = [["properties", key] for key in keys.get(name, ())]
    metadata = [
        m for m in stream.get("metadata", ()) if m["breadcrumb"] not in automatic
    ]
    for entry in metadata:
        if not entry["breadcrumb"]:
            root = entry["metadata"]
    stream["metadata"] = metadata + [
        {"breadcrumb": breadcrumb, "metadata": {"inclusion": "automatic"}}
        for breadcrumb in automatic
    ]
    method = stream.get("replication_method")
    for key in ("forced-replication-method", "replication-method"):
        method = method if root.get(key) is None else root[key]
    if method is not None and method not in METHODS:
        expected = " or ".join(METHODS)
        line = f"Stream '{name}': unknown replication method: expected {expected}."
        raise invalid(line)
    stream["replication_method"] = method
    return stream


def _own_type(schema: Schema) -> str:
    if schema.get("format") == "date-time":
        return "date-time"
    return "string" if "string" in _listed(schema) else "integer"


def _declared_type(schema: Schema, own: str, *, is_key: bool) -> str | None:
    """Return how a column with a type of its own is decoded; None if it cannot be."""
    kinds = _listed(schema)
    form = schema.get("format")
    if (form is not None and (form != "date-time" or own != "date-time")) or (
        "null" not in kinds and not is_key
    ):
        return None
    if own in {"string", "date-time"}:
        return own if "string" in kinds else None
    if "integer" in kinds:
        return own
    if "string" in kinds:
        return "text"
    return "number" if "number" in kinds and not is_key else None


def _listed(schema: Schema) -> list[str]:
    kinds = schema.get("type", ())
    return [kinds] if isinstance(kinds, str) else list(kinds)
