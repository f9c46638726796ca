"""Starts the processes of a real program so that none outlives its run.

Every process that is started here gets SIGKILL from the kernel when the thread that started it ends (PR_SET_PDEATHSIG), so
`kill -9` of a run takes its servers along; what they fork themselves they take down, or the memory cgroup of the run does at
the next start (:mod:`.cgroups`). Their output goes to a log, whose end is in the error when one of them dies.
"""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.procfs import read_process_file, start_time
from mshare_bench.real.counters.vmpte import status_bytes

__all__ = ["Servers", "log_end"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LINES = 3


class Servers:
    """The processes of one run.

    Parameters
    ----------
    folder
        For their logs.
    procs
        `cgroup.procs` of the group that they go to; None for none.
    timeout
        Seconds that `run` and `wait` may take.
    """

    def __init__(self, folder: Path, procs: Path | None = None, timeout: float = 120.0) -> None:
        self._folder, self._procs, self._timeout = folder, procs, timeout
        self._started: list[tuple[subprocess.Popen[bytes], str]] = []

    def spawn(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        pipe: bool = False,
    ) -> "subprocess.Popen[bytes]":
        """Start a process.

        Parameters
        ----------
        command
            Program and arguments; no shell.
        name
            Of its log; that of the program by default.
        user
            Whose rights it gets where this process is root's; its own otherwise.
        environment
            Variables on top of this process's.
        pipe
            Whether its standard input and output are pipes; else input is empty and output goes to the log.

        Raises
        ------
        CapabilityError
            When there is no such program or it can't be started.
        """
        label = name or Path(command[0]).name
        account = _account(user) if user is not None and os.geteuid() == 0 else None
        parent = os.getpid()

        def prepare() -> None:
            if self._procs is not None:
                self._procs.write_text("0")
            if account is not None:
                os.setgroups([])
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it ended before the kernel knew that we care
                os.kill(os.getpid(), signal.SIGKILL)

        log = self._folder / f"{label}.log"
        variables = {**os.environ, **(environment or {})}
        if account is not None:
            variables["HOME"] = str(self._folder)
        try:
            with open(log, "ab") as output:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if pipe else output,
                    stderr=output,
                    env=variables,
                    cwd=self._folder,
                    start_new_session=True,
                    preexec_fn=prepare,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise CapabilityError(f"{command[0]}: can't be started: {error}") from error
        self._started.append((process, label))
        return process

    def run(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> str:
        """Run a command to its end and give what it printed.

        Raises
        ------
        CellFailed
            When it fails or takes too long, with the end of what it said.
        """
        label = name or Path(command[0]).name
        process = self.spawn(command, name=label, user=user, environment=environment, pipe=True)
        try:
            output, _ = process.communicate(timeout=timeout or self._timeout)
        except subprocess.TimeoutExpired:
            self._end(process)
            raise CellFailed(f"{label}: not done after {timeout or self._timeout:.0f} s") from None
        self._started = [one for one in self._started if one[0] is not process]
        text = output.decode("utf-8", "replace")
        if process.returncode:
            raise CellFailed(f"{label}: ended with {process.returncode}: {self._said(label) or _end_of(text)}")
        return text

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Call `ready` until it is true.

        Raises
        ------
        CellFailed
            When it takes too long or one of the processes ends meanwhile; the message ends with its log's last lines.
        """
        deadline = time.monotonic() + self._timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "; ".join(filter(None, (self._said(label) for _, label in self._started)))
                raise CellFailed(f"{what}: not ready after {self._timeout:.0f} s{': ' + logs if logs else ''}")
            time.sleep(0.02)

    def check(self) -> None:
        """Raise `CellFailed` when one of the processes has ended."""
        for process, label in self._started:
            if process.poll() is not None:
                raise CellFailed(f"{label}: ended with {process.returncode}: {self._said(label) or 'it said nothing'}")

    def pids(self) -> list[int]:
        """All processes of this run that have an address space, ascending: what was started here and what that has started."""
        known = self._members()
        sizes = {pid: status_bytes(pid, ("VmPTE",)) for pid in known}
        return sorted(pid for pid, size in sizes.items() if size is not None and size[0] is not None)

    def _members(self) -> set[int]:
        if self._procs is not None:
            return {int(line) for line in self._procs.read_text().split()} - {os.getpid()}
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            stat = read_process_file(int(folder.name), "stat")
            if stat is not None:
                parents[int(folder.name)] = int(stat[stat.rfind(b")") + 2 :].split(None, 2)[1])
        found = {process.pid for process, _ in self._started}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def close(self, patience: float = 5.0) -> None:
        """End what still runs, the last first: asked by SIGTERM, then killed, with everything that it has started."""
        members = self._members()
        for process, _ in reversed(self._started):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + patience
        for process, _ in reversed(self._started):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.01, deadline - time.monotonic()))
            self._end(process)
        left = {pid for pid in members if start_time(pid) is not None}
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(start_time(pid) is not None for pid in left):
            time.sleep(0.005)
        self._started.clear()

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its session's own group: what it left behind as well
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _said(self, label: str) -> str:
        return log_end(self._folder / f"{label}.log")


def log_end(path: Path) -> str:
    """Give the last lines of a log as one line; empty where there is none."""
    try:
        return _end_of(path.read_text(errors="replace"))
    except OSError:
        return ""


def _end_of(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_LINES:])


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise CapabilityError(f"{user}: there is no such user, whose rights the program needs") from None
