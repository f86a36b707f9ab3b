"""What a response means: the API's own words first, and nobody else's."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from tests.support import JSON, Run, catalog_of, config_for, sync

if t.TYPE_CHECKING:
    from sandbox import Request, Sandbox

pytestmark = pytest.mark.usefixtures("short_pauses")

HTML = b"<html><h1>404 Not Found</h1><hr>nginx</html>"
FRONT = [
    (404, HTML, "text/html"),
    (403, b"Forbidden", "text/plain"),
    (400, b"Bad Request", "text/plain"),
    (404, b'{"message": "no Route matched with those values"}', "application/json"),
    (403, b'{"code": 403, "message": "Access denied"}', "application/json"),
    (404, b'{"errors": []}', "application/json"),
    (404, b'{"errors": [{"message": "not found"}]}', "application/json"),
    (410, b"", "text/html"),
]
ANY_STATUS = [200, 400, 403, 404, 420, 429, 500, 503]


def error_body(error_type: str, message: str = "Error", **fields: str) -> bytes:
    """An error as the API documents it."""
    errors = [{"error_type": error_type, "message": message, **fields}]
    return json.dumps({"errors": errors, "message": message}).encode()


def three_ids(api: Sandbox, **settings: object) -> JSON:
    """A configuration of three uploads of counter 7, looked up one by one."""
    api.add_counter(7)
    for number in (1, 2, 3):
        api.add_upload(7, id=number)
    chosen = {"lookup": "by_id", "on_unavailable": "skip", **settings}
    return config_for(api, counter_id=7, uploading_ids=[1, 2, 3], **chosen)


def about(api: Sandbox, path: str) -> list[Request]:
    return [request for request in api.requests if re.search(path, request.path)]


@pytest.mark.parametrize(("status", "body", "kind"), FRONT)
def test_only_the_api_itself_makes_an_id_unknown(
    api: Sandbox, status: int, body: bytes, kind: str
) -> None:
    config = three_ids(api)
    api.answer("counter/7/", body, status=status, headers={"Content-Type": kind})
    run = sync(config)
    assert (run.code, run.records()) == (1, [])
    assert len(run.errors) == 1
    assert "proxy" in run.errors[0]
    assert "unknown" not in run.errors[0]
    assert "scope" not in run.errors[0]
    assert len(api.requests) <= 3
    assert run.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize(("status", "body", "kind"), FRONT)
def test_a_response_of_a_front_server_is_not_retried_and_fails_the_counter(
    api: Sandbox, status: int, body: bytes, kind: str
) -> None:
    for number in (7, 8):
        api.add_counter(number, uploads=2)
    api.answer("counter/7/", body, status=status, headers={"Content-Type": kind})
    run = sync(config_for(api, on_unavailable="skip"))
    assert run.code == 1
    assert {record["counter_id"] for record in run.records()} == {8}
    (line,) = run.errors
    assert re.search(r"counter 7\b", line, re.IGNORECASE)
    assert f"HTTP {status}" in line
    assert len(about(api, "/7/")) == 1


@pytest.mark.parametrize(
    "body",
    [
        error_body("invalid_parameter", "Wrong login", location="ulogin"),
        error_body("invalid_parameter", 'Invalid value of parameter "ulogin"'),
        error_body("invalid_parameter", "Unknown value for 'lang'"),
        error_body("invalid_parameter", "Wrong value", location="limit"),
    ],
)
def test_a_wrong_parameter_makes_no_id_unknown(api: Sandbox, body: bytes) -> None:
    config = three_ids(api, ulogin="agency-client")
    api.answer("counter/7/", body, status=400)
    run = sync(config)
    assert (run.code, run.records()) == (1, [])
    assert all("unknown upload" not in line for line in run.errors)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, error_body("not_found")),
        (400, error_body("invalid_parameter", "No object with specified ID.")),
        (400, error_body("invalid_parameter", "Wrong value", location="id")),
        (400, error_body("invalid_parameter", "Wrong value of 'uploading_id'")),
        (200, error_body("not_found")),
        (500, error_body("not_found")),
    ],
)
@pytest.mark.parametrize("setting", ["fail", "skip"])
def test_what_the_api_says_is_unknown_is(
    api: Sandbox, status: int, body: bytes, setting: str
) -> None:
    config = three_ids(api, on_unavailable=setting)
    api.answer("calls_uploading/2$", body, status=status)
    run = sync(config)
    assert run.code == (1 if setting == "fail" else 0)
    assert run.ids == [1, 3]
    (line,) = run.errors if setting == "fail" else run.warnings
    assert "unknown upload ID" in line
    assert re.search(r"\b2\b", line)
    if setting == "fail":
        assert "on_unavailable" in line
    assert len(about(api, "/2$")) == 1


@pytest.mark.parametrize(
    "fault",
    ["front server", "unknown ID", "inaccessible counter", "nothing"],
)
def test_versions_are_activated_only_when_nothing_was_missed(
    api: Sandbox, fault: str
) -> None:
    config = three_ids(api, emit_activate_version_messages=True)
    for number in (8, 9):
        api.add_counter(number, uploads=2)
    config["counters"] = [{"counter_id": 8}, {"counter_id": 9}]
    if fault == "front server":
        api.answer("counter/9/", HTML, status=404)
    elif fault == "unknown ID":
        api.delete_upload(7, 2)
    elif fault == "inaccessible counter":
        api.counters[9].inaccessible = True
    root = {"replication-method": "FULL_TABLE"}
    run = sync(config, None, catalog_of("calls_uploadings", "counters", **root))
    assert run.code == (1 if fault == "front server" else 0)
    types = [message["type"] for message in run.messages]
    if fault == "nothing":
        first = types.index("ACTIVATE_VERSION")
        assert set(types[first:]) == {"ACTIVATE_VERSION", "STATE"}
        streams = {m["stream"] for m in run.of_type("ACTIVATE_VERSION")}
        assert streams == {"calls_uploadings", "counters"}
    else:
        assert "ACTIVATE_VERSION" not in types
    assert types[-1] == "STATE"


@pytest.mark.parametrize("status", ANY_STATUS)
@pytest.mark.parametrize(
    ("error_type", "told"),
    [
        ("quota_requests_by_uid", ("Daily API quota exceeded", "00:00 GMT")),
        ("invalid_token", ("token", "oauth_token")),
        ("unauthorized", ("token", "oauth_token")),
    ],
)
def test_what_concerns_the_login_stops_at_once_whatever_the_code(
    api: Sandbox, status: int, error_type: str, told: tuple[str, ...]
) -> None:
    for number in range(1, 13):
        api.add_counter(number, uploads=1)
    counters = [{"counter_id": number} for number in range(1, 13)]
    api.answer("", error_body(error_type), status=status)
    run = sync(config_for(api, counters=counters, on_unavailable="skip"))
    assert run.code == 1
    (line,) = run.errors
    assert all(words in line for words in told)
    assert len(api.requests) <= 3


@pytest.mark.parametrize("status", ANY_STATUS)
@pytest.mark.parametrize(
    "error_type",
    [
        "quota_parallel_requests",
        "quota_parallel_requests_by_uid",
        "quota_requests_by_ip",
        "backend_error",
        "timeout",
    ],
)
def test_what_passes_is_retried_whatever_the_code(
    api: Sandbox, status: int, error_type: str
) -> None:
    api.add_counter(7, uploads=2)
    api.answer("counter/7/", error_body(error_type), status=status, times=2)
    run = sync(config_for(api, counter_id=7))
    assert (run.code, len(run.ids), run.errors) == (0, 2, [])
    assert len(api.requests) == 3


@pytest.mark.parametrize("status", ANY_STATUS)
def test_an_inaccessible_counter_is_not_retried_whatever_the_code(
    api: Sandbox, status: int
) -> None:
    for number in (7, 8):
        api.add_counter(number, uploads=2)
    api.answer("counter/7/", error_body("access_denied"), status=status)
    run = sync(config_for(api))
    assert run.code == 1
    (line,) = run.errors
    assert re.search(r"counter 7\b", line, re.IGNORECASE)
    assert "metrika:read" in line
    assert len(about(api, "/7/")) == 1
    assert sync(config_for(api, on_unavailable="skip")).code == 0


@pytest.mark.parametrize("status", [408, 425, 499, 500, 502, 504, 520, 522, 524, 599])
def test_codes_of_gateways_are_retried(api: Sandbox, status: int) -> None:
    api.add_counter(7, uploads=2)
    for path in ("counter/7/", r"/counters\?"):
        headers = {"Content-Type": "text/html"}
        api.answer(path, b"<html>", status=status, headers=headers, times=2)
    run = sync(config_for(api))
    assert (run.code, len(run.ids), run.errors) == (0, 2, [])


@pytest.mark.parametrize(
    "fault", ["204", "206", "unsolicited_br", "bom", "cp1251", "empty_200", "json_list"]
)
def test_an_odd_response_is_survived(api: Sandbox, fault: str) -> None:
    api.add_counter(7, uploads=2)
    api.fail(fault, times=2, path="counter/7/")
    run = sync(config_for(api, counter_id=7))
    assert (run.code, len(run.ids), run.errors) == (0, 2, [])


@pytest.mark.parametrize("fault", ["204", "206", "unsolicited_br", "cp1251"])
def test_an_odd_response_that_stays_names_its_request(api: Sandbox, fault: str) -> None:
    api.add_counter(7, uploads=2)
    api.fail(fault, times=1_000, path="counter/7/")
    run = sync(config_for(api, counter_id=7, max_attempts=2))
    assert run.code == 1
    (line,) = run.errors
    assert re.search(r"counter 7\b", line, re.IGNORECASE)
    assert "2 attempts" in line
    assert "Unexpected" not in line


def zstd_like() -> tuple[bytes, dict[str, str]]:
    headers = {"Content-Type": "application/json", "Content-Encoding": "zstd"}
    return b"\x28\xb5\x2f\xfd" + b"\x00" * 20, headers


def test_an_encoding_nobody_asked_for_is_no_unexpected_error(api: Sandbox) -> None:
    api.add_counter(7, uploads=2)
    body, headers = zstd_like()
    api.answer("counter/7/", body, headers=headers, times=2)
    run = sync(config_for(api, counter_id=7))
    assert (run.code, len(run.ids), run.errors) == (0, 2, [])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, error_body("not_found")),
        (400, error_body("invalid_parameter", "Wrong offset", location="offset")),
        (403, error_body("access_denied")),
        (404, HTML),
        (403, b"Forbidden"),
    ],
)
def test_the_list_of_counters_is_no_counter(
    api: Sandbox, status: int, body: bytes
) -> None:
    api.add_counter(7, uploads=2)
    api.answer(r"/counters\?", body, status=status)
    run = sync(config_for(api))
    assert (run.code, run.records()) == (1, [])
    (line,) = run.errors
    assert "list of counters" in line
    assert "its number" not in line
    assert "counter_id" not in line
    assert run.messages[-1]["type"] == "STATE"


def test_a_wrong_offset_is_no_wrong_counter(api: Sandbox) -> None:
    api.add_counter(7, uploads=2)
    body = error_body("invalid_parameter", "Wrong value", location="offset")
    api.answer("counter/7/", body, status=400)
    run = sync(config_for(api, counter_id=7, on_unavailable="skip"))
    assert run.code == 1
    assert "its number" not in run.errors[0]


def test_a_front_server_that_refuses_everything(api: Sandbox) -> None:
    for number in range(1, 41):
        api.add_counter(number, uploads=1)
    counters = [{"counter_id": number} for number in range(1, 41)]
    api.fail("403_plain", times=1_000)
    run = sync(config_for(api, counters=counters))
    assert run.code == 1
    assert len(run.errors) <= 3
    assert "proxy" in run.errors[0]
    assert "scope" not in "\n".join(run.errors)
    assert len(api.requests) <= 9
    assert re.search(r"\b3\d counters?\b.*not tried", run.log)


def rejected_with(api: Sandbox, retry_after: str, **settings: object) -> Run:
    """Sync while the first responses ask for a pause."""
    api.add_counter(7, uploads=1)
    body = error_body("quota_parallel_requests")
    headers = {"Content-Type": "application/json", "Retry-After": retry_after}
    api.answer("counter/7/", body, status=429, headers=headers, times=2)
    return sync(config_for(api, counter_id=7, **settings))


@pytest.mark.parametrize(
    "retry_after",
    [
        "9" * 400,
        "1e400",
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Fri, 31 Dec 2027 23:59:59 +99999999999999",
        "-5",
        "soon",
        "",
        "٣",
        "nan",
    ],
)
def test_an_unreadable_retry_after_is_no_unexpected_error(
    api: Sandbox, retry_after: str
) -> None:
    run = rejected_with(api, retry_after, max_attempts=1)
    assert (run.code, len(run.errors)) == (1, 1)
    assert "Unexpected" not in run.log
    assert "Traceback" not in run.log


def test_a_longer_retry_after_is_honoured(api: Sandbox) -> None:
    assert rejected_with(api, "1").code == 0
    first, second, third = (request.time for request in api.requests)
    assert second - first >= 1
    assert third - second >= 1


@pytest.mark.parametrize(
    "retry_after", ["0", "Thu, 01 Jan 2015 00:00:00 GMT", "-1", "0.001"]
)
def test_a_shorter_retry_after_makes_no_pause_shorter(
    api: Sandbox, retry_after: str, set_max_backoff: t.Callable[[float], None]
) -> None:
    set_max_backoff(0.4)
    assert rejected_with(api, retry_after).code == 0
    first, second, third = (request.time for request in api.requests)
    assert third - first >= 0.2
    assert second > first
