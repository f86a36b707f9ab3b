"""The mock API, seen by a plain client."""

from __future__ import annotations

import ast
import contextlib
import json
import signal
import subprocess
import sys
import threading
import tracemalloc
import typing as t
from collections import Counter as Count
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest
import requests

import sandbox
from sandbox import (
    EXPIRED_TOKEN,
    FAULTS,
    KINDS,
    TOKEN,
    TRANSIENT_FAULTS,
    Quotas,
    Request,
    Sandbox,
)
from sandbox.demo import COUNTERS
from sandbox.uploads import ORDERS

if t.TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = 10_000_001
CSV = (
    b"ClientId,DateTime,StaticCall\n"
    b"1,1700000000,1\n2,1700000000,1\n3,1700000000,0\n,1700000000,0\n4\n"
)


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(epoch=EPOCH) as sandbox:
        sandbox.quotas = None
        yield sandbox


def get(
    api: Sandbox, path: str, *, token: str = TOKEN, timeout: float = 30, **query: t.Any
) -> requests.Response:
    return requests.get(
        f"{api.url}/management/v1/{path}",
        params=query,
        headers={"Authorization": f"OAuth {token}"},
        timeout=timeout,
        allow_redirects=False,
    )


def calls(counter_id: int = FIRST, rest: str = "uploadings") -> str:
    return f"counter/{counter_id}/offline_conversions/calls_{rest}"


def every(counter_id: int = FIRST, rest: str = "uploadings") -> str:
    return f"counter/{counter_id}/offline_conversions/{rest}"


def ids(api: Sandbox, path: str = calls(), **query: t.Any) -> list[int]:
    return [upload["id"] for upload in get(api, path, **query).json()["uploadings"]]


def page(api: Sandbox, **query: t.Any) -> list[dict[str, t.Any]]:
    uploadings: list[dict[str, t.Any]] = get(api, calls(), **query).json()["uploadings"]
    return uploadings


def post(api: Sandbox, body: bytes | None, **query: str) -> requests.Response:
    return requests.post(
        f"{api.url}/management/v1/counter/{FIRST}/offline_conversions/upload_calls",
        params=query,
        files={} if body is None else {"file": body},
        headers={"Authorization": f"OAuth {TOKEN}"},
        timeout=30,
    )


def refused(response: requests.Response) -> tuple[int, str]:
    body = response.json()
    assert body["code"] == response.status_code
    assert body["message"] == body["errors"][0]["message"]
    return response.status_code, body["errors"][0]["error_type"]


def test_one_upload_is_the_one_in_the_list(api: Sandbox) -> None:
    for upload in page(api):
        one = get(api, calls(rest=f"uploading/{upload['id']}")).json()["uploading"]
        assert one["id"] == upload["id"]
        assert one["create_time"] == upload["create_time"]
    assert Count(r.kind for r in api.requests) == {"list": 1, "uploading": 20}


def test_list_is_paged_from_zero_in_each_order(api: Sandbox) -> None:
    ids = [upload.fields["id"] for upload in api.counters[FIRST].uploads]
    assert ids == sorted(set(ids))
    for order, wanted in (("newest", ids[::-1]), ("oldest", ids)):
        api.order = order
        assert [u["id"] for u in page(api)] == wanted
        assert [u["id"] for u in page(api, limit=3, offset=2)] == wanted[2:5]
    api.order = "shuffled"
    shuffled = [u["id"] for o in (0, 7, 14) for u in page(api, limit=7, offset=o)]
    assert sorted(shuffled) == ids
    assert shuffled not in (ids, ids[::-1])
    assert page(api, offset=20) == []


def test_counters_are_paged_from_one(api: Sandbox) -> None:
    first = get(api, "counters", per_page=2, offset=1).json()
    second = get(api, "counters", per_page=2, offset=3).json()
    assert first["rows"] == second["rows"] == 3
    rows = first["counters"] + second["counters"]
    assert [row["id"] for row in rows] == [FIRST, FIRST + 1, FIRST + 2]
    assert rows[0]["create_time"].endswith("+03:00")
    assert rows[0]["favorite"] in (0, 1)
    assert api.requests[0].kind == "counters"


@pytest.mark.parametrize(
    ("path", "query", "wanted"),
    [
        (calls(rest="uploading/1"), {}, (404, "not_found")),
        (calls(5), {}, (404, "not_found")),
        ("nothing/here", {}, (404, "not_found")),
        (calls(), {"ulogin": "stranger"}, (403, "access_denied")),
        (calls(FIRST + 1), {}, (403, "access_denied")),
    ],
)
def test_refusals(
    api: Sandbox, path: str, query: dict[str, t.Any], wanted: tuple[int, str]
) -> None:
    api.counters[FIRST + 1].inaccessible = True
    assert refused(get(api, path, **query)) == wanted
    assert (api.requests[0].status, api.requests[0].error_type) == wanted


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        (calls(), {"limit": 0}, "limit"),
        (calls(), {"limit": "many"}, "limit"),
        (calls(), {"offset": -1}, "offset"),
        (every(), {"type": "CALL"}, "type"),
        ("counters", {"offset": 0}, "offset"),
        ("counters", {"offset": 100_001}, "offset"),
        ("counters", {"per_page": 10_001}, "per_page"),
        (calls(rest="uploading/abc"), {}, "id"),
        (calls(rest=f"uploading/{2**63}"), {}, "id"),
        (calls(2**31), {}, "counterId"),
    ],
)
def test_wrong_parameters_are_named(
    api: Sandbox, path: str, query: dict[str, t.Any], location: str
) -> None:
    answer = get(api, path, **query)
    assert refused(answer) == (400, "invalid_parameter")
    assert answer.json()["errors"][0]["location"] == location


def test_unknown_id_can_be_a_bad_parameter(api: Sandbox) -> None:
    api.unknown_id_status = 400
    answer = get(api, calls(rest="uploading/1"))
    assert refused(answer) == (400, "invalid_parameter")
    assert answer.json()["message"] == "No object with specified ID."
    assert "location" not in answer.json()["errors"][0]


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("", (401, "unauthorized")),
        ("other", (401, "unauthorized")),
        (EXPIRED_TOKEN, (403, "invalid_token")),
    ],
)
def test_tokens(api: Sandbox, token: str, wanted: tuple[int, str]) -> None:
    assert refused(get(api, "counters", token=token)) == wanted


def test_delegates(api: Sandbox) -> None:
    assert get(api, "counters", ulogin="agency-client").status_code == 200
    api.delegates = None
    assert get(api, "counters", ulogin="stranger").status_code == 200


def test_a_login_has_access_to_its_own_counters_only(api: Sandbox) -> None:
    login = api.add_login("a", "token-a", [FIRST])
    api.add_login("b", "token-b", {FIRST + 1, FIRST + 2})
    rows = get(api, "counters", token="token-b").json()
    assert [row["id"] for row in rows["counters"]] == [FIRST + 1, FIRST + 2]
    assert rows["rows"] == 2
    assert get(api, calls(), token="token-a").status_code == 200
    assert refused(get(api, calls(), token="token-b")) == (403, "access_denied")
    assert refused(get(api, calls(5), token="token-b")) == (404, "not_found")
    login.counters = {FIRST + 1}
    assert refused(get(api, calls(), token="token-a")) == (403, "access_denied")
    assert get(api, "counters").json()["rows"] == 3
    assert [request.login for request in api.requests] == [*"babba", "sandbox"]


def test_a_login_has_quotas_of_its_own(api: Sandbox) -> None:
    api.quotas = Quotas(per_day=2, per_counter_day=4)
    api.add_login("a", "token-a", api.counters)
    for token in (TOKEN, "token-a"):
        statuses = [get(api, calls(), token=token).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
    api.add_login("b", "token-b", api.counters)
    denied = refused(get(api, calls(), token="token-b"))
    assert denied == (429, "quota_requests_by_counter_id")
    assert api.stats()["by_login"] == {
        "sandbox": {"requests": 3, "throttled": 1},
        "a": {"requests": 3, "throttled": 1},
        "b": {"requests": 1, "throttled": 1},
    }


class FromAddress(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: t.Any, **options: t.Any) -> None:
        super().init_poolmanager(*args, **options, source_address=("127.0.0.2", 0))


def test_a_window_belongs_to_a_source_address(
    api: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.quotas.time.monotonic", lambda: 100.0)
    api.quotas = Quotas(per_second=1)
    headers = {"Authorization": f"OAuth {TOKEN}"}
    with requests.Session() as session:
        session.mount("http://", FromAddress())
        statuses = [get(api, "counters").status_code for _ in range(2)]
        for _ in range(3):
            url = f"{api.url}/management/v1/counters"
            statuses.append(session.get(url, headers=headers, timeout=9).status_code)
    assert statuses == [200, 429, 200, 429, 429]
    assert api.stats()["by_address"] == {
        "127.0.0.1": {"requests": 2, "throttled": 1},
        "127.0.0.2": {"requests": 3, "throttled": 2},
    }


def test_more_requests_than_a_second_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr("sandbox.quotas.time.monotonic", lambda: moment[0])
    quotas = Quotas(per_second=3)
    today = EPOCH.date()

    def exceeded(address: str = "127.0.0.1") -> str | None:
        return quotas.exceeded(
            login="a", address=address, in_flight=1, counter_id=1, today=today
        )

    assert [exceeded() for _ in range(5)] == [None] * 3 + ["quota_requests_by_ip"] * 2
    assert exceeded("127.0.0.2") is None
    moment[0] += 0.999
    assert exceeded() == "quota_requests_by_ip"
    moment[0] += 0.001  # the refused ones are not in the window
    assert exceeded() is None


def test_more_requests_at_once_than_allowed(api: Sandbox) -> None:
    api.quotas = Quotas(parallel=2)
    api.fail("slow", times=2)
    api.slow_seconds = 60
    arrived = threading.Semaphore(0)
    api.on_request = lambda _: arrived.release()
    waiting = [
        threading.Thread(target=lambda: get(api, "counters"), daemon=True)
        for _ in range(2)
    ]
    for thread in waiting:
        thread.start()
        assert arrived.acquire(timeout=30)
    wanted = (429, "quota_parallel_requests_by_uid")
    assert refused(get(api, "counters")) == wanted
    assert (api.max_in_flight, api.throttled) == (3, 1)
    api.close()  # answers those that wait
    for thread in waiting:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("quotas", "error_type"),
    [
        (Quotas(per_day=2), "quota_requests_by_uid"),
        (Quotas(per_counter_day=2), "quota_requests_by_counter_id"),
    ],
)
def test_quotas_of_the_day_end_at_midnight(
    api: Sandbox, quotas: Quotas, error_type: str
) -> None:
    api.quotas = quotas
    statuses = [get(api, calls()).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert api.requests[-1].error_type == error_type
    other = get(api, calls(FIRST + 1)).status_code
    assert other == (200 if error_type.endswith("counter_id") else 429)
    api.advance(12 * 3600 - 1)
    assert get(api, calls()).status_code == 429
    api.advance(1)
    assert get(api, calls()).status_code == 200


def test_same_seed_and_epoch_are_the_same_world() -> None:
    worlds = []
    for seed in (1, 1, 2):
        with Sandbox(seed=seed, epoch=EPOCH) as api:
            api.quotas, api.order = None, "shuffled"
            worlds.append([page(api), get(api, "counters").json()])
    assert worlds[0] == worlds[1] != worlds[2]


def dated(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def test_time_moves_when_it_is_told_to(api: Sandbox) -> None:
    assert get(api, "counters").headers["Date"] == dated(EPOCH)
    assert api.now() == api.epoch == EPOCH
    api.seconds_per_request = 90
    get(api, "counters")
    assert get(api, "counters").headers["Date"] == dated(EPOCH + timedelta(seconds=180))
    url = f"{api.url}/sandbox/advance"
    told = requests.post(url, params={"seconds": 3600}, timeout=9).json()
    assert datetime.fromisoformat(told["now"]) == EPOCH + timedelta(seconds=3780)
    assert api.now() == EPOCH + timedelta(seconds=3780)
    for wrong in ({}, {"seconds": "x"}, {"seconds": "nan"}):
        assert requests.post(url, params=wrong, timeout=9).status_code == 400


def test_time_begins_with_whole_seconds() -> None:
    began = datetime.now(UTC)
    epoch = Sandbox().epoch
    assert epoch.microsecond == 0
    assert began - timedelta(seconds=1) < epoch <= datetime.now(UTC)


HEADLESS = {"drop_before", "drip_headers"}


def test_every_response_has_the_date_of_the_world(api: Sandbox) -> None:
    api.slow_seconds = 0
    url = f"{api.url}/management/v1/counters"
    for fault in {*FAULTS, ""} - HEADLESS:
        for api.date_header in (True, False):
            if fault:
                api.fail(fault)
            with requests.get(
                url, stream=True, timeout=9, allow_redirects=False
            ) as answer:
                wanted = dated(EPOCH) if api.date_header else None
                assert (fault, answer.headers.get("Date")) == (fault, wanted)


def test_a_given_date_wins(api: Sandbox) -> None:
    for path, headers in (("rs", {"Date": "yesterday"}), ("ings", {})):
        api.answer(f"{path}$", b"{}", headers=headers)
    for api.date_header in (True, False):
        assert get(api, "counters").headers["Date"] == "yesterday"
        assert ("Date" in get(api, calls()).headers) == api.date_header


def test_statuses_move_with_the_clock(api: Sandbox) -> None:
    before = {u["id"]: u["status"] for u in page(api)}
    api.advance(7200)
    after = {u["id"]: u["status"] for u in page(api)}
    life = ("PREPARED", "UPLOADED", "EXPORTED", "MATCHED", "PROCESSED")
    rank = {name: i for i, name in enumerate((*life, "LINKAGE_FAILURE"))}
    assert all(rank[after[i]] >= rank[status] for i, status in before.items())
    assert len(set(before.values())) >= 3
    assert Count(after.values())["MATCHED"] == 1  # the one that is stuck
    assert set(after.values()) == {"MATCHED", "PROCESSED", "LINKAGE_FAILURE"}


def test_world_is_as_varied_as_the_documentation_allows(api: Sandbox) -> None:
    everything = [u.fields for c in api.counters.values() for u in c.uploads]
    assert any(upload["id"] > 2**53 for upload in everything)
    assert {str(upload["create_time"])[19:] for upload in everything} == {"Z", "+03:00"}
    assert len({len(upload) for upload in everything}) > 1
    for upload in everything:
        assert upload["line_quantity"] <= upload["source_quantity"]
        if "static_calls_quantity" in upload:
            assert upload["line_quantity"] == (
                upload["static_calls_quantity"] + upload["dynamic_calls_quantity"]
            )


def test_uploaded_calls_live(api: Sandbox) -> None:
    answer = post(api, CSV, comment="звонки 📞", client_id_type="CLIENT_ID")
    upload = answer.json()["uploading"]
    wanted = {
        "source_quantity": 5,
        "line_quantity": 3,
        "static_calls_quantity": 2,
        "dynamic_calls_quantity": 1,
        "client_id_type": "CLIENT_ID",
        "comment": "звонки 📞",
        "status": "PREPARED",
    }
    assert wanted.items() <= upload.items()
    assert page(api, limit=1)[0]["id"] == upload["id"]
    api.advance(7200)
    one = get(api, calls(rest=f"uploading/{upload['id']}")).json()["uploading"]
    assert one["status"] in {"PROCESSED", "LINKAGE_FAILURE"}


@pytest.mark.parametrize(
    ("body", "query", "error_type"),
    [
        (None, {}, "missing_parameter"),
        (b"", {}, "invalid_parameter"),
        (b"ClientId,Price\n1,2\n", {}, "invalid_parameter"),
        (b"DateTime\n1\n", {}, "invalid_parameter"),
        (b"ClientId,DateTime,Colour\n", {}, "invalid_parameter"),
        (b"\xff\xfe\x00", {}, "invalid_parameter"),
        (CSV, {"client_id_type": "YCLID"}, "invalid_parameter"),
        (CSV, {"comment": "x" * 256}, "invalid_parameter"),
    ],
)
def test_wrong_files(
    api: Sandbox, body: bytes | None, query: dict[str, str], error_type: str
) -> None:
    assert refused(post(api, body, **query)) == (400, error_type)
    assert len(api.counters[FIRST].uploads) == 20


def test_added_uploads_are_served_as_they_are(api: Sandbox) -> None:
    api.add_counter(counter_id=7)
    upload = api.add_upload(7, id=12, comment=None, surprise=[1])
    upload["source_quantity"] = "three"
    del upload["status"]
    served = get(api, calls(7, "uploading/12")).json()["uploading"]
    assert served == upload
    assert served["comment"] is None
    assert "status" not in served
    assert api.add_upload(7)["id"] == 13


def test_kinds_have_lists_of_their_own(api: Sandbox) -> None:
    api.add_counter(7, uploads=2, conversions=3, chats=4)
    everything = {kind: ids(api, every(7), type=kind) for kind in KINDS}
    assert [len(everything[kind]) for kind in KINDS] == [3, 2, 4]
    assert ids(api, every(7)) == everything["BASIC"]
    assert ids(api, calls(7)) == everything["CALLS"]
    assert len({i for kind in KINDS for i in everything[kind]}) == 9
    for kind in KINDS:
        newest = get(api, every(7), type=kind, limit=1).json()["uploadings"][0]
        one = get(api, every(7, f"uploading/{newest['id']}")).json()["uploading"]
        assert one == newest
        assert one.get("type", kind) == kind
    chat = everything["CHATS"][0]
    assert refused(get(api, calls(7, f"uploading/{chat}"))) == (404, "not_found")
    assert {request.kind for request in api.requests} == {"list", "uploading"}


def test_an_upload_is_filed_under_its_kind_whatever_its_type_says(
    api: Sandbox,
) -> None:
    api.add_counter(7)
    api.add_upload(7, id=1, kind="CHATS", type="surprise")
    api.add_upload(7, id=1, status="MATCHED")
    assert get(api, every(7), type="CHATS").json()["uploadings"][0]["type"] == (
        "surprise"
    )
    assert get(api, calls(7)).json()["uploadings"][0]["status"] == "MATCHED"
    api.delete_upload(7, 1, kind="CHATS")
    assert ids(api, every(7), type="CHATS") == []
    assert ids(api, calls(7)) == [1]


def test_pages_can_be_capped(api: Sandbox) -> None:
    api.page_cap = 8
    assert [len(ids(api, limit=n)) for n in (5, 8, 9, 10_000)] == [5, 8, 8, 8]
    assert len(ids(api, offset=15)) == 5
    api.counters_cap, api.rows = 2, 0
    body = get(api, "counters", per_page=10_000).json()
    assert (len(body["counters"]), body["rows"]) == (2, 0)


def test_large_pages_can_be_slow(api: Sandbox) -> None:
    api.slow_above = 10
    assert refused(get(api, calls(), limit=11)) == (504, "timeout")
    assert refused(get(api, every())) == (504, "timeout")
    assert len(ids(api, limit=10)) == 10


@pytest.mark.parametrize("uploads", [20, 1_001])
def test_deleted_uploads_are_gone(api: Sandbox, uploads: int) -> None:
    api.add_counter(7, uploads=uploads)
    before = ids(api, calls(7))
    api.delete_upload(7, before[3])
    del before[3]
    assert ids(api, calls(7)) == before
    assert ids(api, calls(7), limit=4, offset=2) == before[2:6]
    assert get(api, calls(7, f"uploading/{before[3]}")).status_code == 200
    with pytest.raises(KeyError):
        api.delete_upload(7, 5)
    for upload_id in before:
        api.delete_upload(7, upload_id)
    assert ids(api, calls(7)) == []
    assert get(api, calls(7, f"uploading/{before[3]}")).status_code == 404


def test_hidden_uploads_appear_where_they_were_added(api: Sandbox) -> None:
    api.add_counter(7)
    for key in (1, 2, 3):
        api.add_upload(7, id=key, visible=key != 2)
    assert ids(api, calls(7)) == [3, 1]
    assert get(api, calls(7, "uploading/2")).status_code == 404
    api.reveal(7, 2)
    assert ids(api, calls(7)) == [3, 2, 1]
    assert get(api, calls(7, "uploading/2")).status_code == 200


def test_removed_counters_are_unknown(api: Sandbox) -> None:
    api.remove_counter(FIRST)
    assert refused(get(api, calls())) == (404, "not_found")
    assert get(api, "counters").json()["rows"] == 2


@pytest.mark.parametrize("uploads", [30, 1_500])
def test_a_shuffled_list_keeps_its_order_when_it_changes(
    api: Sandbox, uploads: int
) -> None:
    api.order = "shuffled"
    api.add_counter(7, uploads=uploads)
    before = ids(api, calls(7))
    added = [api.add_upload(7)["id"] for _ in range(5)]
    after = ids(api, calls(7))
    assert sorted(after) == sorted(before + added)
    assert [i for i in after if i not in added] == before
    api.delete_upload(7, before[10])
    assert [i for i in after if i != before[10]] == ids(api, calls(7))


def test_anything_can_change_when_a_request_arrives(api: Sandbox) -> None:
    before = ids(api)

    def change(request: Request) -> None:
        if request.query.get("offset") == "10":
            api.add_upload(FIRST, id=2**60)
            api.order = "oldest"
            api.advance(60)

    api.on_request = change
    assert ids(api, limit=10) == before[:10]
    second = get(api, calls(), limit=11, offset=10)
    assert [u["id"] for u in second.json()["uploadings"]] == [
        *before[9::-1],
        2**60,
    ]
    assert second.headers["Date"] == dated(EPOCH + timedelta(minutes=1))


def test_given_answers(api: Sandbox) -> None:
    api.answer("counters", b"<>", status=502, headers={"X-Given": "1"}, times=2)
    answers = [get(api, "counters") for _ in range(3)]
    assert [a.status_code for a in answers] == [502, 502, 200]
    assert (answers[0].content, answers[0].headers["X-Given"]) == (b"<>", "1")
    api.answer("counters", b"{}")
    assert {get(api, "counters").content for _ in range(3)} == {b"{}"}
    api.recover()
    assert len(get(api, "counters").content) > 2


QUOTA_BODY = {
    "errors": [
        {
            "error_type": "quota_requests_by_uid",
            "message": "Quota exceeded: quota_requests_by_uid",
        }
    ],
    "code": 429,
    "message": "Quota exceeded: quota_requests_by_uid",
}
SEEN: dict[str, t.Any] = {
    "200_errors": QUOTA_BODY,
    "204": 204,
    "206": 206,
    "403_plain": 403,
    "403_quota": 403,
    "404_html": 404,
    "408": 408,
    "420": 420,
    "425": 425,
    "499": 499,
    "bom": json.JSONDecodeError,
    "cp1251": UnicodeDecodeError,
    "unsolicited_br": UnicodeDecodeError,
    "uploadings_null": {"uploadings": None},
    "429": 429,
    "429_retry_after": 429,
    "429_retry_date": 429,
    "500": 500,
    "502_html": 502,
    "503": 503,
    "504": 504,
    "drop_before": requests.ConnectionError,
    "drop_in_body": requests.exceptions.ChunkedEncodingError,
    "cut_wrong_length": requests.exceptions.ChunkedEncodingError,
    "cut_right_length": json.JSONDecodeError,
    "bad_gzip": requests.exceptions.ContentDecodingError,
    "empty_200": json.JSONDecodeError,
    "json_null": None,
    "json_list": [],
    "slow": requests.ReadTimeout,
    "drip": requests.ConnectionError,
    "drip_headers": requests.ReadTimeout,
    "redirect": 302,
}


def test_all_faults_are_tried() -> None:
    assert set(SEEN) == set(FAULTS)
    assert set(FAULTS) - set(TRANSIENT_FAULTS) == {
        "200_errors",
        "403_plain",
        "403_quota",
        "404_html",
        "uploadings_null",
        "slow",
        "drip",
        "drip_headers",
        "redirect",
    }


def strictly_decoded(response: requests.Response) -> object:
    return json.loads(response.content.decode())


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(api: Sandbox, fault: str) -> None:
    api.fail(fault, path="counters")
    wanted = SEEN[fault]
    if isinstance(wanted, type):
        with pytest.raises(wanted) as raised:
            strictly_decoded(get(api, "counters", timeout=0.3))
        if fault in {"drop_before", "drop_in_body", "cut_wrong_length"}:
            assert api.requests[0].status is None
            assert not isinstance(raised.value, requests.Timeout)
    else:
        answer = get(api, "counters")
        seen = (
            answer.status_code
            if answer.status_code != 200
            else strictly_decoded(answer)
        )
        assert seen == wanted
    assert get(api, "counters").json()["rows"] == 3


def test_details_of_faults(api: Sandbox) -> None:
    faults = ("429_retry_after", "429_retry_date", "redirect", "502_html", "403_plain")
    for fault in (*faults, "403_quota", "bom"):
        api.fail(fault)
    after, date, redirect, page, plain, quota, bom = (
        get(api, "counters") for _ in range(7)
    )
    assert after.headers["Retry-After"] == "1"
    assert date.headers["Retry-After"].endswith("GMT")
    assert redirect.headers["Location"].startswith("http://127.0.0.2:1/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert plain.text == "Forbidden"
    assert refused(quota) == (403, "quota_requests_by_uid")
    assert json.loads(bom.content.decode("utf-8-sig"))["rows"] == 3
    assert api.throttled == 2


def test_fault_of_one_path_leaves_the_others(api: Sandbox) -> None:
    api.fail("500", path="calls_uploadings", times=2)
    statuses = [
        get(api, p).status_code for p in ("counters", calls(), calls(), calls())
    ]
    assert statuses == [200, 500, 500, 200]


def test_unknown_fault_is_refused(api: Sandbox) -> None:
    with pytest.raises(ValueError, match="no_such"):
        api.fail("no_such")


def test_slow_answers_in_the_end(api: Sandbox) -> None:
    api.slow_seconds = 0.01
    api.fail("slow")
    assert get(api, "counters").json()["rows"] == 3


def test_share_of_faults_follows_from_the_seed(api: Sandbox) -> None:
    api.fault_share, api.faults = 0.3, ("500", "503")
    runs = []
    for seed in (1, 1, 2):
        api.seed_faults(seed)
        runs.append([get(api, "counters").status_code for _ in range(25)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 500, 503}


def test_closing_ends_what_is_under_way() -> None:
    with Sandbox() as api:
        api.slow_seconds = 3_600
        api.latency = 3_600
        arrived = threading.Event()
        api.on_request = lambda _: arrived.set()
        thread = threading.Thread(target=_ignore_broken, args=(api,), daemon=True)
        thread.start()
        assert arrived.wait(30)
    thread.join(30)
    assert not thread.is_alive()


def _ignore_broken(api: Sandbox) -> None:
    try:
        get(api, "counters", timeout=300)
    except requests.RequestException:
        return


def test_port_that_is_taken_is_told(api: Sandbox) -> None:
    port = int(api.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="address already in use"), Sandbox(port=port):
        pass


def test_a_million_uploads_are_computed() -> None:
    tracemalloc.start()
    with Sandbox(counters=1, uploads=1_000_000) as api:
        api.quotas = None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000
        newest = page(api)
        assert len(newest) == 10_000
        assert {u["status"] for u in newest} == {"PROCESSED"}
        last = page(api, offset=999_995)
        assert len(last) == 5
        assert newest[0]["create_time"] > last[-1]["create_time"]
        one = get(api, calls(rest=f"uploading/{last[0]['id']}")).json()
        assert one["uploading"] == last[0]
        added = api.add_upload(FIRST)
        assert page(api, limit=2) == [added, newest[0]]
        api.order = "oldest"
        assert page(api, limit=1) == last[-1:]


@pytest.mark.parametrize("order", ORDERS)
def test_pages_of_bulk_and_kept_uploads_join(api: Sandbox, order: str) -> None:
    api.add_counter(7, uploads=1_001)
    for _ in range(5):
        api.add_upload(7)
    for upload_id in ids(api, calls(7))[500:502]:
        api.delete_upload(7, upload_id)
    api.order = order
    whole = ids(api, calls(7))
    assert len(set(whole)) == 1_004
    for offset in (0, 1, 4, 5, 6, 995, 998, 999, 1_000, 1_003, 1_004):
        assert ids(api, calls(7), limit=4, offset=offset) == whole[offset : offset + 4]


def test_bulk_uploads_of_each_kind_end_shortly_before_the_epoch() -> None:
    with Sandbox(
        counters=1, uploads=2_000, conversions=2_001, chats=2_002, epoch=EPOCH
    ) as api:
        api.quotas = None
        seen: set[int] = set()
        for kind, count in (("CALLS", 2_000), ("BASIC", 2_001), ("CHATS", 2_002)):
            uploads = get(api, every(), type=kind).json()["uploadings"]
            assert {upload["type"] for upload in uploads} == {kind}
            assert ("static_calls_quantity" in uploads[0]) == (kind == "CALLS")
            seen |= {upload["id"] for upload in uploads}
            times = [datetime.fromisoformat(u["create_time"]) for u in uploads]
            assert times[0] == EPOCH - timedelta(minutes=3)
            assert {a - b for a, b in pairwise(times)} == {timedelta(minutes=1)}
            assert len(times) == count
        assert len(seen) == 6_003


def test_shuffled_bulk_is_complete() -> None:
    with Sandbox(counters=1, uploads=1_500) as api:
        api.quotas, api.order = None, "shuffled"
        ids = [u["id"] for o in (0, 1_000) for u in page(api, limit=1_000, offset=o)]
        assert len(set(ids)) == len(ids) == 1_500
        assert ids != sorted(ids)


def test_five_thousand_counters() -> None:
    with Sandbox(counters=5_000, uploads=0) as api:
        assert len(get(api, "counters", per_page=10_000).json()["counters"]) == 5_000


@contextlib.contextmanager
def process(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "sandbox", "--epoch", EPOCH.isoformat(), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdout
        try:
            url, word, token = running.stdout.readline().split()
            assert (word, token) == ("token:", TOKEN)
            yield url, running
        finally:
            running.kill()


def stopped(running: subprocess.Popen[str], signum: signal.Signals) -> None:
    running.send_signal(signum)
    assert running.wait(30) == 0
    assert running.stderr
    assert running.stderr.read() == ""


def test_as_a_process() -> None:
    with process("--no-quotas") as (url, running):
        headers = {"Authorization": f"OAuth {TOKEN}"}
        for _ in range(2):
            path = f"{url}/management/v1/counters"
            rows = requests.get(path, headers=headers, timeout=9).json()["counters"]
        assert [row["name"] for row in rows] == list(COUNTERS)
        counts = {"requests": 2, "throttled": 0}
        assert requests.get(f"{url}/sandbox/stats", timeout=9).json() == {
            **counts,
            "by_kind": {"counters": 2},
            "by_status": {"200": 2},
            "by_login": {"sandbox": counts},
            "by_address": {"127.0.0.1": counts},
            "max_in_flight": 1,
        }
        requests.post(f"{url}/sandbox/reset", timeout=9)
        again = requests.get(f"{url}/sandbox/stats", timeout=9).json()
        assert (again["requests"], again["by_status"]) == (0, {})
        stopped(running, signal.SIGINT)


def test_options_of_the_process() -> None:
    later = EPOCH + timedelta(hours=5)
    options: tuple[str, ...] = (
        "--counters",
        "3",
        "--uploads",
        "4",
        "--chats",
        "5",
        "--logins",
        "2",
    )
    options += ("--order", "oldest", "--page-cap", "3", "--host", "127.0.0.3")
    options += ("--now", later.isoformat(), "--seconds-per-request", "60")
    with process(*options) as (url, running):
        assert url.startswith("http://127.0.0.3:")
        base = f"{url}/management/v1"
        for number, counters in ((1, [FIRST, FIRST + 2]), (2, [FIRST + 1])):
            headers = {"Authorization": f"OAuth {TOKEN}-{number}"}
            rows = requests.get(f"{base}/counters", headers=headers, timeout=9)
            assert [row["id"] for row in rows.json()["counters"]] == counters
        assert rows.headers["Date"] == dated(later + timedelta(minutes=2))
        chats = f"{base}/{every(FIRST + 1)}?type=CHATS"
        listed = requests.get(chats, headers=headers, timeout=9).json()["uploadings"]
        assert len(listed) == 3
        assert listed[0]["id"] < listed[1]["id"] < listed[2]["id"]
        stats = requests.get(f"{url}/sandbox/stats", timeout=9).json()
        assert {name: c["requests"] for name, c in stats["by_login"].items()} == {
            "login1": 1,
            "login2": 2,
        }
        stopped(running, signal.SIGTERM)


def listed(api: Sandbox, name: str, kind: str = "CALLS") -> list[dict[str, t.Any]]:
    (counter,) = (c for c in api.counters.values() if c.name == name)
    path = every(counter.id)
    uploads: list[dict[str, t.Any]] = get(api, path, type=kind).json()["uploadings"]
    return uploads


def created(upload: dict[str, t.Any]) -> datetime:
    return datetime.fromisoformat(upload["create_time"])


def share(uploads: list[dict[str, t.Any]], oldest: int, newest: int) -> float:
    """The linked share of the uploads of some days before the epoch."""
    since, until = EPOCH - timedelta(oldest), EPOCH - timedelta(newest)
    chosen = [upload for upload in uploads if since <= created(upload) < until]
    rows = sum(u["linked_quantity"] + u["user_not_found_quantity"] for u in chosen)
    assert rows >= 20
    return float(sum(u["linked_quantity"] for u in chosen) / rows)


@pytest.fixture(scope="module")
def demo() -> Iterator[Sandbox]:
    with Sandbox(demo=True, epoch=EPOCH) as sandbox:
        sandbox.quotas = None
        yield sandbox


def test_demo_has_forty_days_in_order(demo: Sandbox) -> None:
    seen: set[int] = set()
    for name in COUNTERS:
        for kind in KINDS:
            uploads = listed(demo, name, kind)
            times = [created(upload) for upload in uploads]
            assert times == sorted(times, reverse=True)
            keys = [upload["id"] for upload in uploads]
            assert keys == sorted(keys, reverse=True)
            assert not seen & set(keys)
            seen |= set(keys)
            if len(times) > 10:
                assert timedelta(38) < EPOCH - times[-1] < timedelta(40)
            assert all(time <= EPOCH for time in times)


def test_demo_has_one_silent_counter(demo: Sandbox) -> None:
    silent = []
    for name in COUNTERS:
        times = [created(upload) for upload in listed(demo, name)]
        gaps = [newer - older for newer, older in pairwise(times)]
        median = sorted(gaps)[len(gaps) // 2]
        if EPOCH - times[0] > max(3 * median, timedelta(2)):
            silent.append(name)
    assert silent == ["Клиника «Улыбка»"]


def test_demo_has_one_counter_with_a_fallen_share(demo: Sandbox) -> None:
    fallen = []
    for name in set(COUNTERS) - {"Клиника «Улыбка»"}:
        uploads = listed(demo, name)
        if share(uploads, 7, 0) < share(uploads, 35, 7) / 2:
            fallen.append(name)
    assert fallen == ["Автосалон <Движок> & сын"]


def reason(upload: dict[str, t.Any]) -> str:
    if upload["status"] not in {"PROCESSED", "LINKAGE_FAILURE"}:
        return "stuck" if created(upload) < EPOCH - timedelta(hours=2) else "in flight"
    if upload["line_quantity"] == 0:
        return "all_rows_rejected"
    if upload["status"] == "LINKAGE_FAILURE":
        dynamic = upload.get("dynamic_calls_quantity", 1)
        return "not_linked" if dynamic else "static only"
    rejected = upload["source_quantity"] > upload["line_quantity"]
    return "rows_rejected" if rejected else ""


def test_demo_has_every_case(demo: Sandbox) -> None:
    seen = {
        kind: Count(reason(u) for name in COUNTERS for u in listed(demo, name, kind))
        for kind in KINDS
    }
    assert seen["CALLS"].pop("") > 500
    assert seen["CALLS"].pop("in flight") >= 5
    assert seen["CALLS"] == {
        "stuck": 2,
        "all_rows_rejected": 2,
        "not_linked": 1,
        "static only": 2,
        "rows_rejected": 1,
    }
    assert seen["BASIC"] == {"": 40, "not_linked": 1, "rows_rejected": 1}
    assert (seen["CHATS"]["stuck"], len(seen["CHATS"])) == (1, 2)
    uploads = listed(demo, "Магазин «Ёлка» 🎄")
    assert len({upload["client_id_type"] for upload in uploads}) == 3
    comments = {upload["comment"] for upload in uploads}
    assert any("<script>" in comment for comment in comments)
    assert any("📞" in comment for comment in comments)


def test_demo_goes_on(demo: Sandbox) -> None:
    name = "Магазин «Ёлка» 🎄"
    before = {upload["id"]: upload["status"] for upload in listed(demo, name)}
    demo.advance(7200)
    after = {upload["id"]: upload["status"] for upload in listed(demo, name)}
    demo.advance(-7200)
    assert after.keys() > before.keys()
    assert sum(after[i] != status for i, status in before.items()) >= 3


def test_imports_have_no_cycle() -> None:
    folder = Path(sandbox.__file__).parent
    imports: dict[str, set[str]] = {}
    for file in folder.glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        found = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
        known = {name for name in found if name.partition(".")[0] == "sandbox"}
        imports[f"sandbox.{file.stem}"] = known
    assert len(imports) > 10
    TopologicalSorter(imports).prepare()
