"""A plain tap for the same API, as the template of the SDK leads one to write it."""

from __future__ import annotations

import json
import typing as t
from datetime import datetime
from pathlib import Path

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.pagination import BaseOffsetPaginator
from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from singer_sdk.helpers.types import Auth, Context, Record
    from singer_sdk.pagination import BaseAPIPaginator
    from singer_sdk.streams import Stream

SCHEMA = Path(__file__).parents[1] / "schemas" / "calls_uploadings.json"
PAGE = 10_000


class Paginator(BaseOffsetPaginator):
    """Pages until one is shorter than asked for."""

    @override
    def has_more(self, response: requests.Response) -> bool:
        return len(response.json()["uploadings"]) >= PAGE


class PlainStream(RESTStream[int]):
    """What both streams share."""

    primary_keys = ("counter_id", "id")
    replication_key = "create_time"
    schema: t.ClassVar[dict[str, t.Any]] = json.loads(SCHEMA.read_text("utf-8"))

    @property
    @override
    def url_base(self) -> str:
        return f"{self.config['api_url']}/management/v1"

    @property
    @override
    def authenticator(self) -> Auth:
        return APIKeyAuthenticator(
            key="Authorization",
            value=f"OAuth {self.config['oauth_token']}",
            location="header",
        )


class ByIdStream(PlainStream):
    """A partition an upload."""

    name = "calls_uploadings"
    path = "/counter/{counter_id}/offline_conversions/calls_uploading/{uploading_id}"
    records_jsonpath = "$.uploading"

    @property
    @override
    def partitions(self) -> list[dict[str, t.Any]]:
        return [
            {"counter_id": entry["counter_id"], "uploading_id": uploading_id}
            for entry in self.config["counters"]
            for uploading_id in entry["uploading_ids"]
        ]


class ListStream(PlainStream):
    """A partition a counter."""

    name = "calls_uploadings"
    path = "/counter/{counter_id}/offline_conversions/calls_uploadings"
    records_jsonpath = "$.uploadings[*]"

    @property
    @override
    def partitions(self) -> list[dict[str, t.Any]]:
        return [
            {"counter_id": entry["counter_id"]} for entry in self.config["counters"]
        ]

    @override
    def get_new_paginator(self) -> BaseAPIPaginator[int]:
        return Paginator(start_value=0, page_size=PAGE)

    @override
    def get_url_params(
        self, context: Context | None, next_page_token: int | None
    ) -> dict[str, t.Any]:
        return {"limit": PAGE, "offset": next_page_token or 0}

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Leave out what is older than the bookmark: the API has no filter."""
        start = self.get_starting_timestamp(context)
        for record in super().get_records(context):
            created = record["create_time"]
            if start is None or datetime.fromisoformat(created) >= start:
                yield record


class PlainTap(Tap):
    """Reads uploads of calls the plain way."""

    name = "plain-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("oauth_token", th.StringType, required=True, secret=True),
        th.Property("api_url", th.StringType, required=True),
        th.Property(
            "counters",
            th.ArrayType(
                th.ObjectType(
                    th.Property("counter_id", th.IntegerType),
                    th.Property("uploading_ids", th.ArrayType(th.IntegerType)),
                )
            ),
        ),
    ).to_dict()

    @override
    def discover_streams(self) -> list[Stream]:
        counters = self.config.get("counters") or [{}]
        if "uploading_ids" in counters[0]:
            return [ByIdStream(self)]
        return [ListStream(self)]


if __name__ == "__main__":
    PlainTap.cli()
