"""Processes, and the machines that they run on."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"
IP = shutil.which("ip") or ""
MARK = "TRY_AIRFLOW"
NETWORK = "10.77"  # inside of network namespaces of our own
HUB = "TRY_AIRFLOW_HUB"  # also of a variable


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_port(port: int, seconds: float = 60) -> None:
    """Wait until something listens on a port.

    Raises:
        TimeoutError: If nothing does.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.2)
    message = f"Nothing listens on port {port}"
    raise TimeoutError(message)


@dataclass
class Machine:
    """Where processes run: this machine, or a network namespace with its own address.

    Attributes:
        name: For logs and marks.
        folder: For its files.
        prefix: Command that enters its network namespace.
        env: What all of its processes get.
    """

    name: str
    folder: Path
    prefix: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)
    kills: int = 0
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        user: str | None = None,
        **env: str,
    ) -> subprocess.Popen[bytes]:
        """Start a process that logs into a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.prefix, *command],
                cwd=self.folder,
                env=self._environment(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
            )
        self.roots.append(process.pid)
        return process

    def run(self, name: str, command: Sequence[str | Path], **env: str) -> None:
        """Run a command to its end.

        Raises:
            RuntimeError: If it fails.
        """
        process = self.start(name, command, **env)
        if code := process.wait(600):
            log = (self.folder / f"{name}.log").read_text("utf-8", "replace")
            message = f"{name} ended with code {code}: {log[-2000:]}"
            raise RuntimeError(message)

    def kill(self) -> int:
        """Kill each process with all it started, at once; how many there were."""
        killed: set[int] = set()
        while family := self._family():  # again: one may have forked meanwhile
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= family
            time.sleep(0.1)
        self.roots.clear()
        self.kills += 1
        return len(killed)

    def core_seconds(self) -> float:
        """Return the seconds of one core that all that ran here has taken so far."""
        ticks = 0
        for pid in self._family():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
                # Its own, and those of its children that have ended.
                ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**self.env, MARK: self.mark, **env}

    def _family(self) -> set[int]:
        """Return all that runs here: some give up their parents, some their marks."""
        parents: dict[int, int] = {}
        marked = set(self.roots)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(folder.name)
                stat = (folder / "stat").read_text("utf-8", "replace")
                state, parent, *_ = stat.rpartition(")")[2].split()
                if state == "Z":
                    continue
                parents[pid] = int(parent)
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    marked.add(pid)
        family = marked & parents.keys()
        while (
            more := {pid for pid, parent in parents.items() if parent in family}
            - family
        ):
            family |= more
        return family


def is_inside() -> bool:
    """Whether this process runs inside the hub's namespace."""
    return HUB in os.environ


@contextlib.contextmanager
def hub() -> Iterator[bool]:
    """Make a network namespace for all services, where that is possible.

    Yields:
        Whether it was made.
    """
    if os.geteuid() or not IP:
        yield False
        return
    for left in (HUB, *map(namespace, (1, 2))):
        _remove(left)
    if _ip("netns", "add", HUB, check=False):
        yield False
        return
    try:
        _ip("-n", HUB, "link", "set", "lo", "up")
        yield True
    finally:
        _remove(HUB)


def enter_hub() -> int:
    """Run this program inside the hub; its exit code."""
    command = (IP, "netns", "exec", HUB, sys.executable, "-m", __package__)
    environment = {**os.environ, HUB: "1"}
    with subprocess.Popen(
        [*command, *sys.argv[1:]], cwd=ROOT, env=environment, process_group=0
    ) as process:
        try:
            return process.wait()
        finally:
            process.terminate()  # it stops what it started


def namespace(number: int) -> str:
    """Return the name of the network namespace of a machine."""
    return f"try-airflow-{number}"


def _remove(name: str) -> None:
    """Remove a network namespace, also one that a killed run has left behind."""
    found = subprocess.run(
        [IP, "netns", "pids", name], check=False, capture_output=True, text=True
    )
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _ip("netns", "del", name, check=False)


def _ip(*arguments: str, check: bool = True) -> int:
    return subprocess.run(
        [IP, *arguments], check=check, stderr=None if check else subprocess.DEVNULL
    ).returncode


@contextlib.contextmanager
def remote(
    number: int, folder: Path, env: Mapping[str, str], ports: Sequence[int], api: int
) -> Iterator[Machine]:
    """Make a machine whose requests come from an address of its own.

    Args:
        number: Of the machine.
        folder: For its files.
        env: What its processes get.
        ports: Of services on the hub.
        api: Port of the API on the hub.

    Yields:
        The machine.
    """
    name = namespace(number)
    gateway = (sys.executable, "-m", "scripts.try_airflow.gateway")
    if not is_inside():
        source, port = f"127.0.0.{number + 1}", free_port()
        machine = Machine(name, folder, env={**env})
        pairs = [f"127.0.0.1:{port}=127.0.0.1:{api}"]
    else:
        _ip("netns", "add", name)
        hub, source = f"{NETWORK}.{number}.1", f"{NETWORK}.{number}.2"
        _ip("link", "add", f"hub{number}", "type", "veth", "peer", "name", "eth0",
            "netns", name)  # fmt: skip
        _ip("addr", "add", f"{hub}/24", "dev", f"hub{number}")
        _ip("link", "set", f"hub{number}", "up")
        _ip("-n", name, "addr", "add", f"{source}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", name, "link", "set", device, "up")
        prefix = (IP, "netns", "exec", name)
        machine = Machine(name, folder, prefix, {**env})
        port = api
        pairs = [f"127.0.0.1:{each}={hub}:{each}" for each in (*ports, api)]
    machine.env["TAP_METRIKA_CALLS_API_URL"] = f"http://127.0.0.1:{port}"
    outgoing = Machine(f"{name}-gateway", folder, machine.prefix, dict(os.environ))
    outgoing.env["PYTHONPATH"] = str(ROOT)
    from_address = "-" if machine.prefix else source
    outgoing.start("gateway", [*gateway, from_address, *pairs])
    try:
        yield machine
    finally:
        machine.kill()
        outgoing.kill()
        if machine.prefix:
            _remove(name)
