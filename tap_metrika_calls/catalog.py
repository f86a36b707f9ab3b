"""What a catalog means: replication methods, keys, selected columns, their types."""

from __future__ import annotations

import typing as t

from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.singerlib import Catalog, CatalogEntry, Metadata

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk.streams import Stream

Schema: t.TypeAlias = dict[str, t.Any]

METHODS = ("INCREMENTAL", "FULL_TABLE")
UNKNOWN_METHOD = "Stream '{}': unknown replication method: expected {} or {}."
NOT_A_CATALOG = "The file of --catalog is not a catalog: make one with --discover."
# How a column is decoded: by what it is, and the first type that a catalog declares.
DECODED = {
    "key": {"integer": "integer", "string": "text"},
    "integer": {"integer": "integer", "string": "text", "number": "number"},
    "string": {"string": "string"},
    "date-time": {"string": "date-time"},
}


def normalize_catalog(content: Schema, streams: Mapping[str, type[Stream]]) -> Catalog:
    """Return a catalog in the form in which the SDK takes all of it into account.

    Raises:
        ConfigValidationError: If it is not a catalog, or names an unknown method.
    """
    catalog = Catalog()
    try:
        for given in content["streams"]:
            if given["tap_stream_id"] in streams:
                entry = _normalize(given, streams[given["tap_stream_id"]])
                catalog.add_stream(entry)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise invalid(NOT_A_CATALOG) from None
    return catalog


def declared_types(
    stream: str, documented: Schema, declared: Schema, keys: Sequence[str]
) -> dict[str, str]:
    """Return the type of each documented column, as the catalog wants it.

    Raises:
        ConfigValidationError: If a column cannot be loaded as declared.
    """
    types = {
        name: prop.get("format", "string" if "string" in prop["type"] else "integer")
        for name, prop in documented["properties"].items()
    }
    errors = []
    for column, schema in declared["properties"].items():
        own = "key" if column in keys else types.get(column)
        if own is None:
            errors.append(f"unknown column {column!a} in the catalog.")
        elif decoded := _declared_type(schema, own):
            types[column] = decoded
        else:
            expected = " or ".join(DECODED[own]) + ", and null" * (own != "key")
            where = f"type of column '{column}' in the catalog"
            errors.append(f"{where}: expected {expected}.")
    if errors:
        raise invalid(*(f"Stream '{stream}': {error}" for error in errors))
    return types


def invalid(*lines: str) -> ConfigValidationError:
    """Return the error of a wrong setting, catalog or state; a line for each."""
    return ConfigValidationError(lines[0], errors=list(lines))


def _normalize(given: Schema, stream: type[Stream]) -> CatalogEntry:
    """Return a stream's entry with its method, and with keys that nobody may change.

    The Singer specification has the replication method in the metadata of a stream,
    where users and Meltano write it; the SDK prefers the one beside it.
    """
    entry = CatalogEntry.from_dict(given)
    if not entry.schema.properties:
        raise ValueError
    entry.stream = entry.tap_stream_id
    entry.key_properties = t.cast("Sequence[str]", stream.primary_keys)
    entry.replication_key = t.cast("str | None", stream.replication_key)
    for key in entry.key_properties:
        automatic = Metadata(inclusion=Metadata.InclusionType.AUTOMATIC)
        entry.metadata["properties", key] = automatic
    about = [m["metadata"] for m in given.get("metadata", ()) if not m["breadcrumb"]]
    methods = [root.get("replication-method") for root in about]
    methods += [root.get("forced-replication-method") for root in about]
    methods.append(entry.replication_method)
    entry.replication_method = next((m for m in methods if m is not None), None)
    if entry.replication_method not in (None, *METHODS):
        raise invalid(UNKNOWN_METHOD.format(entry.stream, *METHODS))
    return entry


def _declared_type(schema: Schema, own: str) -> str | None:
    """Return how a column with a type of its own is decoded; None if it cannot be."""
    types = schema.get("type", ())
    types = types if isinstance(types, list) else [types]
    if schema.get("format", own) != own or not (own == "key" or "null" in types):
        return None
    return next((way for kind, way in DECODED[own].items() if kind in types), None)
