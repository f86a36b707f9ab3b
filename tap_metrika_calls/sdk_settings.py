"""Settings of the SDK whose own schemas let pass what the SDK then fails on."""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

_BATCHES = th.Property(
    "batch_config",
    th.ObjectType(
        th.Property(
            "encoding",
            th.ObjectType(
                th.Property(
                    "format", th.StringType, allowed_values=["jsonl"], required=True
                ),
                th.Property(
                    "compression", th.StringType, allowed_values=["gzip", "none"]
                ),
                additional_properties=False,
            ),
            required=True,
        ),
        th.Property(
            "storage",
            th.ObjectType(
                th.Property("root", th.StringType(pattern=r"\S"), required=True),
                th.Property("prefix", th.StringType),
                th.Property("params", th.ObjectType(additional_properties=True)),
                additional_properties=False,
            ),
            required=True,
        ),
        th.Property("batch_size", th.IntegerType(minimum=1, maximum=1_000_000)),
        additional_properties=False,
    ),
    title="Batch Configuration",
    description="Write records to files, and BATCH messages that name the files.",
)

_EXPRESSION = {"type": ["string", "null"]}
_MAP = {
    "type": ["object", "string", "null"],
    "properties": {
        "__key_properties__": {"type": ["array", "null"], "items": {"type": "string"}},
        "__else__": {"enum": ["__NULL__", None]},
    },
    "additionalProperties": _EXPRESSION,
}
_STREAM_MAPS: dict[str, t.Any] = {
    "type": ["object", "null"],
    "properties": {"__else__": {"enum": ["__NULL__", None]}},
    "additionalProperties": _MAP,
    "title": "Stream Maps",
    "description": (
        "Expressions that change, add, filter and remove fields, as in "
        "[Stream Maps](https://sdk.meltano.com/en/latest/stream_maps.html)."
    ),
}

SDK_SETTINGS: dict[str, t.Any] = th.PropertiesList(_BATCHES).to_dict()
SDK_SETTINGS["properties"]["stream_maps"] = _STREAM_MAPS
