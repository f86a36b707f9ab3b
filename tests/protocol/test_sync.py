"""What a sync emits, by the contract, over real HTTP."""

from __future__ import annotations

import gzip
import json
import typing as t

import jsonschema
import pytest

from tests.support import CALLS, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

DOCUMENTED: dict[str, t.Any] = {
    "id": 12,
    "create_time": "2022-12-29T18:02:01Z",
    "source_quantity": 10,
    "line_quantity": 9,
    "comment": "Звонки 📞 \u202eend",
    "client_id_type": "USER_ID",
    "status": "PROCESSED",
    "static_calls_quantity": 1,
    "dynamic_calls_quantity": 8,
    "type": "CALLS",
    "linked_quantity": 5,
    "user_not_found_quantity": 3,
    "goal_not_found_quantity": 0,
}


def kinds(api: Sandbox) -> list[str]:
    """The kinds of the requests so far."""
    return [request.kind for request in api.requests]


def assert_fits(run: Run) -> None:
    """Assert that each record fits the schema emitted before it, and is whole."""
    schemas: dict[str, jsonschema.Draft7Validator] = {}
    for message in run.messages:
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = jsonschema.Draft7Validator(
                message["schema"], format_checker=jsonschema.FormatChecker()
            )
        elif message["type"] == "RECORD":
            validator = schemas[message["stream"]]
            validator.validate(message["record"])
            columns = t.cast("dict[str, t.Any]", validator.schema)["properties"]
            assert list(message["record"]) == list(columns)


def test_every_documented_field_arrives_as_it_was_sent(api: Sandbox) -> None:
    api.add_counter(7)
    api.add_upload(7, **DOCUMENTED)
    run = sync(config_for(api, counter_id=7, uploading_ids=[12]))
    assert run.records() == [{"counter_id": 7, **DOCUMENTED}]
    assert_fits(run)


def test_compressed_responses_are_read(api: Sandbox) -> None:
    body = json.dumps({"uploadings": [{"id": 1}, {"id": 2}]}).encode()
    headers = {"Content-Encoding": "gzip"}
    api.answer("counter/7/", gzip.compress(body), headers=headers)
    assert sync(config_for(api, counter_id=7)).ids == [1, 2]


@pytest.mark.parametrize("lookup", ["auto", "by_id", "list"])
def test_each_lookup_gives_the_same_records(api: Sandbox, lookup: str) -> None:
    api.quotas = None
    counter = api.add_counter(7, uploads=40)
    ids = [upload.fields["id"] for upload in counter.uploads][::2]
    chosen = {"uploading_ids": [*ids, *ids], "lookup": lookup}
    run = sync(
        config_for(api, counter_id=7, requests_per_second=10_000, **chosen),
    )
    assert run.code == 0
    assert sorted(run.ids) == ids
    assert_fits(run)
    expected = {"auto": ["list"], "list": ["list"], "by_id": ["uploading"] * len(ids)}
    assert kinds(api) == expected[lookup]


def test_the_same_counter_twice_is_merged(api: Sandbox) -> None:
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    counters = [
        {"counter_id": 7, "uploading_ids": [1]},
        {"counter_id": 7, "uploading_ids": [1, 3]},
    ]
    run = sync(config_for(api, counters=counters))
    assert run.ids == [1, 3]
    run = sync(config_for(api, counters=[*counters, {"counter_id": 7}]))
    assert sorted(run.ids) == [1, 2, 3]


def test_without_counters_every_counter_of_the_token_is_read(api: Sandbox) -> None:
    for number in range(1, 6):
        api.add_counter(number, uploads=2)
    run = sync(config_for(api, ulogin="agency-client"))
    assert [record["counter_id"] for record in run.records()] == [
        number for number in range(1, 6) for _ in range(2)
    ]
    assert kinds(api) == ["counters", *["list"] * 5]
    assert {request.query["ulogin"] for request in api.requests} == {"agency-client"}


def test_the_stream_of_counters(api: Sandbox) -> None:
    api.add_counter(3)
    assert sync(config_for(api)).records("counters") == []
    run = sync(config_for(api), None, catalog_of("counters"))
    assert run.records("counters") == [
        {
            "id": 3,
            "name": "Магазин 1",
            "site": "shop3.example",
            "status": "Active",
            "type": "simple",
            "permission": "view",
            "owner_login": "shop-owner",
            "create_time": "2020-05-05T09:00:00Z",
            "time_zone_name": "Europe/Moscow",
        }
    ]
    assert_fits(run)


def test_undocumented_fields_and_statuses_are_a_line_each(api: Sandbox) -> None:
    api.add_counter(7)
    for number in range(1, 4):
        api.add_upload(7, id=number, surprise={"a": [1]}, status="NEWLY_MADE")
    run = sync(config_for(api, counter_id=7))
    assert len(run.records()) == 3
    assert_fits(run)
    for word in ("surprise", "NEWLY_MADE"):
        assert len([line for line in run.warnings if word in line]) == 1


def test_the_summary_says_what_it_cost(api: Sandbox) -> None:
    api.add_counter(7, uploads=3)
    run = sync(config_for(api, counter_id=7))
    assert (
        f"Records: 3 {CALLS}. Uploads: 3 seen, in 1 pages; lists left early: 0. "
        "Requests: 1 list. Retries: 0. That is 0.0 % of the daily quota (5,000 "
        "requests per login)."
    ) in run.log
