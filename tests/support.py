"""Runs the tap, in this process or as one of its own, and reads what it wrote."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import typing as t
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import msgspec

from sandbox import TOKEN
from tap_metrika_calls import cli, termination
from tap_metrika_calls.tap import TapMetrikaCalls

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sandbox import Sandbox

JSON: t.TypeAlias = dict[str, t.Any]
RecordProperty: t.TypeAlias = Callable[[str, object], None]

TAP = Path(sys.executable).with_name("tap-metrika-calls")
PREFIX = "TAP_METRIKA_CALLS_"
CALLS = "calls_uploadings"
# What a run may change about this process, beside its logging.
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGCHLD,
)
LOG_LINE = re.compile(
    r"^\S+ \S+ +\| (?P<level>[A-Z]+) +\| [^|]+ \| (?P<message>.*)$", re.MULTILINE
)


@dataclass
class Run:
    """What one run of the tap wrote.

    Attributes:
        code: Exit code.
        lines: Standard output.
        log: Standard error.
    """

    code: int
    lines: list[str]
    log: str = ""

    def _logged(self, *levels: str) -> list[str]:
        found = LOG_LINE.finditer(self.log)
        return [line["message"] for line in found if line["level"] in levels]

    @property
    def errors(self) -> list[str]:
        """The log's lines at ERROR."""
        return self._logged("ERROR", "CRITICAL")

    @property
    def warnings(self) -> list[str]:
        """The log's lines at WARNING."""
        return self._logged("WARNING")

    @functools.cached_property
    def messages(self) -> list[JSON]:
        """All Singer messages; each line has to be one."""
        return [msgspec.json.decode(line) for line in self.lines]

    def of_type(self, *types: str) -> list[JSON]:
        """The messages of these types, in order."""
        return [message for message in self.messages if message["type"] in types]

    def records(self, stream: str = CALLS) -> list[JSON]:
        """The records of a stream, in order."""
        return [m["record"] for m in self.of_type("RECORD") if m["stream"] == stream]

    @property
    def ids(self) -> list[int]:
        """The IDs of the uploads of calls, in order."""
        return [record["id"] for record in self.records()]

    @property
    def keys(self) -> set[tuple[int, int]]:
        """The keys of the uploads of calls."""
        return {(record["counter_id"], record["id"]) for record in self.records()}

    @property
    def states(self) -> list[JSON]:
        """All states, in order."""
        return [message["value"] for message in self.of_type("STATE")]

    @property
    def state(self) -> JSON:
        """The last state."""
        return self.states[-1]

    @property
    def bookmarks(self) -> dict[int, str]:
        """The bookmark of each counter in the last state."""
        return bookmarks_of(self.state)


def bookmarks_of(state: Mapping[str, t.Any], stream: str = CALLS) -> dict[int, str]:
    """Return the bookmark of each counter that has one in a state."""
    partitions = state.get("bookmarks", {}).get(stream, {}).get("partitions", ())
    return {
        partition["context"]["counter_id"]: partition["replication_key_value"]
        for partition in partitions
        if "replication_key_value" in partition
    }


def assert_no_state_beyond_the_records(
    run: Run, uploads: Mapping[int, Collection[int]]
) -> None:
    """Assert that a counter has a bookmark only behind the last of its records.

    Args:
        run: A run without a state to start with.
        uploads: The IDs of all uploads, by counter.
    """
    missing = {counter_id: set(ids) for counter_id, ids in uploads.items()}
    for message in run.messages:
        if message["type"] == "RECORD" and message["stream"] == CALLS:
            missing[message["record"]["counter_id"]].discard(message["record"]["id"])
        elif message["type"] == "STATE":
            for counter_id in bookmarks_of(message["value"]):
                assert not missing[counter_id], f"counter {counter_id}"


def config_for(api: Sandbox, **settings: object) -> JSON:
    """Return a configuration that reads a sandbox."""
    return {"oauth_token": TOKEN, "api_url": api.url, **settings}


def catalog_of(*streams: str, **root: object) -> JSON:
    """Return a catalog that selects these streams.

    Args:
        streams: The streams to select, and no others.
        root: Metadata for the root of each stream, such as `replication-method`.
    """
    catalog: JSON = json.loads(_discovered())
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
                entry["metadata"] |= root
    return catalog


@functools.cache
def _discovered() -> str:
    run = invoke("--discover")
    assert run.code == 0, run.log
    return "\n".join(run.lines)


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment without settings of the tap, and with these variables."""
    ours = {"LOGLEVEL", "PYTHONUNBUFFERED", "SINGER_SDK_LOG_CONFIG"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX) and name not in ours
    }
    return {**kept, **variables}


def sync(
    config: object,
    state: object = None,
    catalog: object = None,
    *arguments: str,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the command in this process, where standard output has no descriptor.

    Args:
        config: The content of the file of `--config`; a string is written as it is.
        state: The content of the file of `--state`, if any.
        catalog: The content of the file of `--catalog`, if any.
        arguments: More arguments.
        env: More environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = _options(Path(folder), config=config, state=state, catalog=catalog)
        return invoke(*options, *arguments, env=env)


def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """Run the command in this process with these arguments."""
    out = io.TextIOWrapper(_Kept(), encoding="utf-8", write_through=True)
    log = io.StringIO()
    variables = clean_environment(**(env or {}))
    with (
        mock.patch.dict(os.environ, variables, clear=True),
        as_a_process_of_its_own(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(log),
    ):
        termination.install()
        code = cli.run(TapMetrikaCalls, list(arguments))
    written = t.cast("io.BytesIO", out.buffer).getvalue().decode()
    return Run(code, written.splitlines(), log.getvalue())


def run(
    config: object,
    folder: Path,
    *arguments: str,
    state: object = None,
    catalog: object = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the installed tap, with its files and its working directory in a folder."""
    options = _options(folder, config=config, state=state, catalog=catalog)
    environment = clean_environment(**(env or {}))
    return finish(start(*options, *arguments, cwd=folder, env=environment))


def _heed_signals() -> None:
    """Let signals end the tap also where the tests run under nohup, or behind a `&`."""
    for signum in (signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)


def start(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
    wrapper: str | None = None,
) -> subprocess.Popen[str]:
    """Start the installed tap.

    Args:
        arguments: Its arguments.
        cwd: Its working directory.
        env: The whole environment.
        stdout: Where its standard output goes.
        wrapper: What a shell is to do around it, such as `exec "$@" 2>&-`.
    """
    prefix = ["sh", "-c", wrapper, "sh"] if wrapper else []
    return subprocess.Popen(
        [*prefix, TAP, *arguments],
        cwd=cwd,
        env=dict(env) if env is not None else clean_environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_signals,  # noqa: PLW1509
        text=True,
        encoding="utf-8",
    )


@contextlib.contextmanager
def running(
    *arguments: str | Path, **options: t.Any
) -> Iterator[subprocess.Popen[str]]:
    """Start the installed tap as `start` does, and leave nothing running behind."""
    with start(*arguments, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str], timeout: float = 60) -> Run:
    """Wait for a started tap, and read what it wrote."""
    try:
        out, log = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return Run(process.returncode, (out or "").splitlines(), log or "")


class _Kept(io.BytesIO):
    """Keeps what was written, whoever closes it."""

    def close(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def as_a_process_of_its_own() -> Iterator[None]:
    """Undo what a run changes about the process: signals, logging, warnings."""
    root, logger = logging.getLogger(), TapMetrikaCalls.logger
    level, handlers = root.level, list(root.handlers)
    handled = {signum: signal.getsignal(signum) for signum in SIGNALS}
    wakeup = signal.set_wakeup_fd(-1)
    hook = sys.excepthook
    with warnings.catch_warnings(), mock.patch.object(termination, "_received", None):
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)
            root.setLevel(level)
            root.handlers[:] = handlers
            logger.filters.clear()
            for signum, handler in handled.items():
                signal.signal(signum, handler)
            signal.set_wakeup_fd(wakeup)
            sys.excepthook = hook


def _options(folder: Path, **contents: object) -> list[str]:
    options = []
    for name, content in contents.items():
        if content is not None:
            path = folder / f"{name}.json"
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
            options += [f"--{name}", str(path)]
    return options
