"""The stand-in of the API, seen by a plain client."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import tracemalloc
import typing as t
from collections import Counter as Count
from datetime import UTC, datetime, timedelta

import pytest
import requests

from sandbox import (
    EXPIRED_TOKEN,
    FAULTS,
    TOKEN,
    TRANSIENT_FAULTS,
    Quotas,
    Request,
    Sandbox,
)

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
        (calls(), {"limit": 0}, (400, "invalid_parameter")),
        (calls(), {"limit": "many"}, (400, "invalid_parameter")),
        (calls(), {"offset": -1}, (400, "invalid_parameter")),
        ("counters", {"offset": 0}, (400, "invalid_parameter")),
        ("counters", {"offset": 100_001}, (400, "invalid_parameter")),
        ("counters", {"per_page": 10_001}, (400, "invalid_parameter")),
        (calls(rest="uploading/abc"), {}, (400, "invalid_parameter")),
        (calls(rest=f"uploading/{2**63}"), {}, (400, "invalid_parameter")),
        (calls(2**31), {}, (400, "invalid_parameter")),
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
    api.counters[FIRST + 1].closed = True
    assert refused(get(api, path, **query)) == wanted
    assert (api.requests[0].status, api.requests[0].error_type) == wanted


def test_unknown_id_can_be_a_bad_parameter(api: Sandbox) -> None:
    api.unknown_id_status = 400
    answer = get(api, calls(rest="uploading/1"))
    assert refused(answer) == (400, "invalid_parameter")
    assert answer.json()["message"] == "No object with specified ID."


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


def test_more_requests_than_a_second_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr("sandbox.quotas.time.monotonic", lambda: moment[0])
    quotas = Quotas(per_second=3)
    today = EPOCH.date()
    answers = [quotas.exceeded(1, 1, today) for _ in range(5)]
    assert answers == [None] * 3 + ["quota_requests_by_ip"] * 2
    moment[0] += 0.999
    assert quotas.exceeded(1, 1, today) == "quota_requests_by_ip"
    moment[0] += 0.001  # the refused ones are not in the window
    assert quotas.exceeded(1, 1, today) is None


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
    midnight = datetime.combine(api.clock.date() + timedelta(1), datetime.min.time())
    api.advance((midnight.replace(tzinfo=UTC) - api.clock).total_seconds() + 1)
    assert get(api, calls()).status_code == 200


def test_same_seed_and_epoch_are_the_same_world() -> None:
    worlds = []
    for seed in (1, 1, 2):
        with Sandbox(seed=seed, epoch=EPOCH) as api:
            api.quotas = None
            api.advance((EPOCH - api.clock).total_seconds())
            worlds.append([page(api), get(api, "counters").json()])
    assert worlds[0] == worlds[1] != worlds[2]


def test_statuses_move_with_the_clock(api: Sandbox) -> None:
    api.advance((EPOCH - api.clock).total_seconds())
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


def test_speed_multiplies_the_time() -> None:
    started = datetime.now(UTC) - timedelta(hours=1)
    with Sandbox(epoch=started, speed=100) as api:
        assert api.clock - started >= timedelta(hours=100)


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


def test_uploads_arrive_while_paging(api: Sandbox) -> None:
    def arrive(request: Request) -> None:
        if request.query.get("offset") == "10":
            api.add_upload(FIRST, id=2**60)

    api.on_request = arrive
    first, second = page(api, limit=10), page(api, limit=10, offset=10)
    assert {u["id"] for u in first} & {u["id"] for u in second}


def test_given_answers(api: Sandbox) -> None:
    api.answer("counters", b"<>", status=502, headers={"X-Given": "1"}, times=2)
    answers = [get(api, "counters") for _ in range(3)]
    assert [a.status_code for a in answers] == [502, 502, 200]
    assert (answers[0].content, answers[0].headers["X-Given"]) == (b"<>", "1")
    api.answer("counters", b"{}")
    assert {get(api, "counters").content for _ in range(3)} == {b"{}"}


SEEN: dict[str, t.Any] = {
    "420": 420,
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
    "cut_right_length": requests.JSONDecodeError,
    "bad_gzip": requests.exceptions.ContentDecodingError,
    "empty_200": requests.JSONDecodeError,
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
        "slow",
        "drip",
        "drip_headers",
        "redirect",
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(api: Sandbox, fault: str) -> None:
    api.fail(fault, path="counters")
    wanted = SEEN[fault]
    if isinstance(wanted, type):
        with pytest.raises(wanted) as raised:
            get(api, "counters", timeout=0.3).json()
        if fault in {"drop_before", "drop_in_body", "cut_wrong_length"}:
            assert api.requests[0].status is None
            assert not isinstance(raised.value, requests.Timeout)
    else:
        answer = get(api, "counters")
        seen = answer.status_code if answer.status_code != 200 else answer.json()
        assert seen == wanted
    assert get(api, "counters").json()["rows"] == 3


def test_details_of_faults(api: Sandbox) -> None:
    for fault in ("429_retry_after", "429_retry_date", "redirect", "502_html"):
        api.fail(fault)
    after, date, redirect, page = (get(api, "counters") for _ in range(4))
    assert after.headers["Retry-After"] == "1"
    assert date.headers["Retry-After"].endswith("GMT")
    assert redirect.headers["Location"].startswith("http://127.0.0.2:1/")
    assert page.headers["Content-Type"].startswith("text/html")
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


def test_share_of_faults_follows_from_the_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        with Sandbox(seed=seed) as api:
            api.quotas, api.fault_share, api.faults = None, 0.3, ("500", "503")
            runs.append([get(api, "counters").status_code for _ in range(40)])
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


def test_shuffled_bulk_is_complete() -> None:
    with Sandbox(counters=1, uploads=1_500) as api:
        api.quotas, api.order = None, "shuffled"
        ids = [u["id"] for o in (0, 1_000) for u in page(api, limit=1_000, offset=o)]
        assert len(set(ids)) == len(ids) == 1_500
        assert ids != sorted(ids)


def test_five_thousand_counters() -> None:
    with Sandbox(counters=5_000, uploads=1) as api:
        assert len(get(api, "counters", per_page=10_000).json()["counters"]) == 5_000


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "sandbox", "--epoch", EPOCH.isoformat()]
    for stop in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(
            [*command, "--no-quotas"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stderr
            url = process.stdout.readline().split()[0]
            header = {"Authorization": f"OAuth {TOKEN}"}
            for _ in range(2):
                requests.get(f"{url}/management/v1/counters", headers=header, timeout=9)
            stats = requests.get(f"{url}/sandbox/stats", timeout=9).json()
            wanted = {"by_kind": {"counters": 2}, "by_status": {"200": 2}}
            assert stats == {
                "requests": 2,
                **wanted,
                "throttled": 0,
                "max_in_flight": 1,
            }
            requests.post(f"{url}/sandbox/reset", timeout=9)
            again = requests.get(f"{url}/sandbox/stats", timeout=9).json()
            assert (again["requests"], again["by_status"]) == (0, {})
            process.send_signal(stop)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
