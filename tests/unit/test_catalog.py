"""What a catalog means."""

from __future__ import annotations

import typing as t
from copy import deepcopy
from types import SimpleNamespace

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_metrika_calls.catalog import declared_types, normalize_catalog

if t.TYPE_CHECKING:
    from tests.support import JSON

STREAMS: dict[str, t.Any] = {
    "calls": SimpleNamespace(
        primary_keys=("counter_id", "id"), replication_key="create_time"
    ),
    "counters": SimpleNamespace(primary_keys=("id",), replication_key=None),
}
DOCUMENTED: JSON = {
    "properties": {
        "id": {"type": "integer"},
        "create_time": {"type": ["string", "null"], "format": "date-time"},
        "comment": {"type": ["string", "null"]},
        "quantity": {"type": ["integer", "null"]},
    }
}
OWN = {
    "id": "integer",
    "create_time": "date-time",
    "comment": "string",
    "quantity": "integer",
}


def entry(name: str = "calls", *metadata: JSON, **more: t.Any) -> JSON:
    return {
        "tap_stream_id": name,
        "schema": deepcopy(DOCUMENTED),
        "metadata": list(metadata),
        **more,
    }


def metadata(*breadcrumb: str, **values: t.Any) -> JSON:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return {"breadcrumb": list(breadcrumb), "metadata": named}


def normalized(stream: JSON) -> JSON:
    before = deepcopy(stream)
    (made,) = normalize_catalog({"streams": [stream]}, STREAMS).to_dict()["streams"]
    assert stream == before, "the catalog of the caller was changed"
    return t.cast("JSON", made)


def errors_of(function: t.Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigValidationError) as error:
        function()
    assert all("\n" not in line for line in error.value.errors)
    return list(error.value.errors)


# Methods, keys, names.


@pytest.mark.parametrize("method", ["INCREMENTAL", "FULL_TABLE", None])
def test_a_replication_method_may_stand_in_three_places(method: str | None) -> None:
    places = [
        entry("calls", metadata(replication_method=method)),
        entry("calls", metadata(forced_replication_method=method)),
        entry("calls", replication_method=method),
    ]
    for stream in places:
        assert normalized(stream).get("replication_method") == method


def test_metadata_comes_before_the_field_beside_it() -> None:
    stream = entry(
        "calls",
        metadata("properties", "id", replication_method="x"),
        metadata(replication_method="FULL_TABLE", forced_replication_method="x"),
        replication_method="INCREMENTAL",
    )
    stream["metadata"][1]["metadata"]["forced-replication-method"] = None
    assert normalized(stream)["replication_method"] == "FULL_TABLE"


@pytest.mark.parametrize("method", ["LOG_BASED", "full_table", "", 5, [], False])
@pytest.mark.parametrize("name", ["replication_method", "forced_replication_method"])
def test_an_unknown_method_is_refused(method: object, name: str) -> None:
    stream = entry("calls", metadata(**{name: method}))
    (line,) = errors_of(lambda: normalized(stream))
    assert "'calls'" in line
    assert "INCREMENTAL or FULL_TABLE" in line
    assert "LOG_BASED" not in line


def test_keys_cannot_be_changed_or_deselected() -> None:
    stream = entry(
        "calls",
        metadata("properties", "id", selected=False),
        metadata("properties", "comment", selected=False),
        key_properties=["comment"],
        replication_key="comment",
    )
    made = normalized(stream)
    assert list(made["key_properties"]) == ["counter_id", "id"]
    assert metadata("properties", "comment", selected=False) in made["metadata"]
    assert made["replication_key"] == "create_time"
    for key in ("counter_id", "id"):
        (about,) = [m for m in made["metadata"] if m["breadcrumb"][1:] == [key]]
        assert about["metadata"] == {"inclusion": "automatic"}


def test_the_id_of_a_stream_is_its_name() -> None:
    assert normalized(entry("calls", stream="renamed"))["stream"] == "calls"


def test_streams_of_others_are_left_out() -> None:
    catalog = {"streams": [entry("unknown"), entry("counters"), entry("calls")]}
    made = normalize_catalog(catalog, STREAMS).streams
    assert [stream.stream for stream in made] == ["counters", "calls"]
    assert normalize_catalog({"streams": []}, STREAMS).streams == []


@pytest.mark.parametrize(
    "catalog",
    [
        None,
        5,
        [],
        "x",
        {},
        {"streams": None},
        {"streams": 5},
        {"streams": [5]},
        {"streams": [{}]},
        {"streams": [{"tap_stream_id": "calls"}]},
        {"streams": [entry(schema=None)]},
        {"streams": [entry(schema={})]},
        {"streams": [entry(schema={"properties": {}})]},
        {"streams": [entry(schema={"properties": {"id": 5}})]},
        {"streams": [entry("calls", {})]},
        {"streams": [entry("calls", {"breadcrumb": []})]},
        {"streams": [entry("calls", {"breadcrumb": [], "metadata": None})]},
        {"streams": [entry(metadata=5)]},
        {"streams": [entry([])]},  # type: ignore[arg-type]
    ],
)
def test_what_is_no_catalog_is_one_line(catalog: t.Any) -> None:
    (line,) = errors_of(lambda: normalize_catalog(catalog, STREAMS))
    assert "--discover" in line


# Types.


def types_of(**schemas: JSON) -> dict[str, str]:
    declared = {"properties": {**DOCUMENTED["properties"], **schemas}}
    return declared_types("calls", DOCUMENTED, declared, ("id",))


def test_own_types() -> None:
    assert types_of() == OWN
    assert declared_types("calls", DOCUMENTED, {"properties": {}}, ("id",)) == OWN


TYPES = [
    ("id", ["integer"], "integer"),
    ("id", "integer", "integer"),
    ("id", ["integer", "null"], "integer"),
    ("id", ["string", "integer"], "integer"),
    ("id", ["string"], "text"),
    ("id", "string", "text"),
    ("id", ["string", "null"], "text"),
    ("id", ["number"], None),
    ("id", ["boolean"], None),
    ("id", "null", None),
    ("quantity", ["integer", "null"], "integer"),
    ("quantity", ["null", "string", "integer"], "integer"),
    ("quantity", ["string", "null"], "text"),
    ("quantity", ["number", "null"], "number"),
    ("quantity", ["number", "string", "null"], "text"),
    ("quantity", ["integer"], None),
    ("quantity", "integer", None),
    ("quantity", ["boolean", "null"], None),
    ("quantity", [], None),
    ("quantity", 5, None),
    ("quantity", [{}, 5], None),
    ("comment", ["string", "null"], "string"),
    ("comment", ["integer", "string", "null"], "string"),
    ("comment", ["string"], None),
    ("comment", ["integer", "null"], None),
    ("comment", ["object", "null"], None),
    ("create_time", ["string", "null"], "date-time"),
    ("create_time", ["integer", "null"], None),
    ("create_time", ["string"], None),
]


@pytest.mark.parametrize(("column", "types", "kind"), TYPES)
def test_a_type_of_its_own(column: str, types: object, kind: str | None) -> None:
    schema = {"type": types, "description": "x"}
    if kind is not None:
        assert types_of(**{column: schema}) == {**OWN, column: kind}
        return
    (line,) = errors_of(lambda: types_of(**{column: schema}))
    assert f"'{column}'" in line
    assert "'calls'" in line
    assert ("null" in line) is (column != "id")


@pytest.mark.parametrize(
    ("column", "form", "is_taken"),
    [
        ("create_time", "date-time", True),
        ("create_time", "date", False),
        ("comment", "uuid", False),
        ("comment", "date-time", False),
        ("quantity", "int64", False),
    ],
)
def test_a_format_of_its_own(
    column: str,
    form: str,
    is_taken: bool,  # noqa: FBT001
) -> None:
    kind = "integer" if column == "quantity" else "string"
    schema = {"type": [kind, "null"], "format": form}
    if is_taken:
        assert types_of(**{column: schema}) == OWN
    else:
        assert len(errors_of(lambda: types_of(**{column: schema}))) == 1


def test_every_wrong_column_is_a_line() -> None:
    wrong = {"comment": {"type": "string"}, "x\ny": {"type": "string"}, "id": {}}
    lines = errors_of(lambda: types_of(**wrong))
    assert len(lines) == 3
    assert any("unknown column 'x\\ny'" in line for line in lines)
