"""A load and a report in one run of Meltano."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from sandbox import TOKEN, Sandbox
from tests.end_to_end.meltano import project_in
from tests.support import PREFIX
from tests.transform.conftest import ROOT, dbt_python

if t.TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(280)

__all__ = ["dbt_python"]  # a fixture


def test_a_load_and_its_report_in_one_run(tmp_path: Path, dbt_python: Path) -> None:
    project = project_in(tmp_path)
    definition = yaml.safe_load((tmp_path / "meltano.yml").read_text("utf-8"))
    (report,) = definition["plugins"]["utilities"]
    del report["pip_url"]
    report["executable"] = str(dbt_python)
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(definition), "utf-8")
    (tmp_path / "transform").symlink_to(ROOT / "transform")
    with Sandbox(counters=0, epoch=datetime.now(UTC).replace(microsecond=0)) as api:
        api.add_counter(7)
        hours_ago = (api.now() - timedelta(hours=3)).isoformat()
        api.add_upload(7, id=2, create_time=hours_ago, status="UPLOADED")
        out = project.run(
            "meltano run tap-metrika-calls target-duckdb report",
            DBT_TARGET_PATH=str(tmp_path / "target"),
            DBT_LOG_PATH=str(tmp_path / "logs"),
            **{f"{PREFIX}OAUTH_TOKEN": TOKEN, f"{PREFIX}API_URL": api.url},
        )
    assert "Report: report.html, in Russian: report.ru.html" in out
    page = (tmp_path / "report.html").read_text("utf-8")
    stuck = page.partition('<article id="stuck">')[2].partition("</article>")[0]
    assert '<th scope="row">7</th><td>2</td>' in stuck.replace("\n", "")
