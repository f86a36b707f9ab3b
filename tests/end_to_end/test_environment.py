"""The environment of a process: logging, time zone, language, folders."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.support import (
    PREFIX,
    assert_no_state_beyond_the_records,
    clean_environment,
    config_for,
    finish,
    invoke,
    run,
    running,
)

if t.TYPE_CHECKING:
    from pathlib import Path

    from sandbox import Sandbox


@pytest.mark.parametrize(
    "env",
    [
        {"LOGLEVEL": "", f"{PREFIX}LOGLEVEL": ""},
        {f"{PREFIX}LOGLEVEL": "warning"},
        {"LOGLEVEL": " warning\r"},
    ],
    ids=str,
)
def test_a_log_level_that_is_fine(
    api: Sandbox, tmp_path: Path, env: dict[str, str]
) -> None:
    api.add_counter(7, uploads=2)
    result = run(config_for(api, counter_id=7), tmp_path, env=env)
    assert (result.code, len(result.ids), result.errors) == (0, 2, [])
    assert ("INFO" in result.log) == ("warning" not in str(env))


@pytest.mark.parametrize("name", ["LOGLEVEL", f"{PREFIX}LOGLEVEL"])
def test_a_log_level_that_is_none_is_one_plain_line(
    api: Sandbox, tmp_path: Path, name: str
) -> None:
    result = run(config_for(api, counter_id=7), tmp_path, env={name: "loud"})
    assert (result.code, result.lines) == (1, [])
    (line,) = result.log.splitlines()
    assert name in line
    assert "Unexpected" not in line


def test_a_foreign_place(api: Sandbox, tmp_path: Path) -> None:
    """A folder that is read-only and has spaces, no home, no UTF-8, another zone."""
    uploads = {7: [1, 2]}
    api.add_counter(7)
    for upload_id in uploads[7]:
        api.add_upload(7, id=upload_id, comment="Звонки 📞")
    folder = tmp_path / "папка with spaces"
    folder.mkdir()
    config = folder / "my config.json"
    settings = config_for(api, counter_id=7, start_date="2026-01-01T00:00:00")
    config.write_text(json.dumps(settings), encoding="utf-8")
    folder.chmod(0o555)
    env = clean_environment(LANG="C", LC_ALL="C", TZ="Asia/Vladivostok")
    del env["HOME"]
    with running("--config", config, cwd=folder, env=env) as process:
        result = finish(process)
    assert (result.code, result.errors) == (0, [])
    assert sorted(result.ids) == uploads[7]  # a start_date without a zone is in UTC
    assert {record["comment"] for record in result.records()} == {"Звонки 📞"}
    assert result.bookmarks == {7: "2026-01-01T00:00:00Z"}
    assert_no_state_beyond_the_records(result, uploads)
    assert list(folder.iterdir()) == [config]


def test_a_kubernetes_service_of_that_name(api: Sandbox) -> None:
    api.add_counter(7, uploads=2)
    settings = config_for(api, counter_id=7)
    variables = {PREFIX + k.upper(): str(v) for k, v in settings.items()}
    service = {
        f"{PREFIX}SERVICE_HOST": "10.0.0.1",
        f"{PREFIX}PORT": "tcp://10.0.0.1:80",
        f"{PREFIX}PORT_80_TCP_PROTO": "tcp",
    }
    result = invoke("--config=ENV", env={**variables, **service})
    assert (result.code, len(result.ids), result.errors) == (0, 2, [])
    assert all(any(name in line for line in result.warnings) for name in service)
