"""One run of Meltano: its environment, its end, and what its failure means."""

from __future__ import annotations

import sys
import threading
import typing as t

import pytest
import yaml

from orchestrate.accounts import DEFAULT_LOADER, FOLDER
from orchestrate.meltano import (
    DATABASE,
    OWN_SETTINGS,
    PREFIX,
    PROJECT,
    FinalRunError,
    Run,
    RunError,
    environment,
    load_command,
    remove_left_files,
    report_settings,
)
from sandbox import TOKEN, Sandbox
from tests.support import TAP, clean_environment

if t.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "meltano.yml").touch()
    monkeypatch.setenv(PROJECT, str(tmp_path))
    monkeypatch.setenv(DATABASE, "postgresql://")
    return tmp_path


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_environment_of_a_run_is_its_own() -> None:
    inherited = {
        "PATH": "/bin",
        "AIRFLOW_CONN_OTHER": "secret",
        "_AIRFLOW_X": "secret",
        PREFIX + "API_URL": "http://127.0.0.1",
        **{PREFIX + name: "of another login" for name in OWN_SETTINGS},
    }
    assert environment(inherited, {"OAUTH_TOKEN": "mine"}) == {
        "PATH": "/bin",
        "NO_COLOR": "1",
        PREFIX + "API_URL": "http://127.0.0.1",
        PREFIX + "OAUTH_TOKEN": "mine",
    }


def test_the_command_holds_no_secret_and_names_the_state() -> None:
    assert load_command("shop", "target-postgres") == [
        "meltano",
        "el",
        "--force",
        "--state-id=shop",
        "tap-metrika-calls",
        "target-postgres",
    ]


def test_the_report_is_about_the_warehouse_that_is_loaded() -> None:
    profiles = yaml.safe_load(
        (FOLDER.parent / "transform" / "profiles.yml").read_text("utf-8")
    )
    ((variable, engine),) = report_settings(DEFAULT_LOADER).items()
    assert variable in profiles["metrika_calls"]["target"]
    assert profiles["metrika_calls"]["outputs"][engine]["type"] == "postgres"


def test_what_a_killed_load_left_is_deleted_of_this_login_alone(project: Path) -> None:
    folder = project / ".meltano" / "run" / "elt"
    for login in ("shop", "shop2"):
        (folder / login / "run").mkdir(parents=True)
        (folder / login / "run" / "tap.1.config.json").touch()
    remove_left_files("shop")
    assert [path.parts[-3] for path in folder.rglob("*.json")] == ["shop2"]
    remove_left_files("new")


def test_what_a_command_prints_is_logged() -> None:
    lines: list[str] = []
    code = "import sys; print('a'); print('b', file=sys.stderr)"
    Run(lines.append).run(python(code), {})
    assert sorted(lines) == ["a", "b"]


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("", "nothing was printed"),
        ("first\nlast\n", "last"),
        (
            (
                "2026 [info     ] meltano      Running\n"
                "2026 [error    ] tap-metrika-calls The reason\n"
                "2026 [error    ] meltano      Extraction failed\n"
                "a traceback\n"
            ),
            "tap-metrika-calls The reason",
        ),
    ],
)
def test_a_failure_gives_its_reason_and_may_be_tried_again(
    printed: str, reason: str
) -> None:
    code = f"print({printed!r}, end=''); raise SystemExit(3)"
    with pytest.raises(RunError) as caught:
        Run(print).run(python(code), {})
    assert str(caught.value) == f"{reason} (exit code 3)"
    assert not isinstance(caught.value, FinalRunError)


def test_a_run_that_is_stopped_ends_with_all_it_started() -> None:
    child = "import signal, time; print('started', flush=True); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    run = Run(lambda line: run.stop() if line == "started" else None)
    watchdog = threading.Timer(60, run.stop)
    watchdog.start()
    with pytest.raises(RunError, match="code -15"):
        run.run(python(code), {})
    assert watchdog.is_alive()
    watchdog.cancel()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (PROJECT, "/nowhere", "No Meltano project in /nowhere on this worker"),
        (DATABASE, "", "MELTANO_DATABASE_URI is not set on this worker"),
    ],
)
def test_a_worker_that_is_not_set_up(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match=expected):
        Run(print).run(python(""), {})


def test_a_worker_without_meltano() -> None:
    with pytest.raises(
        RunError, match=r"^no-such-meltano cannot be run on this worker"
    ):
        Run(print).run(["no-such-meltano"], {})


def test_what_the_tap_says_decides_whether_to_try_again(api: Sandbox) -> None:
    """The words of the tap are those that are looked for."""
    api.add_counter(7, 1)

    def failure(token: str = TOKEN) -> type[Exception]:
        settings = {"API_URL": api.url, "OAUTH_TOKEN": token, "MAX_ATTEMPTS": "1"}
        with pytest.raises(RunError) as caught:
            Run(print).run(
                [str(TAP), "--config=ENV"], environment(clean_environment(), settings)
            )
        return caught.type

    assert failure("wrong") is FinalRunError
    api.fail("503", times=1)
    assert failure() is RunError
    assert api.quotas
    api.quotas.per_day = 0
    assert failure() is FinalRunError
