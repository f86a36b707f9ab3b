"""The page in a real browser: what it loads, and whether its numbers are right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from collections import Counter
from pathlib import Path

import pytest

from tests.transform.cases import COMMENT, NAME

if t.TYPE_CHECKING:
    from tests.transform.cases import JSON
    from tests.transform.conftest import Builds

HERE = Path(__file__).parent
NONE = "\N{EN DASH}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(
        CHROMIUM is None and "REQUIRE_BROWSER" not in os.environ,
        reason="needs Chromium or Chrome",
    ),
]


@pytest.fixture(scope="module")
def seen(builds: Builds, dbt_python: Path) -> list[JSON]:
    """What a browser saw of the page in each language and colour scheme."""
    assert CHROMIUM, "a browser is required here"
    pages = [builds.folder / name for name in ("page.html", "page.ru.html", "odd.html")]
    command: list[str | Path] = [dbt_python, HERE / "browser.py", CHROMIUM, *pages]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found: list[JSON] = json.loads(out)
    return found


def test_the_page_loads_nothing_and_violates_nothing(seen: list[JSON]) -> None:
    assert [(page["language"], page["scheme"]) for page in seen] == [
        (language, scheme)
        for language in ("en", "ru", "en")
        for scheme in ("light", "dark")
    ]
    for page in seen:
        assert len(page["requests"]) == 1, page["requests"]
        assert page["messages"] == []
        assert page["scripts"] == 0
        assert page["width"] <= 0, "it scrolls sideways"
        assert page["focused"] == "#attention"
    assert len({page["ground"] for page in seen}) == 2
    assert [page["violations"] for page in seen] == [[], None, None, [], [], None]


def test_the_numbers_are_those_of_the_database(
    seen: list[JSON], builds: Builds
) -> None:
    world = builds.main.world
    # Two uploads were processed between the builds.
    reasons = Counter(
        case.attention
        for case in world.everything
        if case.attention and (case.stream, case.fields["id"]) != ("calls", 1)
    )
    for page in seen[:4]:
        assert {k: int(v) for k, v in page["counts"].items()} == reasons
        assert int(page["tiles"]["attention-uploads"]) == reasons.total()
        assert int(page["tiles"]["silent-counters"]) == 1
        for reason, count in reasons.items():
            assert len(page["tables"][reason]) == count
    english, russian = seen[0], seen[2]
    days = english["tables"]["days"]
    assert len(days) == 90
    dated = [case for case in world.everything if case.fields.get("create_time")]
    assert sum(int(row[1]) for row in days) == len(dated)
    lines = sum(case.fields["line_quantity"] for case in dated)
    assert sum(int(row[4].replace(NONE, "0")) for row in days) == lines
    assert english["bars"] == sum(row[4] not in {NONE, "0"} for row in days)
    month = sum(
        int(row[-5 if len(row) == 7 else -4]) for row in english["tables"]["counters"]
    )
    assert month == int(english["tiles"]["month-uploads"])
    assert "1 h" in english["tables"]["times"][0][0].replace("\xa0", " ")
    # One was processed within two hours at most, the other within four.
    assert [row[1] for row in english["tables"]["times"]] == ["0", "1", "2", "2", "2"]
    assert [row[1] for row in russian["tables"]["times"]] == ["0", "1", "2", "2", "2"]


def test_anything_is_shown_as_text(seen: list[JSON]) -> None:
    page = seen[0]
    (silent,) = page["tables"]["silent"]
    assert silent[0].startswith(NAME)
    (rejected,) = page["tables"]["rows_rejected"]
    assert rejected[-1] == COMMENT.strip()
