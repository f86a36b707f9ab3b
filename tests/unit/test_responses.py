"""What a response means: the API's own words first, then the code."""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from requests.structures import CaseInsensitiveDict

from tap_metrika_calls.api import errors, limits
from tap_metrika_calls.api.responses import (
    COUNTERS,
    UPLOAD,
    UPLOADS,
    Response,
    decode,
)
from tap_metrika_calls.output.lines import GroupedLines
from tap_metrika_calls.sync.records import RecordDecoder

DATE = "Sat, 31 Jan 2026 22:15:30 GMT"
HTML = b"<html>CANARY</html>"
ANY_STATUS = [200, 204, 301, 400, 401, 403, 404, 420, 429, 500, 503, 504]


def response(status: int, body: bytes = HTML, **headers: str) -> Response:
    """A response whose headers are found in any case, with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CaseInsensitiveDict({"Date": DATE} | named), body)


def error_body(*error_types: object, **fields: object) -> bytes:
    """The documented body with these types of errors."""
    items = [{"error_type": kind, "message": "CANARY"} | fields for kind in error_types]
    return json.dumps({"errors": items, "code": 403, "message": "CANARY"}).encode()


def error_of(answer: Response) -> errors.MetrikaError:
    """The error that a response means."""
    with pytest.raises(errors.MetrikaError) as caught:
        decode(answer, UPLOADS)
    assert "CANARY" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


# The table of the documentation, beside what was seen.
DOCUMENTED = [
    (400, "invalid_parameter", errors.UnknownUploadError),
    (400, "missing_parameter", errors.RejectedError),
    (400, "limit_exceeded", errors.RejectedError),
    (401, "unauthorized", errors.FatalError),
    (401, "invalid_token", errors.FatalError),
    (401, "another_word", errors.FatalError),
    (403, "invalid_token", errors.FatalError),
    (403, "access_denied", errors.UnavailableError),
    (403, "another_word", errors.UnavailableError),
    (404, "not_found", errors.UnknownUploadError),
    (404, "another_word", errors.UnknownUploadError),
    (429, "quota_requests_by_ip", errors.TransientError),
    (420, "quota_requests_by_ip", errors.TransientError),
    (429, "quota_parallel_requests", errors.TransientError),
    (420, "quota_parallel_requests_by_uid", errors.TransientError),
    (429, "another_word", errors.TransientError),
    (420, "another_word", errors.TransientError),
    (429, "quota_requests_by_uid", errors.FatalError),
    (420, "quota_requests_by_uid", errors.FatalError),
    (429, "quota_requests_by_counter_id", errors.RejectedError),
    (420, "quota_requests_by_counter_id", errors.RejectedError),
    (500, "another_word", errors.TransientError),
    (503, "backend_error", errors.TransientError),
    (504, "timeout", errors.SlowError),
    (408, "another_word", errors.SlowError),
    (425, "another_word", errors.TransientError),
    (499, "another_word", errors.SlowError),
    (409, "another_word", errors.RejectedError),
    (301, "another_word", errors.RejectedError),
]


@pytest.mark.parametrize(("status", "error_type", "kind"), DOCUMENTED)
def test_a_documented_error(
    status: int, error_type: str, kind: type[errors.MetrikaError]
) -> None:
    error = error_of(response(status, error_body(error_type)))
    assert type(error) is kind
    assert f"HTTP {status} {error_type}" in str(error)


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("unauthorized", errors.FatalError),
        ("invalid_token", errors.FatalError),
        ("quota_requests_by_uid", errors.FatalError),
        ("quota_requests_by_counter_id", errors.RejectedError),
        ("quota_requests_by_ip", errors.TransientError),
        ("quota_parallel_requests", errors.TransientError),
        ("quota_parallel_requests_by_uid", errors.TransientError),
        ("backend_error", errors.TransientError),
        ("timeout", errors.SlowError),
        ("access_denied", errors.UnavailableError),
        ("not_found", errors.UnknownUploadError),
        ("invalid_parameter", errors.UnknownUploadError),
    ],
)
def test_a_known_error_type_decides_whatever_the_code(
    error_type: str, kind: type[errors.MetrikaError]
) -> None:
    for status in ANY_STATUS:
        error = error_of(response(status, error_body(error_type)))
        is_slow = kind is errors.TransientError and status in {408, 499, 504}
        assert type(error) is (errors.SlowError if is_slow else kind), status


def test_the_first_known_type_decides() -> None:
    body = error_body("another_word", "access_denied", "not_found")
    error = error_of(response(400, body))
    assert type(error) is errors.UnavailableError
    assert "HTTP 400 another_word access_denied not_found" in str(error)


@pytest.mark.parametrize(
    "error_type", ["a" * 65, "two words", "\u202e", "a\nb", "", "7x", "x<html>"]
)
def test_a_type_that_is_no_name_is_not_repeated(error_type: str) -> None:
    text = str(error_of(response(409, error_body(error_type))))
    assert text == "the API rejected the request (HTTP 409)"


FOREIGN_BODIES = [
    HTML,
    b"",
    b"Forbidden",
    b"[]",
    b"null",
    b'{"code": 404, "message": "no Route matched with those values"}',
    b'{"errors": []}',
    b'{"errors": null}',
    b'{"errors": "not_found"}',
    b'{"errors": ["not_found"]}',
    b'{"errors": [{"message": "not found"}]}',
    b'{"errors": [{"error_type": null}]}',
    b"[" * 100_000,
    b"\xff\xfe",
]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.OutageError),
        (401, errors.OutageError),
        (403, errors.OutageError),
        (404, errors.OutageError),
        (410, errors.OutageError),
        (407, errors.FatalError),
        (300, errors.FatalError),
        (302, errors.FatalError),
        (399, errors.FatalError),
        (408, errors.SlowError),
        (420, errors.TransientError),
        (425, errors.TransientError),
        (429, errors.TransientError),
        (499, errors.SlowError),
        (500, errors.TransientError),
        (502, errors.TransientError),
        (503, errors.TransientError),
        (504, errors.SlowError),
        (520, errors.TransientError),
        (599, errors.TransientError),
        (103, errors.TransientError),
        (201, errors.TransientError),
        (204, errors.TransientError),
        (206, errors.TransientError),
    ],
)
def test_only_the_error_body_is_the_apis_own_word(
    status: int, kind: type[errors.MetrikaError]
) -> None:
    for body in FOREIGN_BODIES:
        answer = response(status, body)
        error = error_of(answer)
        assert type(error) is kind, body
        assert f"HTTP {status}" in str(error)
        assert not answer.errors


def test_a_front_server_is_named_as_the_sender() -> None:
    assert str(error_of(response(403, b"Forbidden"))) == (
        "HTTP 403 without the API's error body: the response comes from a proxy or "
        "front server. Check api_url and the network"
    )


def test_a_proxy_that_demands_a_login_is_named() -> None:
    assert "HTTPS_PROXY" in str(error_of(response(407)))


@pytest.mark.parametrize(
    ("message", "location", "rejected"),
    [
        ("No object with specified ID.", None, None),
        ("", "", None),
        (None, None, None),
        (5, 7.5, "a parameter"),
        ("Wrong value", "id", None),
        ("Wrong value", "uploading_id", None),
        ("Wrong value", "counterId", None),
        ("Wrong value", "counter.ID", None),
        ("Wrong value of 'uploading_id'", None, None),
        ("Wrong value", "ulogin", "ulogin"),
        ("Wrong value", "offset", "offset"),
        ("Wrong value", "limit", "limit"),
        ("Invalid value of parameter 'ulogin'", None, "ulogin"),
        ('Invalid value of parameter "lang"', None, "lang"),
        ("Invalid value of parameter `limit`", None, "limit"),
        ("Неверное значение «offset»", None, "offset"),
        ("Wrong 'limit' beside 'id'", None, "limit"),
        ("Wrong 'id'", "limit", "limit"),
        ("Wrong 'ulogin'", "id", "ulogin"),
        ("Wrong value", "two words", "a parameter"),
        ("Wrong value", "x" * 65, "a parameter"),
    ],
)
def test_what_an_invalid_parameter_means(
    message: object, location: object, rejected: str | None
) -> None:
    body = error_body("invalid_parameter", message=message, location=location)
    error = error_of(response(400, body))
    if rejected is None:
        assert type(error) is errors.UnknownUploadError
        assert str(error) == "unknown (HTTP 400 invalid_parameter)"
    else:
        assert type(error) is errors.RejectedError
        expected = f"the API rejected {rejected} (HTTP 400 invalid_parameter)"
        assert str(error) == expected


@pytest.mark.parametrize(
    ("date", "left"),
    [
        (DATE, "1 h 44 min"),
        ("Sat, 31 Jan 2026 00:00:00 GMT", "24 h 00 min"),
        ("Sat, 31 Jan 2026 23:59:00 GMT", "0 h 01 min"),
        ("Sat, 31 Jan 2026 23:59:01 GMT", "0 h 00 min"),
        ("Sat, 31 Jan 2026 22:15:30 +0300", "4 h 44 min"),
    ],
)
def test_a_daily_quota_says_when_it_resets(date: str, left: str) -> None:
    login = response(429, error_body("quota_requests_by_uid"), Date=date)
    assert str(error_of(login)) == (
        "Daily API quota exceeded (HTTP 429 quota_requests_by_uid). It resets at "
        f"00:00 GMT, in {left}. Synced data is kept; the next run resumes from the "
        "saved state."
    )
    counter = response(429, error_body("quota_requests_by_counter_id"), Date=date)
    assert f"It resets at 00:00 GMT, in {left}" in str(error_of(counter))
    assert "of the counter" in str(error_of(counter))


def test_without_a_date_this_machine_says_when_a_quota_resets() -> None:
    answer = Response(429, {}, error_body("quota_requests_by_uid"))
    assert "It resets at 00:00 GMT, in " in str(error_of(answer))


def test_a_rejected_token_and_an_inaccessible_counter_say_what_to_do() -> None:
    token = str(error_of(response(401, error_body("unauthorized"))))
    assert "oauth_token" in token
    assert "metrika:read" in token
    counter = str(error_of(response(403, error_body("access_denied"))))
    assert "metrika:read" in counter


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://login.example/a?token=CANARY", "login.example"),
        ("https://user:CANARY@login.example/", "login.example"),
        ("/elsewhere", "an address without a host"),
        ("http://[", "an address without a host"),
        ("", "an address without a host"),
    ],
)
def test_a_redirect_names_the_host_alone(location: str, host: str) -> None:
    text = str(error_of(response(302, Location=location)))
    assert f"redirects to {host} (HTTP 302)" in text
    assert "api_url" in text


@pytest.mark.parametrize(
    ("status", "body", "is_slow"),
    [
        (408, HTML, True),
        (499, HTML, True),
        (504, HTML, True),
        (504, error_body("backend_error"), True),
        (200, error_body("timeout"), True),
        (503, error_body("timeout"), True),
        (503, HTML, False),
        (429, HTML, False),
        (425, HTML, False),
        (503, error_body("backend_error"), False),
        (200, HTML, False),
    ],
)
def test_what_a_smaller_page_may_help_against(
    status: int,
    body: bytes,
    is_slow: bool,  # noqa: FBT001
) -> None:
    error = error_of(response(status, body))
    assert isinstance(error, errors.TransientError)
    assert isinstance(error, errors.SlowError) is is_slow


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("600", 600),
        ("601", 600),
        ("999999999", 600),
        ("-1", 0),
        ("soon", 0),
        ("1e400", 0),
        ("nan", 0),
        ("", 0),
        ("Thu, 01 Jan 2015 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 600),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 2027 23:59:59 +99999999999999", 0),
    ],
)
def test_how_long_a_response_asks_to_wait(value: str, seconds: float) -> None:
    for body in (HTML, error_body("quota_requests_by_ip")):
        error = error_of(response(429, body, Retry_After=value))
        assert isinstance(error, errors.TransientError)
        assert error.retry_after == seconds


def retry_after(answer: Response) -> float:
    """How long a response asks to wait, as its error says."""
    error = error_of(answer)
    assert isinstance(error, errors.TransientError)
    return error.retry_after


def test_a_number_with_too_many_digits_is_no_error() -> None:
    assert retry_after(response(503, Retry_After="9" * 400)) in {0, 600}
    assert retry_after(response(503, Retry_After="9" * 5_000)) in {0, 600}


def test_a_date_to_wait_for_counts_from_now() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    text = soon.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 90 < retry_after(response(503, Retry_After=text)) <= 100
    assert retry_after(response(503)) == 0
    assert limits.MAX_RETRY_AFTER == 600


# What is read.


def rows_of(body: bytes) -> list[msgspec.Raw]:
    """The uploads of a page."""
    return decode(response(200, body), UPLOADS).uploadings or []


def test_bodies_are_decoded_to_raw_objects() -> None:
    one = decode(response(200, b'{"uploading": {"id": 5}}'), UPLOAD)
    assert bytes(one.uploading) == b'{"id": 5}'
    many = decode(response(200, b'{"uploadings": [{"id": 5}, null]}'), UPLOADS)
    assert [bytes(raw) for raw in many.uploadings or ()] == [b'{"id": 5}', b"null"]
    counters = decode(response(200, b'{"rows": 1, "counters": [{}]}'), COUNTERS)
    assert [bytes(raw) for raw in counters.counters or ()] == [b"{}"]


def test_null_is_an_empty_list() -> None:
    assert decode(response(200, b'{"uploadings": null}'), UPLOADS).uploadings is None
    assert decode(response(200, b'{"counters": null}'), COUNTERS).counters is None


def test_a_byte_order_mark_is_no_damage() -> None:
    body = b'\xef\xbb\xbf{"uploadings": []}'
    assert decode(response(200, body), UPLOADS).uploadings == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"uploadings": {}}',
        b'{"uploading": {}}',
        HTML,
        '{"uploadings": [{"comment": "Звонки"}]}'.encode("cp1251"),
        b'{"uploadings": [{"id": 1}',
        b'{"uploadings": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    ],
)
def test_a_body_that_is_not_the_expected_json_may_pass(body: bytes) -> None:
    answer = response(200, body)
    error = error_of(answer)
    assert type(error) is errors.TransientError
    expected = f"HTTP 200 with {len(body)} bytes that are not the expected JSON"
    assert str(error) == expected
    assert not answer.errors


def test_whose_word_a_response_is() -> None:
    own = response(403, error_body("access_denied", "x"))
    assert [error.error_type for error in own.errors] == ["access_denied", "x"]
    assert not response(200, b'{"uploadings": []}').errors


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (DATE, datetime(2026, 1, 31, 22, 15, 30, tzinfo=UTC)),
        (
            "Sat, 31 Jan 2026 22:15:30 +0300",
            datetime(2026, 1, 31, 19, 15, 30, tzinfo=UTC),
        ),
        (
            "Sat, 31 Jan 2026 22:15:30 -0000",
            datetime(2026, 1, 31, 22, 15, 30, tzinfo=UTC),
        ),
        ("", None),
        ("yesterday", None),
        ("Fri, 99 Foo 2026 99:99:99 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_the_time_of_the_server(value: str, instant: datetime | None) -> None:
    assert response(200, Date=value).date == instant


def test_without_a_date_header_there_is_no_time_of_the_server() -> None:
    assert Response(200, {}, b"").date is None


def test_headers_are_found_in_any_case() -> None:
    headers: t.Any = CaseInsensitiveDict({"date": DATE, "retry-after": "5"})
    answer = Response(503, headers, b"")
    assert answer.date is not None
    assert retry_after(answer) == 5


def test_what_is_raw_keeps_numbers_of_any_size() -> None:
    body = b'{"uploadings": [{"id": 1, "comment": 123456789012345678901234567890}]}'
    raw = rows_of(body)[0]
    assert isinstance(raw, msgspec.Raw)
    assert b"123456789012345678901234567890" in bytes(raw)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83d\ude00", "😀"),
        (r"\\ud83d", r"\ud83d"),
    ],
)
def test_half_a_surrogate_pair_is_no_damage(escaped: str, text: str) -> None:
    body = f'{{"uploadings": [{{"id": 1, "comment": "{escaped}"}}]}}'.encode()
    raw = rows_of(body)[0]
    types = {"id": "integer", "create_time": "date-time", "comment": "string"}
    decoder = RecordDecoder(types, GroupedLines())
    assert decoder.decode(raw).comment == text
