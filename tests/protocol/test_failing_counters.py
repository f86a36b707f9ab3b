"""One counter that fails takes no others along; an API that is down ends the sync."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from sandbox import Quotas
from tests.support import JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

NAMES_LISTED = 20
# Nothing of the API: no status but 200, and no body that it is documented to send.
ODD_BODIES = [b"{}", b'{"uploadings": {}}', b"[]", b"", b"<html>Sign in</html>"]


def ten(api: Sandbox, **settings: t.Any) -> JSON:
    """A configuration of counters 1 to 10, each with two uploads."""
    api.quotas = None
    for number in range(1, 11):
        api.add_counter(number, uploads=2)
    counters = [{"counter_id": number} for number in range(1, 11)]
    chosen: JSON = {
        "max_attempts": 2,
        "max_parallel_requests": 1,
        "requests_per_second": 100_000,
        **settings,
    }
    return config_for(api, counters=counters, **chosen)


def read(run: Run) -> list[int]:
    """The counters that were read, in order."""
    return list(dict.fromkeys(record["counter_id"] for record in run.records()))


def forbid(api: Sandbox, *counters: int) -> None:
    """Let a front server refuse these counters."""
    pattern = f"counter/({'|'.join(map(str, counters))})/"
    api.answer(
        pattern, b"Forbidden", status=403, headers={"Content-Type": "text/plain"}
    )


@pytest.mark.parametrize("fault", ["504", "502_html", "drop_before", "429", "408"])
@pytest.mark.parametrize("counter_id", [3, 10])
def test_a_failing_counter_does_not_starve_the_others(
    api: Sandbox, fault: str, counter_id: int
) -> None:
    config = ten(api)
    api.fail(fault, times=1_000, path=f"counter/{counter_id}/")
    run = sync(config)
    assert run.code == 1
    (line,) = run.errors
    assert re.search(rf"\bcounter {counter_id}\b", line, re.IGNORECASE)
    others = [number for number in range(1, 11) if number != counter_id]
    assert sorted(read(run)) == others
    assert sorted(run.bookmarks) == others
    assert run.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("body", ODD_BODIES)
def test_a_counter_with_odd_responses_does_not_starve_the_others(
    api: Sandbox, body: bytes
) -> None:
    config = ten(api)
    api.answer("counter/3/", body)
    run = sync(config)
    assert (run.code, len(run.errors)) == (1, 1)
    assert read(run) == [1, 2, *range(4, 11)]
    assert "Unexpected" not in run.log


def test_failing_counters_that_are_apart_stop_nothing(api: Sandbox) -> None:
    config = ten(api)
    for number in (1, 2, 4, 5, 7, 8, 10):
        api.fail("503", times=1_000, path=f"counter/{number}/")
    run = sync(config)
    assert run.code == 1
    assert read(run) == [3, 6, 9]


@pytest.mark.parametrize("kind", ["503", "front server", "mixed"])
def test_three_in_a_row_stop_the_sync_and_the_next_begins_behind_them(
    api: Sandbox, kind: str
) -> None:
    config = ten(api)
    if kind == "503":
        api.fail("503", times=1_000, path="counter/[345]/")
    elif kind == "front server":
        forbid(api, 3, 4, 5)
    else:
        api.fail("503", times=1_000, path="counter/[35]/")
        forbid(api, 4)
    first = sync(config)
    assert first.code == 1
    assert read(first)[:2] == [1, 2]
    assert not {3, 4, 5} & set(read(first))
    untried = [n for n in range(6, 11) if n not in read(first)]
    assert untried, "three failures in a row did not stop the sync"
    assert re.search(rf"\b{len(untried)} counters?\b.*not tried", first.log)
    assert first.messages[-1]["type"] == "STATE"
    second = sync(config, first.state)
    assert read(second)[: len(untried)] == untried
    assert second.code == 1


def test_a_word_of_the_api_ends_the_row(api: Sandbox) -> None:
    config = ten(api)
    for number in (1, 2, 4, 5):
        api.fail("503", times=1_000, path=f"counter/{number}/")
    api.counters[3].inaccessible = True
    run = sync(config)
    assert run.code == 1
    assert read(run) == [6, 7, 8, 9, 10]
    for number in range(1, 6):
        assert any(re.search(rf"\b{number}\b", line) for line in run.errors)


def test_an_api_that_is_down_costs_few_requests(api: Sandbox) -> None:
    config = ten(api, max_parallel_requests=3)
    api.fail("503", times=1_000)
    run = sync(config)
    assert (run.code, run.records()) == (1, [])
    assert len(api.requests) <= 2 * (3 + 3)
    assert run.messages[-1] == {"type": "STATE", "value": run.state}


def test_a_failing_upload_does_not_starve_the_others(api: Sandbox) -> None:
    config = ten(api)
    for number in (1, 2, 3, 4):
        api.add_upload(1, id=number)
    api.fail("500", times=1_000, path=r"calls_uploading/2$")
    config["counters"][0]["uploading_ids"] = [1, 2, 3, 4]
    run = sync({**config, "lookup": "by_id"})
    assert run.code == 1
    assert {key for key in run.keys if key[0] == 1} == {(1, 1), (1, 3), (1, 4)}
    assert read(run) == list(range(1, 11))
    (line,) = run.errors
    assert re.search(r"\b2\b", line)


def test_three_failing_uploads_in_a_row_fail_their_counter_alone(api: Sandbox) -> None:
    config = ten(api)
    ids = list(range(1, 9))
    api.fail("500", times=1_000, path=r"counter/1/.*calls_uploading/")
    config["counters"][0]["uploading_ids"] = ids
    run = sync({**config, "lookup": "by_id"})
    assert run.code == 1
    assert read(run) == list(range(2, 11))
    asked = {r.path for r in api.requests if r.kind == "uploading"}
    assert len(asked) < len(ids)


@pytest.mark.parametrize("status", [200, 403, 420, 429, 503])
def test_the_next_run_goes_on_where_the_daily_quota_ended_this_one(
    api: Sandbox, status: int
) -> None:
    config = ten(api)
    body = b'{"errors": [{"error_type": "quota_requests_by_uid", "message": "x"}]}'
    api.answer("counter/4/", body, status=status, times=1)
    first = sync(config)
    assert (first.code, len(first.errors)) == (1, 1)
    assert "Daily API quota exceeded" in first.errors[0]
    assert "00:00 GMT" in first.errors[0]
    assert read(first) == [1, 2, 3]
    assert re.search(r"\b[67] counters?\b.*not tried", first.log)
    second = sync(config, first.state)
    assert second.code == 0
    assert read(second)[0] in {4, 5}
    assert set(read(second)) >= set(range(4, 11))


def test_a_daily_quota_is_shared_out_over_the_runs(api: Sandbox) -> None:
    config = ten(api)
    state: JSON | None = None
    seen: list[int] = []
    for _ in range(3):
        api.quotas = Quotas(per_day=4)
        run = sync(config, state)
        seen += read(run)
        state = run.state
    assert set(seen) == set(range(1, 11))


@pytest.mark.parametrize("status", [200, 403, 420, 429])
@pytest.mark.parametrize("setting", ["fail", "skip"])
def test_the_daily_quota_of_a_counter_fails_it_alone(
    api: Sandbox, status: int, setting: str
) -> None:
    config = ten(api, on_unavailable=setting)
    body = b'{"errors": [{"error_type": "quota_requests_by_counter_id"}]}'
    api.answer("counter/4/", body, status=status)
    run = sync(config)
    assert run.code == 1
    assert read(run) == [1, 2, 3, *range(5, 11)]
    (line,) = run.errors
    assert re.search(r"counter 4\b", line, re.IGNORECASE)
    assert "quota" in line
    assert len([r for r in api.requests if "/4/" in r.path]) == 1


def test_the_same_failure_of_many_counters_is_one_line(api: Sandbox) -> None:
    api.quotas = None
    for number in range(101, 127):
        api.add_counter(number, inaccessible=True)
    api.add_counter(7, uploads=1)
    counters = [{"counter_id": n} for n in (7, *range(101, 127))]
    run = sync(config_for(api, counters=counters, requests_per_second=100_000))
    assert run.code == 1
    (line,) = run.errors
    named = [n for n in range(101, 127) if re.search(rf"\b{n}\b", line)]
    assert named == list(range(101, 101 + NAMES_LISTED))
    assert "6 more" in line
    assert read(run) == [7]


@pytest.mark.parametrize("all_counters", [True, False])
def test_unavailable_counters_may_be_skipped(
    api: Sandbox, *, all_counters: bool
) -> None:
    api.add_counter(1, uploads=2)
    api.add_counter(2, uploads=2, inaccessible=True)
    counters = [{"counter_id": 1}, {"counter_id": 2}, {"counter_id": 3}]
    chosen = {} if all_counters else {"counters": counters}
    run = sync(config_for(api, on_unavailable="skip", **chosen))
    assert (run.code, run.errors) == (0, [])
    assert read(run) == [1]
    assert any(re.search(r"\b2\b", line) for line in run.warnings)
    if not all_counters:
        assert any(re.search(r"\b3\b", line) for line in run.warnings)
    assert sync(config_for(api, **chosen)).code == 1


def test_nothing_but_unavailable_counters_fails_all_the_same(api: Sandbox) -> None:
    api.add_counter(1, uploads=2, inaccessible=True)
    counters = [{"counter_id": 1}, {"counter_id": 2}]
    run = sync(config_for(api, on_unavailable="skip", counters=counters))
    assert run.code == 1
    assert run.errors
    assert run.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("lookup", ["by_id", "list"])
def test_unknown_uploads_beside_unavailable_counters_are_nothing_either(
    api: Sandbox, lookup: str
) -> None:
    api.add_counter(1)
    unknown = {"counter_id": 1, "uploading_ids": [5]}
    settings = config_for(api, on_unavailable="skip", lookup=lookup)
    alone = sync(settings | {"counters": [unknown]})
    assert (alone.code, alone.ids, len(alone.warnings)) == (0, [], 1)
    both = sync(settings | {"counters": [unknown, {"counter_id": 2}]})
    assert (both.code, len(both.errors), len(both.warnings)) == (1, 1, 2)


def test_what_another_stream_could_read_counts(api: Sandbox) -> None:
    api.add_counter(1, uploads=2, inaccessible=True)
    catalog = catalog_of("calls_uploadings", "counters")
    run = sync(config_for(api, on_unavailable="skip"), None, catalog)
    assert [record["id"] for record in run.records("counters")] == [1]
    assert run.code == 0


@pytest.mark.parametrize("token", ["wrong", "expired-token"])
def test_after_a_rejected_token_nothing_more_is_sent(api: Sandbox, token: str) -> None:
    # All but the first wait in the rate limiter when the response arrives.
    config = ten(api, requests_per_second=1, max_parallel_requests=3)
    run = sync({**config, "oauth_token": token})
    assert (run.code, len(run.errors)) == (1, 1)
    assert len(api.requests) == 1
    assert run.messages[-1]["type"] == "STATE"


def test_a_damaged_row_costs_no_configured_id(api: Sandbox) -> None:
    api.add_counter(7)
    rows = [{"id": None}, {"id": "x", "status": 5}, {"id": 12, "status": "MATCHED"}]
    api.answer("counter/7/", json.dumps({"uploadings": rows}).encode())
    run = sync(config_for(api, counter_id=7, uploading_ids=[12], lookup="list"))
    assert (run.code, run.ids, run.errors) == (0, [12], [])


def test_thousands_of_unknown_ids_do_not_fill_the_log(api: Sandbox) -> None:
    api.quotas = None
    api.add_counter(7, uploads=2)
    ids = [10**18 + number for number in range(400)]
    settings = {"counter_id": 7, "uploading_ids": ids, "requests_per_second": 100_000}
    run = sync(config_for(api, **settings))
    assert run.code == 1
    assert str(ids[0]) in run.errors[0]
    assert "uploading_ids" in run.errors[0]
    assert max(map(len, run.log.splitlines())) < 2_000


def test_thousands_of_stuck_uploads_do_not_fill_the_log(api: Sandbox) -> None:
    api.add_counter(7)
    long_ago = "2020-01-01T00:00:00Z"
    for number in range(90):
        api.add_upload(7, id=10**18 + number, create_time=long_ago, status="MATCHED")
    run = sync(config_for(api, counter_id=7))
    assert run.code == 0
    (line,) = [line for line in run.warnings if "no longer tracked" in line]
    assert "90 uploads" in line
    assert max(map(len, run.log.splitlines())) < 1_000


def test_counters_of_which_nothing_is_read_end_no_row_of_failures(api: Sandbox) -> None:
    config = ten(api, max_attempts=1)
    for entry in config["counters"][1::2]:
        entry["uploading_ids"] = []
    api.fail("503", times=1_000)
    run = sync(config)
    assert run.code == 1
    assert any(line.startswith("Stopped: 3 counters in a row") for line in run.errors)


def test_the_connection_test_takes_counters_left_for_later_too(api: Sandbox) -> None:
    state = {"bookmarks": {"calls_uploadings": {"resume_from": 4}}}
    run = sync(ten(api), state, None, "--test")
    assert run.code == 0
    tried = [int(line.split()[1].rstrip(":")) for line in run.lines]
    assert tried == [*range(4, 11), 1, 2, 3]
