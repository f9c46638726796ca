"""Software, hardware and tracepoint events, by ``perf_event_open(2)``.

These are opened *before* the work, started, stopped and read::

    with PerfEvents(["page-faults", "dTLB-load-misses"], pids) as events:
        events.start()
        ...
        events.stop()
        for count in events.read(): ...

Software events (``page-faults``, ``minor-faults``, ``major-faults``, ``context-switches``, ``cpu-migrations``) are there
on every kernel with perf. Hardware events need a PMU, which many virtual machines lack: then the count is None with the
reason, never 0. A tracepoint is named ``tracepoint:tlb:tlb_flush``, a processor's own event by its number
``raw:0x1008``. Limits:

* ``page-faults`` counts the faults that the process itself took: those that the kernel takes on its behalf
  (``MADV_POPULATE_READ``, ``get_user_pages``) are in ``ru_minflt`` and not here; the fault that links a late attacher to
  an mshare region is here and not in ``ru_minflt``.
* A PMU has few counters. When there are more events than counters the kernel takes turns: ``time_running_ns`` is then
  less than ``time_enabled_ns`` and the count is scaled up, which is an estimate (``multiplexed``).
* The events of a process are opened in one group, so that they count over the same time; one that does not fit beside
  the others is opened alone.
* Where ``perf_event_paranoid`` forbids the kernel's part, user mode alone is counted (``kernel=False``); events that
  happen only inside the kernel (context switches) are then None.
* One file descriptor per event and process: with 10,000 processes raise RLIMIT_NOFILE, or count the whole machine.
"""

import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.real.counters.procfs import read_int, read_text

__all__ = ["EVENTS", "EventCount", "PerfEvents", "event_unavailable"]

_SYSCALL = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331}
_LIBC = ctypes.CDLL(None, use_errno=True)
_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5 (Linux 4.1): larger kernels take smaller structures
_READ_TIMES = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_FLAG_CLOEXEC = 1 << 3
_ENABLE, _DISABLE, _RESET = 0x2400, 0x2401, 0x2403
_WHOLE_GROUP = 1
_HARDWARE, _SOFTWARE, _TRACEPOINT, _CACHE, _RAW = 0, 1, 2, 3, 4
_L1D, _LL, _DTLB, _ITLB = 0, 2, 3, 4
_LOAD, _STORE = 0, 1
_ACCESS, _MISS = 0, 1


def _cache(which: int, operation: int, result: int) -> tuple[int, int]:
    return _CACHE, which | operation << 8 | result << 16


EVENTS: dict[str, tuple[int, int]] = {
    "task-clock": (_SOFTWARE, 1),
    "page-faults": (_SOFTWARE, 2),
    "context-switches": (_SOFTWARE, 3),
    "cpu-migrations": (_SOFTWARE, 4),
    "minor-faults": (_SOFTWARE, 5),
    "major-faults": (_SOFTWARE, 6),
    "cycles": (_HARDWARE, 0),
    "instructions": (_HARDWARE, 1),
    "cache-references": (_HARDWARE, 2),
    "cache-misses": (_HARDWARE, 3),
    "dTLB-loads": _cache(_DTLB, _LOAD, _ACCESS),
    "dTLB-load-misses": _cache(_DTLB, _LOAD, _MISS),
    "dTLB-stores": _cache(_DTLB, _STORE, _ACCESS),
    "dTLB-store-misses": _cache(_DTLB, _STORE, _MISS),
    "iTLB-load-misses": _cache(_ITLB, _LOAD, _MISS),
    "L1-dcache-load-misses": _cache(_L1D, _LOAD, _MISS),
    "LLC-load-misses": _cache(_LL, _LOAD, _MISS),
}
"""The kernel's generic events by perf's names: (type, config) as in ``linux/perf_event.h``."""

_KERNEL_ONLY = frozenset({"context-switches", "cpu-migrations"})


@dataclass(frozen=True, slots=True)
class EventCount:
    """
    What one event counted, summed over the processes.

    Attributes
    ----------
    name : str
        The event.
    count : int or None
        Occurrences, scaled up where the kernel took turns; None where it could not be counted.
    reason : str or None
        Why `count` is None.
    time_enabled_ns, time_running_ns : int
        For how long it was wanted and for how long it had a counter.
    kernel : bool
        Whether what happened in kernel mode is in it.
    """

    name: str
    count: int | None
    reason: str | None
    time_enabled_ns: int
    time_running_ns: int
    kernel: bool

    @property
    def multiplexed(self) -> bool:
        """Whether the count is an estimate from a part of the time."""
        return self.time_running_ns < self.time_enabled_ns


class PerfEvents:
    """
    Events of some processes (or of the whole machine) that are opened, started, stopped and read together.

    Parameters
    ----------
    events : sequence of str
        Names from :data:`EVENTS`, ``tracepoint:<system>:<event>`` or ``raw:<number>``.
    pids : sequence of int, optional
        The processes, 0 for this one; None counts every CPU of the machine.
    inherit : bool
        Also count children that are forked from now on.

    Raises
    ------
    ConfigError
        When an event's name is not known.
    CellFailed
        When one of the processes has ended.
    CapabilityError
        When there are not enough file descriptors.
    """

    def __init__(self, events: Sequence[str], pids: Sequence[int] | None = (0,), *, inherit: bool = False) -> None:
        self._descriptors: dict[str, list[int]] = {name: [] for name in events}
        self._leaders: list[int] = []
        self._kernel = dict.fromkeys(events, True)
        self._reasons: dict[str, str] = {}
        codes = {name: _code(name) for name in events}
        targets = [(-1, cpu) for cpu in _online_cpus()] if pids is None else [(pid, -1) for pid in pids]
        try:
            for target in targets:
                leader = -1
                for name, code in codes.items():
                    if isinstance(code, str):
                        self._reasons[name] = code
                    if name not in self._reasons:
                        leader = self._open(name, target, leader, inherit)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Set all counts to zero and begin to count."""
        for leader in self._leaders:
            fcntl.ioctl(leader, _RESET, _WHOLE_GROUP)
            fcntl.ioctl(leader, _ENABLE, _WHOLE_GROUP)

    def stop(self) -> None:
        """Stop counting; the counts stay readable, also when the processes have ended."""
        for leader in self._leaders:
            fcntl.ioctl(leader, _DISABLE, _WHOLE_GROUP)

    def read(self) -> list[EventCount]:
        """Read the counts, one per event, in the order in which they were named."""
        return [self._read(name) for name in self._descriptors]

    def close(self) -> None:
        """Give the file descriptors back."""
        for descriptors in self._descriptors.values():
            while descriptors:
                os.close(descriptors.pop())
        self._leaders.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, name: str, target: tuple[int, int], leader: int, inherit: bool) -> int:
        # Gives the leader of the group from now on. What the first process cannot have, none is asked for.
        code = _code(name)
        assert not isinstance(code, str)
        flags = _INHERIT if inherit else 0
        failure = 0
        for group in dict.fromkeys((leader, -1)):
            for kernel in (True, False) if self._kernel[name] else (False,):
                descriptor = _perf_event_open(
                    code, target, group, flags | (0 if kernel else _EXCLUDE_KERNEL | _EXCLUDE_HV)
                )
                if descriptor >= 0:
                    self._kernel[name] = kernel
                    self._descriptors[name].append(descriptor)
                    if group < 0:
                        self._leaders.append(descriptor)
                    return descriptor if leader < 0 else leader
                failure = -descriptor
                if failure not in (errno.EACCES, errno.EPERM) or name in _KERNEL_ONLY:
                    break
            if failure != errno.EINVAL:
                break
        if failure == errno.ESRCH:
            raise CellFailed(f"process {target[0]} ended before {name} was opened")
        if failure in (errno.EMFILE, errno.ENFILE):
            raise CapabilityError(f"{name}: one file descriptor per event and process is needed; raise RLIMIT_NOFILE")
        self._reasons[name] = _reason(name, failure)
        return leader

    def _read(self, name: str) -> EventCount:
        kernel = self._kernel[name]
        if name in self._reasons:
            return EventCount(name, None, self._reasons[name], 0, 0, kernel)
        total, enabled_ns, running_ns = 0, 0, 0
        for descriptor in self._descriptors[name]:
            count, enabled, running = struct.unpack("QQQ", os.read(descriptor, 24))
            enabled_ns, running_ns = enabled_ns + enabled, running_ns + running
            if running:
                total += round(count * enabled / running) if running < enabled else count
            elif enabled:
                return EventCount(name, None, "it never had a counter of the PMU", enabled, 0, kernel)
        return EventCount(name, total, None, enabled_ns, running_ns, kernel)


def event_unavailable(name: str) -> str | None:
    """
    Say why an event can't be counted here for this process; None when it can.

    Raises
    ------
    ConfigError
        When the name is not known.
    """
    with PerfEvents([name]) as events:
        return events._reasons.get(name)


def _online_cpus() -> list[int]:
    ranges = (part.partition("-") for part in (read_text("/sys/devices/system/cpu/online") or "0").split(","))
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def _code(name: str) -> tuple[int, int] | str:
    # (type, config), or the reason why there is none.
    if name in EVENTS:
        return EVENTS[name]
    kind, _, event = name.partition(":")
    if kind == "raw" and event.startswith("0x"):
        try:
            return _RAW, int(event, 16)
        except ValueError:
            pass
    system, _, event = event.partition(":")
    if kind != "tracepoint" or not event or "/" in system + event:
        known = ", ".join(EVENTS)
        raise ConfigError(
            f"perf event {name!r} is not known; there are {known}, tracepoint:<system>:<event>, and raw:0x<number>"
        )
    for root in (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing")):
        number = read_int(root / "events" / system / event / "id")
        if number is not None:
            return _TRACEPOINT, number
    return f"{name}: no such tracepoint, or tracefs is not mounted or not readable for this user"


def _perf_event_open(code: tuple[int, int], target: tuple[int, int], group: int, flags: int) -> int:
    # The descriptor, or minus the error number.
    number = _SYSCALL.get(platform.machine())
    if number is None:
        return -errno.ENOSYS
    kind, config = code
    attributes = struct.pack("IIQQQQQ", kind, _ATTR_SIZE, config, 0, 0, _READ_TIMES, _DISABLED | flags)
    # Only leaders start disabled: a group counts when its leader does.
    if group >= 0:
        attributes = struct.pack("IIQQQQQ", kind, _ATTR_SIZE, config, 0, 0, _READ_TIMES, flags)
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_SIZE, b"\0"), _ATTR_SIZE)
    pid, cpu = target
    result = int(_LIBC.syscall(number, buffer, pid, cpu, group, _FLAG_CLOEXEC))
    return result if result >= 0 else -ctypes.get_errno()


def _reason(name: str, code: int) -> str:
    if code in (errno.EACCES, errno.EPERM):
        paranoid = read_text("/proc/sys/kernel/perf_event_paranoid")
        return f"{name}: not allowed (perf_event_paranoid={paranoid}); needs root or CAP_PERFMON"
    if code in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
        return f"{name}: this machine has no hardware counter for it (a virtual machine without a PMU?)"
    if code == errno.ENOSYS:
        return f"{name}: this kernel has no perf_event_open"
    return f"{name}: {os.strerror(code)}"
