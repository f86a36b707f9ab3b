"""What a sync emits, by the contract, over real HTTP."""

from __future__ import annotations

import gzip
import json
import typing as t

import jsonschema
import pytest

from tests.support import Run, catalog_of, config_for, sync

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
    """Assert that each record fits the schema emitted before it."""
    validators: dict[str, jsonschema.Draft7Validator] = {}
    for message in run.messages:
        if message["type"] == "SCHEMA":
            schema = message["schema"]
            validators[message["stream"]] = jsonschema.Draft7Validator(
                schema, format_checker=jsonschema.FormatChecker()
            )
        elif message["type"] == "RECORD":
            validators[message["stream"]].validate(message["record"])


def test_every_documented_field_arrives_as_it_was_sent(api: Sandbox) -> None:
    api.add_counter(7)
    api.add_upload(7, **DOCUMENTED)
    run = sync(config_for(api, counter_id=7, uploading_ids=[12]))
    assert run.records() == [{"counter_id": 7, **DOCUMENTED}]
    assert_fits(run)


def test_compressed_answers_are_read(api: Sandbox) -> None:
    body = json.dumps({"uploadings": [{"id": 1}, {"id": 2}]}).encode()
    headers = {"Content-Encoding": "gzip"}
    api.answer("counter/7/", gzip.compress(body), headers=headers)
    assert sync(config_for(api, counter_id=7)).ids == [1, 2]


def test_a_field_that_was_not_sent_stays_away(api: Sandbox) -> None:
    api.add_counter(7)
    api.add_upload(7, id=12, create_time=None, status="UPLOADED")
    run = sync(config_for(api, counter_id=7, uploading_ids=[12]))
    assert run.records() == [{"counter_id": 7, "id": 12, "status": "UPLOADED"}]
    assert_fits(run)


@pytest.mark.parametrize(
    ("sent", "emitted"),
    [
        ("2026-01-31T02:00:00+03:00", "2026-01-30T23:00:00Z"),
        ("2026-01-31T02:00:00Z", "2026-01-31T02:00:00Z"),
        ("2026-01-31T02:00:00", "2026-01-31T02:00:00Z"),
        ("2026-01-31T02:00:00.250+00:00", "2026-01-31T02:00:00.250000Z"),
    ],
)
def test_create_time_has_one_form(api: Sandbox, sent: str, emitted: str) -> None:
    api.add_counter(7)
    api.add_upload(7, id=1, create_time=sent)
    assert sync(config_for(api)).records()[0]["create_time"] == emitted


@pytest.mark.parametrize("lookup", ["auto", "by_id", "list"])
def test_each_lookup_gives_the_same_records(api: Sandbox, lookup: str) -> None:
    api.quotas = None
    counter = api.add_counter(7, uploads=40)
    ids = [upload.fields["id"] for upload in counter.uploads][::2]
    run = sync(
        config_for(
            api,
            counter_id=7,
            uploading_ids=[*ids, *ids],
            lookup=lookup,
            requests_per_second=10_000,
        )
    )
    assert run.code == 0
    assert sorted(run.ids) == ids
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


def test_no_ids_means_none_with_a_warning(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_counter(7, uploads=2)
    run = sync(config_for(api, counter_id=7, uploading_ids=[]))
    assert (run.code, run.ids, api.requests) == (0, [], [])
    assert "Counter 7: uploading_ids is empty" in caplog.text


def test_without_counters_every_counter_of_the_token_is_read(api: Sandbox) -> None:
    for number in range(1, 6):
        api.add_counter(number, uploads=2)
    run = sync(config_for(api, ulogin="agency-client"))
    assert [record["counter_id"] for record in run.records()] == [
        number for number in range(1, 6) for _ in range(2)
    ]
    assert kinds(api) == ["counters", *["list"] * 5]
    assert {request.query["ulogin"] for request in api.requests} == {"agency-client"}


def test_counters_are_paged_from_one(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_metrika_calls.client.COUNTERS_PER_PAGE", 2)
    for number in range(1, 6):
        api.add_counter(number, uploads=1)
    run = sync(config_for(api))
    asked = [r.query["offset"] for r in api.requests if r.kind == "counters"]
    assert asked == ["1", "3", "5"]
    assert len(run.records()) == 5


@pytest.mark.parametrize("rows", [b"0", b"1000000", b'"many"', b"null"])
def test_rows_is_not_trusted(api: Sandbox, rows: bytes) -> None:
    api.add_counter(1, uploads=1)
    body = b'{"rows": %b, "counters": [{"id": 1}]}' % rows
    api.answer(r"/counters\?", body, times=3)
    run = sync(config_for(api))
    assert (run.code, len(run.records())) == (0, 1)
    assert kinds(api).count("counters") <= 2


def test_the_stream_of_counters(api: Sandbox) -> None:
    api.add_counter(3)
    assert sync(config_for(api)).records("counters") == []
    run = sync(config_for(api), catalog=catalog_of("counters"))
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


def test_start_date_filters_whole_counters_and_no_ids(api: Sandbox) -> None:
    api.add_counter(7)
    for number, day in ((1, "01"), (2, "02"), (3, "03")):
        api.add_upload(7, id=number, create_time=f"2026-01-{day}T00:00:00Z")
    start = {"start_date": "2026-01-02T03:00:00+03:00"}
    assert sorted(sync(config_for(api, counter_id=7, **start)).ids) == [2, 3]
    run = sync(config_for(api, counter_id=7, uploading_ids=[1], **start))
    assert run.ids == [1]


def test_pages_are_read_to_the_end_and_each_upload_once(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("client", "lookup"):
        monkeypatch.setattr(f"tap_metrika_calls.{module}.UPLOADINGS_LIMIT", 5)
    counter = api.add_counter(7)
    for number in range(1, 13):
        api.add_upload(7, id=number)

    def arrive(_: object) -> None:
        if len(api.requests) == 2:
            api.add_upload(7, id=99)

    api.on_request = arrive
    run = sync(config_for(api, counter_id=7))
    assert sorted(run.ids) == list(range(1, 13))
    assert [r.query["offset"] for r in api.requests] == ["0", "5", "10"]
    assert len(counter.uploads) == 13


def test_a_list_without_end_is_an_error(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("client", "lookup"):
        monkeypatch.setattr(f"tap_metrika_calls.{module}.UPLOADINGS_LIMIT", 2)
    api.add_counter(7)
    api.add_counter(8, uploads=1)
    page = json.dumps({"uploadings": [{"id": 1}, {"id": 2}]}).encode()
    api.answer("counter/7/", page)
    run = sync(config_for(api))
    assert run.code == 1
    assert "Counter 7 cannot be read: the API sends the same list" in run.errors[0]
    assert len(run.ids) == 3
    assert len(api.requests) == 6


def test_an_undocumented_field_is_told_once_and_left_out(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    api.add_counter(7)
    for number in range(1, 4):
        api.add_upload(7, id=number, surprise={"a": [1]}, status="NEWLY_MADE")
    run = sync(config_for(api, counter_id=7))
    assert len(run.records()) == 3
    assert all("surprise" not in record for record in run.records())
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len([line for line in warnings if "surprise" in line]) == 1
    assert len([line for line in warnings if "NEWLY_MADE" in line]) == 1


def test_the_summary_tells_what_it_cost(
    api: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    api.add_counter(7, uploads=3)
    sync(config_for(api, counter_id=7))
    assert (
        "Records: 3 calls_uploadings. Requests: 1 list. Retries: 0. That is 0.0 % of "
        "the 5000 requests that the API allows a login in a day."
    ) in caplog.text
