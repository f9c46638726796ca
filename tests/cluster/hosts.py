"""Hosts of a Ray cluster on one machine: a network namespace each, with an address, a folder and a raylet of their own."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PORT = 6379
_SUBNET = "10.213.{}.{}"


def lacking() -> str:
    """What this machine lacks to have them; empty where it lacks nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "network namespaces need ip (iproute2) and nsenter (util-linux)"
    name = f"mbt{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode == 0:
        _ip("netns", "del", name)
    return made.stderr.strip()


class Hosts:
    """Hosts 0 (the head), 1, 2, ... with the addresses 1, 2, 3, ..., on a switch in a namespace of its own.

    Their folder is the same path for all, but each has its own file system there.
    """

    def __init__(self) -> None:
        self._prefix = f"mb{os.getpid()}-"
        self._subnet = os.getpid() % 250 + 1
        self._switch = f"{self._prefix}sw"
        self._options: dict[int, tuple[str, ...]] = {}
        self._raylets: dict[int, subprocess.Popen[bytes]] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="mbh", dir="/tmp"))  # short: Ray puts sockets below it
        self.token = secrets.token_hex(16)
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "br0", "up")

    @property
    def cluster(self) -> str:
        """The cluster's address."""
        return f"{self.address(0)}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """For whoever joins the cluster."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return {**kept, "RAY_AUTH_TOKEN": self.token}

    def address(self, host: int) -> str:
        """Address of a host: what the cluster calls it."""
        return _SUBNET.format(self._subnet, host + 1)

    def start(self, host: int, *options: str) -> None:
        """Plug a host in and start its raylet; returns at once."""
        name = f"{self._prefix}{host}"
        _ip("netns", "add", name)
        _ip("-n", self._switch, "link", "add", f"v{host}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", self._switch, "link", "set", f"v{host}", "master", "br0", "up")
        _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            _ip("-n", name, "link", "set", link, "up")
        self._options[host] = options
        self._raylet(host)

    def _raylet(self, host: int) -> None:
        role = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        ray = [Path(sys.executable).with_name("ray"), "start", *(role if host == 0 else [f"--address={self.cluster}"])]
        ray += [f"--node-ip-address={self.address(host)}", "--num-cpus=2", "--object-store-memory=80000000"]
        ray += ["--disable-usage-stats", "--block"]
        own = f'mount -t tmpfs none {self.folder} && exec "$@"'
        self._raylets[host] = subprocess.Popen(
            ["ip", "netns", "exec", f"{self._prefix}{host}", "sh", "-c", own, "sh", *ray, *self._options[host]],
            env={
                **self.environment,
                "RAY_AUTH_MODE": "token",
                "RAY_worker_niceness": "0",
                "RAY_worker_oom_score_adjustment": "0",
                "RAY_agent_register_timeout_ms": "120000",  # of a raylet on a busy machine
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log(host).open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, host: int, seconds: float = 180) -> None:
        """Wait until a host is in the cluster; one that missed Ray's half minute starts again."""

        def started() -> bool:
            if self._raylets[host].poll() is not None:
                self._raylet(host)
            return "Ray runtime started" in self._log(host).read_text()

        until(started, seconds, f"host {host} does not start")

    def popen(
        self, host: int, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Run a command on a host, in this working directory."""
        enter = ["nsenter", f"--target={self._raylets[host].pid}", "--net", "--mount", f"--wd={Path.cwd()}", "--"]
        return subprocess.Popen(
            [*enter, *command],
            env=self.environment if environment is None else dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def commands(self, host: int) -> list[str]:
        """Names of the processes of a host."""
        found = []
        for pid in self._pids(f"{self._prefix}{host}"):
            try:
                found.append(Path(f"/proc/{pid}/comm").read_text().strip())
            except OSError:  # it has ended meanwhile
                continue
        return found

    def kill(self, host: int) -> None:
        """End everything on a host at once, as a power cut would."""
        for pid in self._pids(f"{self._prefix}{host}"):
            os.kill(pid, signal.SIGKILL)

    def freeze(self, host: int) -> None:
        """Stop everything on a host where it is."""
        for pid in self._pids(f"{self._prefix}{host}"):
            os.kill(pid, signal.SIGSTOP)

    def cut(self, host: int) -> None:
        """Pull a host's cable: packets are lost, nobody is told."""
        _ip("-n", self._switch, "link", "set", f"v{host}", "down")

    def close(self) -> None:
        """End all of it; what is left after a minute is an error."""
        names = [f"{self._prefix}{host}" for host in self._raylets]
        for host in self._raylets:
            self.kill(host)
        for raylet in self._raylets.values():
            raylet.wait(60)
        until(lambda: not any(self._pids(name) for name in names), 60, "processes are left on the hosts")
        for name in [*names, self._switch]:
            _ip("netns", "del", name)
        for host in self._raylets:
            self._log(host).unlink()
        shutil.rmtree(self.folder)

    def _log(self, host: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}-{host}.log")

    def _pids(self, name: str) -> list[int]:
        listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]


def until(condition: Callable[[], bool], seconds: float, message: str, pause: float = 0.1) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(message)
        time.sleep(pause)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
