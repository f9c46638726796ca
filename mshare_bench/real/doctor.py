"""What this machine can run: what is there, what it would enable, and how to get what is missing. Read-only.

Every finding comes from looking at the thing itself: a system call that is made, an event that is opened, a virtual
machine that is created and closed again; never from the kernel's version. Nothing on the machine is changed, no knob
written, nothing compiled or installed. What may not be looked at is a finding as well: ``limited``, naming it.

The findings are plain data for whoever prints them; their order is that of the topics below.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mshare_bench.errors import MshareBenchError
from mshare_bench.real.counters.procfs import read_text

__all__ = ["Finding", "State", "examine"]

State = Literal["ok", "missing", "limited"]

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was looked at.

    Attributes
    ----------
    topic : str
        What it is about: ``kernel``, ``hugetlb``, ``perf``, ...
    state : {"ok", "missing", "limited"}
        There and usable; not there; there, but not all of it or not for this user.
    found : str
        What was found, with figures.
    enables : str
        What it makes possible, or would.
    remedy : str or None
        How to get it, or more of it; None where nothing is to be done.
    """

    topic: str
    state: State
    found: str
    enables: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """
    Look at everything.

    Returns
    -------
    list of Finding
        In a fixed order of topics; a topic that cannot be looked at is ``limited`` with the reason, never an error.
    """
    found: list[Finding] = []
    for look in _LOOKS:
        try:
            found.extend(look())
        except (MshareBenchError, OSError, ValueError) as error:
            found.append(Finding(look.__name__.lstrip("_"), "limited", f"could not be looked at: {error}", "not known"))
    return found


def _kernel() -> Iterator[Finding]:
    if platform.system() != "Linux":
        yield Finding("kernel", "missing", f"{platform.system()}", "engine=real", "run it on Linux")
        return
    machine = platform.machine()
    known = machine in ("x86_64", "aarch64")
    yield Finding(
        "kernel",
        "ok" if known else "limited",
        f"Linux {platform.release()} on {machine}",
        "engine=real",
        None if known else "the agent is written for x86_64 and aarch64",
    )


def _pages() -> Iterator[Finding]:
    from mshare_bench.real.knobs.hugepages import free_hugepages, hugepage_sizes, nr_hugepages

    page, sizes = os.sysconf("SC_PAGE_SIZE"), hugepage_sizes()
    flags = read_text("/proc/cpuinfo") or ""
    levels = ", 5-level tables" if " la57" in flags else ""
    hugepages = ", ".join(_size(size) for size in sizes) or "none"
    yield Finding("page sizes", "ok", f"base {_size(page)}{levels}; hugepages: {hugepages}", "page=")
    if not sizes:
        yield Finding(
            "hugetlb", "missing", "no hugetlb in this kernel", "mechanism=hugetlb", "a kernel with CONFIG_HUGETLBFS"
        )
        return
    knobs = [(size, nr_hugepages(size)) for size in sizes]
    reason = knobs[0][1].available()
    pools = ", ".join(f"{_size(size)}: {knob.read()}, {free_hugepages(size)} free" for size, knob in knobs)
    yield Finding(
        "hugetlb",
        "ok" if reason is None else "limited",
        f"pools {pools}" + (f"; {reason}" if reason else ""),
        "mechanism=hugetlb (the pool grows for a run and shrinks again)",
        None if reason is None else "run as root, or have the administrator set nr_hugepages",
    )


def _thp() -> Iterator[Finding]:
    from mshare_bench.real.knobs import SHMEM_ENABLED, TRANSPARENT_HUGEPAGE

    if not TRANSPARENT_HUGEPAGE.path.exists():
        yield Finding(
            "thp", "missing", "no transparent huge pages", "mechanism=thp", "a kernel with CONFIG_TRANSPARENT_HUGEPAGE"
        )
        return
    shared = SHMEM_ENABLED.read()
    usable = shared in ("advise", "always", "within_size", "force") or SHMEM_ENABLED.available() is None
    yield Finding(
        "thp",
        "ok" if usable else "limited",
        f"anonymous: {TRANSPARENT_HUGEPAGE.read()}; shared memory: {shared}",
        "mechanism=thp (shmem_enabled is set for a run and put back)",
        None if usable else f"run as root, or echo advise > {SHMEM_ENABLED.path}",
    )


def _ksm() -> Iterator[Finding]:
    from mshare_bench.real.counters.ksm import ksm_state, unavailable
    from mshare_bench.real.knobs import KSM_RUN

    if unavailable() is not None:
        yield Finding("ksm", "missing", str(unavailable()), "mechanism=ksm", "a kernel with CONFIG_KSM")
        return
    state, reason = ksm_state(), KSM_RUN.available()
    usable = reason is None or state.get("run") == 1
    yield Finding(
        "ksm",
        "ok" if usable else "limited",
        f"run={state.get('run')}, {state.get('pages_sharing')} pages merged",
        "mechanism=ksm (set for a run and put back)",
        None if usable else f"run as root, or echo 1 > {KSM_RUN.path}",
    )


def _cgroups() -> Iterator[Finding]:
    from mshare_bench.real.counters.memcg import memory_headroom, own_groups

    enables = "agents in a memory cgroup with a limit: an OOM kill stays inside it"
    groups = own_groups("memory")
    if not groups:
        yield Finding(
            "cgroups", "missing", "no memory controller is mounted", enables, "mount cgroup2 with the memory controller"
        )
        return
    v1 = (groups[0] / "memory.limit_in_bytes").exists()
    parents = (
        groups[:1] if v1 else [g for g in groups if "memory" in (read_text(g / "cgroup.subtree_control") or "").split()]
    )
    writable = [parent for parent in parents if os.access(parent, os.W_OK)]
    headroom = memory_headroom()
    limit = "no limit on this process" if headroom is None else f"{headroom[0] / _GIB:.1f} GiB left in {headroom[1]}"
    yield Finding(
        "cgroups",
        "ok" if writable else "limited",
        f"memory controller of version {1 if v1 else 2}; {limit}"
        + ("" if writable else "; this user can make no group in " + (str(parents[0]) if parents else "any ancestor")),
        enables,
        None if writable else "run as root, or under: systemd-run --user --scope -p Delegate=yes",
    )


def _memory() -> Iterator[Finding]:
    from mshare_bench.real.guard import AGENT_BYTES, DEFAULT_RESERVE_BYTES, read_host

    room = read_host()
    spare = room.available_bytes - DEFAULT_RESERVE_BYTES
    yield Finding(
        "memory",
        "ok" if spare > 0 else "limited",
        f"{room.available_bytes / _GIB:.1f} GiB ({room.memory_limit}), reserve {DEFAULT_RESERVE_BYTES / _GIB:.0f} GiB",
        f"{max(spare, 0) // ((2 << 20) + AGENT_BYTES)} processes x 1 GiB mapped through 4 KiB pages",
        None if spare > 0 else "free memory, or lower guard.reserve",
    )
    yield Finding(
        "processes",
        "ok" if room.free_processes >= 10_000 else "limited",
        f"{room.free_processes} more may start ({room.process_limit})",
        "real.processes=10000",
        None if room.free_processes >= 10_000 else f"raise {room.process_limit.split(' ')[0]}",
    )


def _nodes() -> Iterator[Finding]:
    from mshare_bench.real.counters.numa_maps import unavailable
    from mshare_bench.real.counters.page_tables import node_page_tables

    nodes = len(node_page_tables()) or 1
    reason = unavailable()
    yield Finding(
        "numa",
        "ok" if nodes > 1 and reason is None else "limited",
        f"{nodes} node{'s' * (nodes > 1)}" + (f"; {reason}" if reason else ""),
        "measured placement: remote tables and remote data",
        None if nodes > 1 else "a machine with several nodes, or host=guest (qemu) for counts",
    )


def _counters() -> Iterator[Finding]:
    from mshare_bench.real.counters import counters
    from mshare_bench.real.counters.vmpte import kcmp_unavailable

    lacking = [f"{name} ({reason})" for name, one in counters().items() if (reason := one.available())]
    if (reason := kcmp_unavailable()) is not None:
        lacking.append(f"kcmp ({reason})")
    yield Finding(
        "counters",
        "limited" if lacking else "ok",
        "without " + "; ".join(lacking) if lacking else f"all {len(counters())} readable",
        "measured columns; what cannot be read is null",
        "run as root on a kernel that has them" if lacking else None,
    )
    allowed = os.access("/proc/sys/vm/stat_refresh", os.W_OK)
    yield Finding(
        "stat_refresh",
        "ok" if allowed else "limited",
        "PageTables can be read exactly" if allowed else "PageTables lags by up to 125 pages per CPU",
        "page tables that are shared: only PageTables shows those",
        None if allowed else "run as root",
    )


def _perf() -> Iterator[Finding]:
    from mshare_bench.real.counters.perf import event_unavailable

    software = event_unavailable("page-faults")
    yield Finding(
        "perf software events",
        "ok" if software is None else "limited",
        "page-faults can be counted" if software is None else software,
        "linking faults of shared tables (they are not in ru_minflt)",
        None if software is None else "run as root, or sysctl kernel.perf_event_paranoid=1",
    )
    hardware = event_unavailable("dTLB-load-misses")
    yield Finding(
        "perf hardware events",
        "ok" if hardware is None else "missing",
        "dTLB-load-misses can be counted" if hardware is None else hardware,
        "tlb_misses and walk_cycles as measured columns",
        None if hardware is None else "a machine, or a virtual machine, with a PMU",
    )


def _mshare() -> Iterator[Finding]:
    from mshare_bench.real.probes import flag_faults, stock_flag_faults

    known = "msharefs" in (read_text("/proc/filesystems") or "").split()
    yield Finding(
        "msharefs",
        "ok" if known else "missing",
        "the kernel has it; every region mounts an instance of its own (root)" if known else "not in this kernel",
        "mechanism=mshare measured (its steps were tested against a double of the calls, never run on such a kernel)",
        None if known else "a kernel with the mshare series (CONFIG_MSHARE, x86-64)",
    )
    # A stock kernel takes the flag and ignores it: only the faults of a second mapper tell.
    faults = flag_faults()
    if faults is None:
        yield Finding(
            "MAP_SHARED_PT", "limited", "not probed: memfd or a fixed address was refused", "mechanism.interface=flag"
        )
        return
    shared = faults <= 1
    yield Finding(
        "MAP_SHARED_PT",
        "ok" if shared else "missing",
        f"a second process took {faults} faults on populated 2 MiB (without sharing: {stock_flag_faults()})",
        "mechanism=mshare mechanism.interface=flag",
        None if shared else "a kernel with the MAP_SHARED_PT patches of 2022-23",
    )


def _interfaces() -> Iterator[Finding]:
    from mshare_bench.real.counters.pagemap import scan_unavailable
    from mshare_bench.real.probes import kvm_unavailable, userfaultfd_unavailable

    rows = (
        (
            "userfaultfd",
            userfaultfd_unavailable(),
            "studies of write protection and of populating on demand",
            "root, or a kernel with CONFIG_USERFAULTFD",
        ),
        (
            "PAGEMAP_SCAN",
            scan_unavailable(),
            "audit: large address spaces are walked quickly",
            "Linux 6.7 or newer; audit reads pagemap itself otherwise",
        ),
        (
            "kvm",
            kvm_unavailable(),
            "host=guest at full speed (without it qemu emulates: counts are valid, times are not)",
            "nested virtualisation, and the group kvm",
        ),
    )
    for topic, reason, enables, remedy in rows:
        yield Finding(topic, "ok" if reason is None else "missing", reason or "usable", enables, reason and remedy)


def _compiler() -> Iterator[Finding]:
    from mshare_bench.real.agent.build import find_compilers, prebuilt_path

    built, compilers = prebuilt_path().exists(), find_compilers()
    found = "the agent was built with the package" if built else "the agent is built on first use"
    if not built and not compilers:
        found = "the agent is not built, and there is no C compiler"
    yield Finding(
        "agent",
        "ok" if built or compilers else "missing",
        found + (f"; compiler: {' '.join(compilers[0])}" if compilers else ""),
        "engine=real",
        None if built or compilers else "apt install gcc, or pip install mshare-bench[compiler]",
    )


def _tools() -> Iterator[Finding]:
    from mshare_bench.real.guest.bed import static_busybox
    from mshare_bench.real.guest.kernel import kernel_source

    guest, real = "host=guest: a NUMA and mshare test bed", "the real program under the counters"
    postgres = _program("postgres", "/usr/lib/postgresql/*/bin")
    chromium = _program("chromium") or _program("google-chrome")
    rows = (
        ("qemu", _program("qemu-system-x86_64"), guest, "apt install qemu-system-x86 (guests are x86-64)"),
        ("busybox", static_busybox(), guest, "apt install busybox-static"),
        (
            "guest kernel",
            kernel_source(),
            guest,
            "guest.kernel=PATH, an x86 kernel image; with apt-get Debian's is downloaded",
        ),
        ("postgresql", postgres, f"workload=db_buffer_pool: {real}", "apt install postgresql"),
        ("redis", _program("redis-server"), f"workload=redis_cluster: {real}", "apt install redis-server"),
        ("chromium", chromium, "container workloads with a browser, and checks of the report", "apt install chromium"),
        ("mpi4py", _package("mpi4py"), f"workload=hpc_ranks: {real}", "pip install mshare-bench[apps]"),
    )
    for topic, path, enables, remedy in rows:
        yield Finding(topic, "ok" if path else "missing", path or "not found", enables, None if path else remedy)


def _program(name: str, elsewhere: str = "") -> str | None:
    if (path := shutil.which(name)) is not None:
        return path
    folders = sorted(Path("/").glob(elsewhere.lstrip("/"))) if elsewhere else []
    return next((str(folder / name) for folder in reversed(folders) if os.access(folder / name, os.X_OK)), None)


def _package(name: str) -> str | None:
    return f"the package {name}" if importlib.util.find_spec(name) is not None else None


def _size(size: int) -> str:
    return next(
        f"{size // unit} {name}" for unit, name in ((_GIB, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")) if size >= unit
    )


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _kernel,
    _pages,
    _thp,
    _ksm,
    _cgroups,
    _memory,
    _nodes,
    _counters,
    _perf,
    _mshare,
    _interfaces,
    _compiler,
    _tools,
)
