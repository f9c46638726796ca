"""The audit of a host: which page tables its processes duplicate right now.

Reads ``/proc`` and nothing else; changes nothing. What the method can and can't see stands in
:mod:`mshare_bench.real.counters.pagemap` (empty tables, hidden mappings) and is shown as unattributed.
"""

import os
import platform
import resource
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mshare_bench.audit.address_spaces import Selection, select
from mshare_bench.audit.frames import frames_unavailable, shared_tables
from mshare_bench.audit.objects import PRIVATE
from mshare_bench.audit.result import Audit, AuditedProcess, CgroupShare, Cost
from mshare_bench.audit.savings import Savings, private_memory
from mshare_bench.audit.session import Session
from mshare_bench.domain.geometry import Geometry, geometry
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.real.counters.page_tables import page_tables
from mshare_bench.real.counters.pagemap import scan_unavailable
from mshare_bench.real.counters.procfs import read_text
from mshare_bench.real.counters.vmpte import status_bytes

__all__ = ["audit_host", "machine_geometry"]

_ARM64 = {4096: "arm64_4k", 16384: "arm64_16k", 65536: "arm64_64k"}


def audit_host(
    pids: Sequence[int | str] | None = None,
    cgroup: str | None = None,
    *,
    top: int = 15,
    scan: bool | None = None,
) -> Audit:
    """Find what the processes of this host duplicate in page tables, and what each mechanism would save.

    Parameters
    ----------
    pids
        Only these: pids, or patterns of process names such as ``postgres*``.
    cgroup
        Only those in this cgroup and below: its folder, its path, or a pattern of paths. With neither: all processes.
    top
        How many rows of each sort `screen.render` shows.
    scan
        Whether to use the `PAGEMAP_SCAN` ioctl; None for what this kernel has.

    Raises
    ------
    ConfigError
        When a pid, a pattern or a cgroup matches nothing, or `top` is not positive.
    CapabilityError
        When this kernel or architecture shows no page tables at all.
    """
    if top < 1:
        raise ConfigError(f"top={top}: must be at least 1")
    before = _Meter()
    shape = machine_geometry()
    selection = select(pids, cgroup)
    session = Session(shape, scan=scan)
    session.read(selection.candidates)
    everything = pids is None and cgroup is None
    machine = page_tables().page_table_bytes if everything else None

    same = session.frames.same()
    session.tally.grow()
    kernel_shared, measured = shared_tables(session.tally.slots(), len(session.objects), shape.page)
    savings = Savings(session.tally, same, kernel_shared)
    processes = _processes(session, savings.duplicated_fractions())
    own = (status_bytes(os.getpid(), ("VmPTE",)) or (0,))[0] or 0
    counted = sum(one.vmpte_bytes for one in processes) + own - int(kernel_shared.sum()) * shape.page
    return Audit(
        objects=savings.objects(measured),
        private=private_memory(session.tally),
        processes=processes,
        cgroups=_cgroups(processes),
        unread=tuple(session.unread),
        missed=_missed(selection, session, everything=everything),
        page_tables_bytes=machine,
        own_bytes=own,
        top_bytes=_top_bytes(machine, counted, len(processes) + 1, shape.page),
        without=selection.without,
        method="PAGEMAP_SCAN" if scan or (scan is None and scan_unavailable() is None) else "pagemap",
        selection=_words(pids, cgroup),
        top=top,
        table_page_bytes=shape.page,
        huge_page_bytes=shape.spans[0],
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        has_mshare="msharefs" in (read_text("/proc/filesystems") or "").split(),
        cost=before.cost(),
    )


def machine_geometry() -> Geometry:
    """Page-table geometry of this machine.

    Raises
    ------
    CapabilityError
        When the architecture is not one of those that are known.
    """
    machine, page = platform.machine(), os.sysconf("SC_PAGE_SIZE")
    if machine == "x86_64":
        return geometry("x86_64")  # a fifth level has the same counted levels
    if machine == "aarch64" and page in _ARM64:
        return geometry(_ARM64[page])
    raise CapabilityError(f"audit: page tables of {machine} with pages of {page} bytes are not known here")


def _top_bytes(machine: int | None, counted: int, spaces: int, page: int) -> int:
    """Top-level tables of all address spaces, which ``VmPTE`` never has, if ``PageTables`` has them (seen on Linux 6.18).

    Where it has not, the sum with them would be more than there is: nothing else is in it but, with them, the kernel's own.
    """
    isolated = (read_text("/sys/devices/system/cpu/vulnerabilities/meltdown") or "").startswith("Mitigation: PTI")
    top = spaces * page * (2 if isolated else 1)  # with page-table isolation a second one for user mode
    return top if machine is not None and counted + top <= machine else 0


def _processes(session: Session, fractions: NDArray[np.float64]) -> tuple[AuditedProcess, ...]:
    page = session.geometry.page
    usage = session.usage()
    kinds = int(usage.space.max()) + 1 if len(usage.space) else 0
    private = np.bincount(usage.space, usage.tables * (usage.number == PRIVATE), minlength=kinds)
    double = np.bincount(usage.space, usage.tables * fractions[usage.number], minlength=kinds)
    rows = []
    for space in session.spaces:
        first, known = space.group[0], space.usage >= 0
        hidden = sum(tables for _, tables in space.hidden)
        own = sum(tables for number, tables in space.hidden if number == PRIVATE)
        rows.append(
            AuditedProcess(
                first.pid,
                first.comm,
                space.vmpte_bytes,
                space.attributed * page,
                space.vmpte_bytes - space.attributed * page,
                (int(private[space.usage]) + own) * page if known else 0,
                round(float(double[space.usage]) * page) if known else 0,
                hidden * page,
                tuple(one.pid for one in space.group),
                space.cgroup,
            )
        )
    return tuple(sorted(rows, key=lambda row: row.pid))


def _cgroups(processes: Sequence[AuditedProcess]) -> tuple[CgroupShare, ...]:
    groups: dict[str, list[AuditedProcess]] = defaultdict(list)
    for one in processes:
        groups[one.cgroup].append(one)
    rows = [
        CgroupShare(
            path,
            len(ones),
            *(
                sum(getattr(one, name) for one in ones)
                for name in (
                    "vmpte_bytes",
                    "attributed_bytes",
                    "unattributed_bytes",
                    "private_bytes",
                    "duplicated_bytes",
                )
            ),
        )
        for path, ones in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.vmpte_bytes, row.cgroup)))


def _missed(selection: Selection, session: Session, *, everything: bool) -> tuple[str, ...]:
    missed = []
    spaces = session.address_spaces
    if spaces.lack:
        missed.append(f"processes that share an address space are counted once each: {spaces.lack}")
    if spaces.unchecked:
        missed.append(f"processes that were not checked for a shared address space, {spaces.unchecked}: not allowed")
    if selection.refused:
        missed.append(f"processes that may not even be looked at, {selection.refused}: /proc is mounted with hidepid")
    refused = [one for one in session.unread if one.vmpte_bytes is not None]
    if refused:
        missed.append(
            f"processes that may not be read, {len(refused)}: their page tables are counted as unattributed"
            + ("" if os.geteuid() == 0 else ". Root can read those of other users")
        )
    frames = frames_unavailable()
    if frames:
        missed.append(
            f"{frames}: files on several overlay mounts are not united, shared PMD tables are deduced, not measured"
        )
    if not everything:
        missed.append("only these processes were read: others may map the same objects")
    return tuple(missed)


def _words(pids: Sequence[int | str] | None, cgroup: str | None) -> str:
    if pids is not None:
        return "pid " + ", ".join(map(str, pids))
    return f"cgroup {cgroup}" if cgroup is not None else "all processes"


class _Meter:
    """What this process has used up to now."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._read, self._peak = _read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def cost(self) -> Cost:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        now = _read_bytes()
        read = None if now is None or self._read is None else now - self._read
        return Cost(wall, cpu, read, (peak - self._peak) * 1024)


def _read_bytes() -> int | None:
    # rchar: what read(2) has returned, /proc files among it.
    for line in (read_text("/proc/self/io") or "").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return None
