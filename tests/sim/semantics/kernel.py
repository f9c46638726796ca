"""The running kernel as a machine: the same operations, done by real processes.

A tree of small C processes (`kernel_driver.c`) each wait on a socket of their own. Only the stock operations are known here.
"""

import ctypes
import errno
import mmap
import os
import select
import shutil
import socket
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from mshare_bench.sim.semantics import (
    Advise,
    CreateFile,
    Exec,
    Exit,
    Fork,
    Machine,
    Map,
    Op,
    Outcome,
    Protect,
    PunchFile,
    Spawn,
    Touch,
    Unmap,
    WriteFile,
    fault_counts,
    script,
    vm_pte,
)

__all__ = ["Difference", "Kernel", "Observed", "build_driver", "compare", "lacks"]

_TOUCH, _MAP, _UNMAP, _PROTECT, _ADVISE, _FORK, _EXEC, _EXIT, _SHMAT, _STATUS = range(1, 11)
_COMMAND = struct.Struct("<8Qq")
_ANSWER = struct.Struct("<5qQ")
_PROT = {"none": 0, "r": mmap.PROT_READ, "rw": mmap.PROT_READ | mmap.PROT_WRITE}
_ADVICE = {
    "dontneed": 4,
    "mergeable": 12,
    "unmergeable": 13,
    "hugepage": 14,
    "nohugepage": 15,
    "dontdump": 16,
    "dodump": 17,
}
_MAP_FIXED, _MAP_FIXED_NOREPLACE, _MAP_NORESERVE = 0x10, 0x100000, 0x4000
_SHM_RDONLY, _SHM_REMAP = 0o10000, 0o40000
_FIRST_FD = 300
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Observed:
    """What an operation did to the kernel: its outcome, and the minor faults of a touch."""

    outcome: Outcome
    faults: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    error: int
    signal: int
    faults: int
    vm_pte_kib: int
    seen: bytes


def lacks() -> str | None:
    """Say what is missing to drive this machine's kernel; None when nothing is."""
    if os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        return "the model's geometry here is x86-64 Linux"
    if shutil.which("cc") is None:
        return "no C compiler for the driver"
    return None


def build_driver(folder: Path) -> Path:
    """Compile the driver into a folder and return the program."""
    program = folder / "kernel_driver"
    source = Path(__file__).with_name("kernel_driver.c")
    command = ["cc", "-O1", "-static", "-no-pie", "-fno-pic", "-Wall", "-o", str(program), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


@dataclass(slots=True)
class Kernel:
    """The processes of one history. A context manager: none outlives it."""

    program: Path
    capacity: int = 8
    _tree: subprocess.Popen[bytes] | None = None
    _sockets: list[socket.socket] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)
    _base: int = 0
    _fds: dict[str, int] = field(default_factory=dict)
    _segments: dict[str, int] = field(default_factory=dict)
    _used: int = 0
    _exits: dict[int, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._sockets:
            end.close()
        if self._tree is not None:
            self._tree.wait(timeout=30)
        for fd in [*self._fds.values(), *self._exits.values()]:
            os.close(fd)
        libc = ctypes.CDLL(None, use_errno=True)
        for segment in self._segments.values():
            libc.shmctl(segment, 0, None)

    def start(self, files: list[CreateFile], pid: int) -> None:
        """Make the files, so that every process has them open, and the first process."""
        libc = ctypes.CDLL(None, use_errno=True)
        for op in files:
            if op.kind == "sysv":
                segment = libc.shmget(0, ctypes.c_size_t(op.size), 0o600)
                assert segment >= 0, os.strerror(ctypes.get_errno())
                self._segments[op.name] = segment
            else:
                # 0x4: MFD_HUGETLB, with the default size of 2 MiB.
                self._fds[op.name] = os.memfd_create(op.name, 0x4 if op.kind == "hugetlb" else 0)
                os.ftruncate(self._fds[op.name], op.size)
        ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(self.capacity)]
        self._sockets = [ours for ours, _ in ends]
        for ours in self._sockets:
            ours.settimeout(30)
        for number, (_, theirs) in enumerate(ends):
            os.dup2(theirs.fileno(), _FIRST_FD + number)
        passed = [_FIRST_FD + number for number in range(self.capacity)]
        self._tree = subprocess.Popen(
            [self.program, str(_FIRST_FD), "0"], pass_fds=[*passed, *self._fds.values()], stdin=subprocess.DEVNULL
        )
        for number, (_, theirs) in enumerate(ends):
            theirs.close()
            os.close(_FIRST_FD + number)
        self._numbers[pid] = 0
        self._used = 1
        self._base = self._ask(pid, _STATUS).vm_pte_kib

    def vm_pte(self, pid: int) -> int:
        """VmPTE of a process over that of one that has mapped nothing, in bytes."""
        return (self._ask(pid, _STATUS).vm_pte_kib - self._base) * 1024

    def apply(self, op: Op) -> Observed:
        """Do one operation with the process that it names."""
        match op:
            case WriteFile():
                for at in range(op.offset, op.offset + op.length, _PAGE):
                    os.pwrite(self._fds[op.name], bytes([op.value]), at)
                return Observed(Outcome())
            case PunchFile():
                return self._punch(op)
            case Fork():
                return self._fork(op)
            case Exit() | Exec():
                return self._leave(op)
            case Touch():
                return self._touch(op)
            case _:
                error = self._command(op)
                return Observed(Outcome(errno=error))

    def _command(self, op: Op) -> int:
        match op:
            case Map() if op.name in self._segments:
                flags = (_SHM_RDONLY if op.prot == "r" else 0) | (_SHM_REMAP if op.replace else 0)
                segment = self._segments[op.name or ""]
                number = self._ask(op.pid, _SHMAT, op.address, flags=flags, fd=segment).error
                # shmat has its own word for an address that is taken.
                return errno.EEXIST if number == errno.EINVAL and not op.replace else number
            case Map():
                flags = mmap.MAP_SHARED if op.shared else mmap.MAP_PRIVATE
                flags |= (_MAP_FIXED if op.replace else _MAP_FIXED_NOREPLACE) | _MAP_NORESERVE
                fd = -1 if op.name is None else self._fds[op.name]
                flags |= mmap.MAP_ANONYMOUS if fd < 0 else 0
                prot, offset = _PROT[op.prot], op.offset
                return self._ask(
                    op.pid, _MAP, op.address, op.length, prot=prot, flags=flags, offset=offset, fd=fd
                ).error
            case Unmap():
                return self._ask(op.pid, _UNMAP, op.address, op.length).error
            case Protect():
                return self._ask(op.pid, _PROTECT, op.address, op.length, prot=_PROT[op.prot]).error
            case Advise():
                return self._ask(op.pid, _ADVISE, op.address, op.length, flags=_ADVICE[op.advice]).error
            case Spawn() | CreateFile():
                return 0
        raise NotImplementedError(f"not an operation of a stock kernel: {op}")

    def _touch(self, op: Touch) -> Observed:
        answer = self._ask(op.pid, _TOUCH, op.address, op.length, step=op.step, flags=op.write, value=op.value)
        if answer.signal:
            self._bury(op.pid)
            return Observed(Outcome(signal=answer.signal))
        return Observed(Outcome(value=None if op.write else answer.seen), answer.faults)

    def _fork(self, op: Fork) -> Observed:
        number = self._used
        assert number < self.capacity, "a history forks too often for its sockets"
        error = self._ask(op.pid, _FORK, value=number).error
        self._receive(number)
        self._used += 1
        self._numbers[op.child] = number
        return Observed(Outcome(errno=error))

    def _leave(self, op: Exit | Exec) -> Observed:
        self._tell(op.pid, _EXIT if isinstance(op, Exit) else _EXEC)
        if isinstance(op, Exit):
            self._receive(self._numbers[op.pid])
            self._bury(op.pid)
        return Observed(Outcome())

    def _bury(self, pid: int) -> None:
        """Wait until a process has given its memory back: what it shares (a PMD table of hugetlb) others could still find."""
        gone = select.poll()
        gone.register(self._exits[self._numbers.pop(pid)], select.POLLIN)
        assert gone.poll(30_000), "a process does not end"

    def _punch(self, op: PunchFile) -> Observed:
        libc = ctypes.CDLL(None, use_errno=True)
        fd, keep_and_punch = self._fds[op.name], 0x1 | 0x2
        failed = libc.fallocate(fd, keep_and_punch, ctypes.c_long(op.offset), ctypes.c_long(op.length))
        return Observed(Outcome(errno=ctypes.get_errno() if failed else 0))

    def _tell(
        self, pid: int, kind: int, address: int = 0, length: int = 0, *, step: int = _PAGE, prot: int = 0,
        flags: int = 0, offset: int = 0, value: int = 0, fd: int = -1,
    ) -> None:  # fmt: skip
        packed = _COMMAND.pack(kind, address, length, step, prot, flags, offset, value, fd)
        self._sockets[self._numbers[pid]].send(packed)

    def _ask(self, pid: int, kind: int, address: int = 0, length: int = 0, **rest: int) -> _Answer:
        self._tell(pid, kind, address, length, **rest)
        return self._receive(self._numbers[pid])

    def _receive(self, number: int) -> _Answer:
        packed = self._sockets[number].recv(1 << 16)
        if len(packed) < _ANSWER.size:
            raise RuntimeError(f"process {number} of the history is gone")
        error, signal, faults, vm_pte, pid, count = _ANSWER.unpack_from(packed)
        if number not in self._exits:
            self._exits[number] = os.pidfd_open(pid)
        return _Answer(error, signal, faults, vm_pte, packed[_ANSWER.size : _ANSWER.size + count])


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which the model and the kernel part: what was compared, and what each of them says."""

    step: int
    op: Op
    what: str
    model: object
    kernel: object
    replay: str

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.op}: {self.what} {self.model} in the model, {self.kernel} here\n\n{self.replay}"
        )


def compare(program: Path, history: list[Op]) -> Difference | None:
    """Run a history in the model and on this kernel, and compare after every step.

    Compared are the outcome (errno, signal, the bytes that were read), the minor faults of each touch, and VmPTE of every
    process over that of one that has mapped nothing.
    """
    machine = Machine()
    files = [op for op in history if isinstance(op, CreateFile)]
    with Kernel(program) as kernel:
        kernel.start(files, pid=1)
        for step, op in enumerate(history):
            pid = getattr(op, "pid", 0)
            before = fault_counts(machine, pid).minor if pid in machine.processes else 0
            expected, seen = machine.apply(op), kernel.apply(op)
            found: list[tuple[str, object, object]] = [("outcome", expected, seen.outcome)]
            if isinstance(op, Touch) and not expected.signal:
                found.append(("minor faults", fault_counts(machine, pid).minor - before, seen.faults))
            if expected == seen.outcome:
                found += [(f"VmPTE of {one}", vm_pte(machine, one), kernel.vm_pte(one)) for one in machine.processes]
            for what, model, here in found:
                if model != here:
                    return Difference(step, op, what, model, here, script(history[: step + 1]))
    return None
