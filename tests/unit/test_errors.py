"""What an error of the API means."""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime

import pytest

from tap_metrika_calls import errors

NOW = datetime(2026, 1, 31, 22, 15, 30, tzinfo=UTC)


def body_of(*types: object) -> bytes:
    """The documented body with these error types."""
    return json.dumps({"errors": [{"error_type": kind} for kind in types]}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "invalid_parameter", errors.UploadingUnknownError),
        (404, "not_found", errors.UploadingUnknownError),
        (404, None, errors.UploadingUnknownError),
        (400, "limit_exceeded", errors.CounterError),
        (403, "access_denied", errors.CounterError),
        (403, "invalid_token", errors.MetrikaError),
        (401, "unauthorized", errors.MetrikaError),
        (301, None, errors.MetrikaError),
        (399, None, errors.MetrikaError),
        (429, "quota_requests_by_ip", errors.TransientError),
        (420, "quota_parallel_requests_by_uid", errors.TransientError),
        (429, "quota_requests_by_uid", errors.MetrikaError),
        (420, "quota_requests_by_counter_id", errors.MetrikaError),
        (403, "quota_requests_by_uid", errors.CounterError),
        (500, None, errors.TransientError),
        (503, "backend_error", errors.TransientError),
        (504, "timeout", errors.TransientError),
        (499, None, errors.CounterError),
        (204, None, errors.CounterError),
        (300, None, errors.MetrikaError),
    ],
)
def test_code_and_type_decide(
    status: int, kind: str | None, expected: type[errors.MetrikaError]
) -> None:
    body = body_of(kind) if kind else b"<html>CANARY</html>"
    error = errors.from_response(status, {}, body, "counter 1", NOW)
    assert type(error) is expected
    assert f"HTTP {status}" in str(error)
    assert (kind or "HTTP") in str(error)
    assert "CANARY" not in str(error)


def test_the_quota_of_the_day_tells_when_it_resets() -> None:
    body = body_of("quota_requests_by_uid")
    told = str(errors.from_response(429, {}, body, "counter 1", NOW))
    assert "in 1 h 44 min" in told
    assert "HTTP 429 quota_requests_by_uid; counter 1" in told
    for time, left in (
        ("00:00:00", "24 h 00"),
        ("23:59:00", "0 h 01"),
        ("23:59:01", "0 h 00"),
    ):
        now = datetime.fromisoformat(f"2026-01-31T{time}Z")
        told = str(errors.from_response(429, {}, body, "counter 1", now))
        assert f"in {left} min" in told


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://evil.example/a?b=c", "evil.example"),
        ("/elsewhere", "an address without a host"),
        ("http://[", "an address that is not readable"),
        (None, "an address without a host"),
    ],
)
def test_a_redirect_names_the_host_alone(location: str | None, host: str) -> None:
    headers = {} if location is None else {"Location": location}
    told = str(errors.from_response(302, headers, b"", "counter 1", NOW))
    assert f"a redirect to {host} (HTTP 302; counter 1)" in told


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Sat, 31 Jan 2026 22:15:40 GMT", 10),
        ("Sat, 31 Jan 2026 22:15:40 -0000", 10),
        ("Sat, 31 Jan 2026 22:15:20 GMT", 0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert errors.retry_after(value, NOW) == seconds


def test_retry_after_comes_with_the_error() -> None:
    headers = {"Retry-After": "3"}
    error = errors.from_response(503, headers, b"", "counter 1", NOW)
    assert isinstance(error, errors.TransientError)
    assert error.retry_after == 3
    error = errors.from_response(429, {}, b"", "counter 1", NOW)
    assert isinstance(error, errors.TransientError)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("body", "types"),
    [
        (body_of("a", "b_2"), ("a", "b_2")),
        (body_of("A", "a b", "a" * 65, 5, None, ["x"]), ()),
        (body_of("a" * 64), ("a" * 64,)),
        (b'{"errors": {}}', ()),
        (b'{"errors": ["x"]}', ()),
        (b'{"errors": [{}]}', ()),
        (b"{}", ()),
        (b"null", ()),
        (b"", ()),
        (b"<html>", ()),
        (b"[" * 100_000, ()),
    ],
)
def test_error_types_of_any_body(body: bytes, types: tuple[t.Any, ...]) -> None:
    assert errors.error_types(body) == types


def test_a_failed_sync_tells_all_lines() -> None:
    error = errors.SyncFailedError(["one", "two"])
    assert error.lines == ("one", "two")
    assert str(error) == "one\ntwo"


LINES = {
    (401, "unauthorized"): """
        The API refused the token (HTTP 401 unauthorized; counter 1). Get a new token
        with the scope metrika:read and put it into the setting oauth_token.""",
    (429, "quota_requests_by_uid"): """
        The API's quota of the day is used up (HTTP 429 quota_requests_by_uid; counter
        1). It resets at 00:00 GMT, in 1 h 44 min. What was loaded is kept: the next run
        goes on from the state.""",
    (302, None): """
        The API answered with a redirect to an address without a host (HTTP 302; counter
        1). The token is not sent there: check the setting api_url.""",
    (403, "access_denied"): """
        HTTP 403 access_denied: the account has to have access to it, and the token the
        scope metrika:read""",
    (404, "not_found"): "HTTP 404 not_found: check its number",
    (400, "invalid_parameter"): "HTTP 400 invalid_parameter: check its number",
    (400, "limit_exceeded"): """
        HTTP 400 limit_exceeded: run the sync again later, and report it if it stays
        so""",
    (503, "backend_error"): "HTTP 503 backend_error",
}


@pytest.mark.parametrize(("status", "kind"), LINES)
def test_the_whole_line(status: int, kind: str | None) -> None:
    body = body_of(kind) if kind else b""
    told = str(errors.from_response(status, {}, body, "counter 1", NOW))
    assert told == " ".join(LINES[status, kind].split())


def test_a_date_to_wait_for_counts_from_the_answer() -> None:
    headers = {"Retry-After": "Sat, 31 Jan 2026 22:15:40 GMT"}
    error = errors.from_response(503, headers, b"", "counter 1", NOW)
    assert isinstance(error, errors.TransientError)
    assert error.retry_after == 10
    error = errors.from_response(503, headers, b"", "counter 1")
    assert isinstance(error, errors.TransientError)
    assert error.retry_after == 0
