"""Runs one casting phase by phase and reads the kernel's counters around it."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import CellFailed
from mshare_bench.mechanisms.contract import Traits
from mshare_bench.real.agent.protocol import Spawn
from mshare_bench.real.counters.interrupts import tlb_shootdowns
from mshare_bench.real.counters.ksm import RMAP_ITEM_BYTES, ksm_state, process_ksm_state
from mshare_bench.real.counters.numa_maps import mapping_nodes
from mshare_bench.real.counters.page_tables import node_page_tables
from mshare_bench.real.counters.perf import PerfEvents, event_unavailable
from mshare_bench.real.counters.smaps import mappings
from mshare_bench.real.counters.tlb import TlbCounters, TlbReading
from mshare_bench.real.counters.vmpte import vm_bytes
from mshare_bench.real.launch import Binding, ProcessTree
from mshare_bench.real.machine_wide import settled
from mshare_bench.real.moves import Moved, move_data
from mshare_bench.real.placed import Seating
from mshare_bench.real.programs import Backed, Casting

__all__ = ["Measurement", "Times", "measure", "wait_until_merged"]

_QUIET_S = 0.05
_MERGE_SCANS = 3
"""Full scans after which everything equal is merged: one notes checksums, one fills the trees, one merges what came late."""


@dataclass(frozen=True, slots=True)
class Times:
    """One phase: what each process took, and its faults.

    Attributes
    ----------
    duration_ns, minor_faults
        Shape (processes,).
    wall_ns
        From the first start to the last end.
    page_table_bytes
        Page tables after it; None where they were not read.
    """

    duration_ns: NDArray[np.int64]
    minor_faults: NDArray[np.int64]
    wall_ns: int
    page_table_bytes: int | None = None


@dataclass(slots=True)
class Measurement:
    """What a cell showed.

    Attributes
    ----------
    vm_pte_bytes
        `VmPTE` over all address spaces after touch, less what they are without the regions.
    page_tables_bytes
        The same by the machine's `PageTables`; None where it was not asked for or can't be read.
    held_table_bytes
        Tables that the regions hold themselves after touch: no process's, so `VmPTE` lacks them.
    data_bytes, metadata_bytes
        The data in all its copies; what KSM keeps beside it. None where it was not read.
    parent_faults
        Faults of the parent before it forked the others.
    linking_faults
        Faults that perf's `page-faults` event saw and `ru_minflt` did not: those that link a shared table. None where tables
        are not shared or there is no such event.
    pmd_mapped_bytes
        Bytes of a file that PMD entries map, in the first process: the condition of a file's prediction.
    address_space_bytes
        Address space that a process gives to the regions: what it maps to attach.
    tlb
        TLB misses and cycles in walks of all processes while they touched.
    shootdowns
        Shootdown interrupts that the machine's CPUs received while the processes touched, forked, protected and unmapped; None
        where they are not counted.
    attach_start_ns
        When the first process attached, CLOCK_MONOTONIC.
    node_tables, node_data
        Page tables, and data, that the regions have on each node; None where they were not asked for or can't be told.
    moved
        What came of moving the data; None where it was not asked for.
    phases
        By phase, in order.
    """

    vm_pte_bytes: int = 0
    page_tables_bytes: int | None = None
    held_table_bytes: int = 0
    data_bytes: int | None = None
    metadata_bytes: int | None = None
    parent_faults: int = 0
    linking_faults: int | None = None
    pmd_mapped_bytes: int | None = None
    address_space_bytes: int = 0
    tlb: TlbReading = field(default_factory=TlbReading)
    shootdowns: int | None = None
    attach_start_ns: int = 0
    node_tables: dict[int, int] | None = None
    node_data: dict[int, int] | None = None
    moved: Moved | None = None
    phases: dict[str, Times] = field(default_factory=dict)


def measure(
    casting: Casting,
    backed: Sequence[Backed],
    traits: Traits,
    spawn: Spawn,
    *,
    one_by_one: bool,
    system_wide: bool,
    seating: Seating | None = None,
    cgroup: Path | None = None,
    oom_kills: Callable[[], int | None] = lambda: None,
    parallel: int | None = None,
    timeout: float = 120.0,
    begin: Callable[[], None] | None = None,
) -> Measurement:
    """Run a casting.

    Parameters
    ----------
    one_by_one
        Whether one process touches after the other, because the counts depend on the order: data that is not there beforehand,
        tables that all share.
    system_wide
        Whether to read the machine's `PageTables` too, which means waiting until it stands still.
    seating
        Where agents run and allocate; None for in turn on all CPUs.
    parallel
        Processes that run at a time, on as many CPUs; None for one on every CPU.
    cgroup, oom_kills
        The `procs` file of the cgroup that the agents join, and how many of its processes the OOM killer took so far.
    begin
        Called when all processes are there and nothing is mapped; they attach as soon as it returns.

    Raises
    ------
    CellFailed
        When an agent dies, a wait times out, or the OOM killer was at work meanwhile.
    """
    agents = casting.agents
    cpus = sorted(os.sched_getaffinity(0))
    cpus = cpus[-(parallel or len(cpus)) :]  # the first takes most of the machine's own work
    parallel = min(parallel or len(cpus), agents)
    touching = 1 if one_by_one else parallel
    killed_before = oom_kills()
    spaces = (one.instances[0].map_length or one.placed.region.size for one in backed)
    result = Measurement(address_space_bytes=sum(spaces))
    with (
        contextlib.ExitStack() as stack,
        ProcessTree(
            casting.programs,
            agents + 1,
            casting.assignment,
            fds=[backing.fd for one in backed for backing in one.instances if backing.fd >= 0],
            spawn=spawn,
            parallel=parallel,
            # An agent hands its turn to the one `parallel` places on, so each of these chains stays on one CPU.
            bindings=seating.bindings if seating else [Binding(cpus=frozenset({cpu})) for cpu in cpus],
            binding=seating.binding if seating else np.arange(agents + 1) % len(cpus),
            prefork=casting.prefork,
            cgroup=cgroup,
            nice=0,
            timeout=timeout,
        ) as tree,
    ):
        tlb = stack.enter_context(TlbCounters(tree.zygote_pid))
        parent = [tree.zygote_pid] if casting.prefork else []
        parent_before = _vm_pte(parent)
        if parent:
            result.parent_faults = int(tree.run_prefork()["minor_faults"].sum())
        result.phases["launch"] = _times(tree.launch()[:agents])
        # Before the data is written: tables that all share stay when the populator has gone, and are part of what the cell costs.
        all_before = settled() if system_wide or seating else None
        nodes_before = node_page_tables()
        tree.run("populate", agents, agents + 1, parallel=1)
        pids = [int(pid) for pid in (tree.pids[:agents] if spawn == Spawn.FORK else tree.pids[:1])]
        before = _vm_pte(pids)
        if begin is not None:
            begin()
        attached = tree.run("attach", 0, agents)
        result.phases["attach"], result.attach_start_ns = _times(attached), int(attached["start_ns"].min())
        interrupts = _shootdowns()
        with _page_faults(pids if traits.link else []) as linked, tlb.counting():
            written = tree.run("write", 0, agents, parallel=touching)
            read = tree.run("read", 0, agents, parallel=touching)
        if linked:
            result.linking_faults = linked[0] - int(written["minor_faults"].sum() + read["minor_faults"].sum())
        result.tlb = tlb.read()
        if traits.merged:
            wait_until_merged(timeout)
        after, all_after = _vm_pte(pids), settled() if system_wide or seating else None
        nodes_after = node_page_tables()
        if system_wide and all_before is not None and all_after is not None:
            result.page_tables_bytes = all_after - all_before
        result.held_table_bytes = sum(backing.held_table_bytes() for one in backed for backing in one.instances)
        # The populator is a child as well: it holds its share of what is inherited.
        heirs = [*parent, *map(int, tree.pids[agents:])] if parent else []
        _read_data(result, [*pids, *heirs], backed, traits)
        if seating is not None:
            result.node_data = _node_data(pids, backed, traits, result.data_bytes)
            if seating.way is not None:
                result.moved = move_data(pids[0], backed, seating.page, seating.way)
        parent_after = _vm_pte(parent)
        if not parent:
            result.phases["fork"] = _fork_times(tree, agents)
        for phase in ("protect", "unmap"):
            result.phases[phase] = _times(tree.run(phase, 0, agents))
        interrupted = _shootdowns()
        # Moving pages shoots down as well, and that is not the cell's.
        if interrupts is not None and interrupted is not None and result.moved is None:
            result.shootdowns = interrupted - interrupts
        # What is inherited is there from the start: without it, a process has what it has left after it let go.
        without = _vm_pte(pids) if parent else before
        result.vm_pte_bytes = after - without + parent_after - parent_before
        if seating is not None:
            # Others come and go, and older kernels count no PUD pages: only what adds up is these processes' own.
            tables = {node: nodes_after[node] - nodes_before[node] for node in nodes_before}
            total = result.page_tables_bytes if system_wide else result.vm_pte_bytes
            result.node_tables = tables if sum(tables.values()) == total else None
        result.phases["touch"] = _touch_times(written, read, result.vm_pte_bytes)
        if parent:
            result.phases["fork"] = result.phases["launch"]
        result.phases["exit"] = _times(tree.exit()[:agents])
    killed = oom_kills()
    if killed is not None and killed_before is not None and killed > killed_before:
        raise CellFailed(f"the OOM killer took {killed - killed_before} processes while the cell ran")
    return result


def _shootdowns() -> int | None:
    counts = tlb_shootdowns()
    return None if counts is None else sum(counts)


@contextlib.contextmanager
def _page_faults(pids: Sequence[int]) -> Iterator[list[int]]:
    """Count perf's `page-faults` of these processes; the list holds the sum at the end, and stays empty where it can't be had."""
    total: list[int] = []
    if not pids or event_unavailable("page-faults"):
        yield total
        return
    with contextlib.ExitStack() as events:
        opened = [events.enter_context(PerfEvents(("page-faults",), (pid,))) for pid in pids]
        for one in opened:
            one.start()
        yield total
        counts = [one.read()[0].count for one in opened]
        if None not in counts:
            total.append(sum(count for count in counts if count is not None))


def _vm_pte(pids: Sequence[int]) -> int:
    return int(vm_bytes(pids).sum()) if pids else 0


def wait_until_merged(timeout: float) -> None:
    """Wait for full scans of KSM; what they merged in the last one is no longer in motion.

    Raises
    ------
    CellFailed
        When KSM does not get that far in time.
    """
    start, deadline = ksm_state().get("full_scans", 0), time.monotonic() + timeout
    while ksm_state().get("full_scans", 0) < start + _MERGE_SCANS:
        if time.monotonic() > deadline:
            scans = ksm_state().get("full_scans", 0) - start
            raise CellFailed(f"KSM made {scans} of {_MERGE_SCANS} full scans within {timeout:g} s")
        time.sleep(_QUIET_S)


def _read_data(result: Measurement, pids: Sequence[int], backed: Sequence[Backed], traits: Traits) -> None:
    """Bytes that the backings hold, and each process's share of its own copies (`Pss` of anonymous pages)."""
    held = [backing.held_bytes() for one in backed for backing in one.instances]
    known = [amount for amount in held if amount is not None]
    total = sum(known) if len(known) == len(held) or traits.data != "shared" else None
    if traits.data != "shared":
        ends = [(one.placed.address, one.placed.address + one.placed.region.size) for one in backed]
        own = 0
        for pid in pids:
            for part in mappings(pid):
                if any(start <= part.start < end for start, end in ends):
                    own += part.sizes.get("Pss", 0) if not known else part.sizes.get("Anonymous", 0)
        total = (total or 0) + own
    result.data_bytes = total
    if traits.merged:
        items = [process_ksm_state(pid).get("ksm_rmap_items") for pid in pids]
        counts = [int(count) for count in items if count is not None]
        result.metadata_bytes = sum(counts) * RMAP_ITEM_BYTES if len(counts) == len(items) else None
    else:
        result.metadata_bytes = 0
    if traits.resident and backed:
        first = [part for part in mappings(pids[0]) if part.start == backed[0].placed.address]
        result.pmd_mapped_bytes = sum(part.sizes.get("FilePmdMapped", 0) for part in first)


def _node_data(
    pids: Sequence[int], backed: Sequence[Backed], traits: Traits, data_bytes: int | None
) -> dict[int, int] | None:
    """Data by node as the processes have it mapped; None where no process alone shows all of what they share."""
    own: dict[int, int] = {}
    shown: dict[int, int] = {}
    for pid in pids:
        here: dict[int, int] = {}
        for one in backed:
            for node, size in mapping_nodes(pid, one.placed.address, one.placed.region.size).items():
                here[node] = here.get(node, 0) + size
        own = {node: own.get(node, 0) + here.get(node, 0) for node in {*own, *here}}
        shown = max(shown, here, key=lambda nodes: sum(nodes.values()))
    nodes = own if traits.data == "private" else shown
    return nodes if sum(nodes.values()) == data_bytes else None


def _times(results: NDArray[np.void], page_table_bytes: int | None = None) -> Times:
    starts, durations = results["start_ns"], results["duration_ns"]
    wall = int((starts + durations).max() - starts.min()) if len(results) else 0
    return Times(durations.astype(np.int64), results["minor_faults"].astype(np.int64), wall, page_table_bytes)


def _fork_times(tree: ProcessTree, agents: int) -> Times:
    """What `clone` took in each process; the child's short life is not part of it."""
    phase = tree.run("fork", 0, agents)
    clone = tree.op_results("fork")[:agents, 0]["duration_ns"].astype(np.int64)
    return Times(clone, phase["minor_faults"].astype(np.int64), _times(phase).wall_ns)


def _touch_times(written: NDArray[np.void], read: NDArray[np.void], page_table_bytes: int) -> Times:
    """Writes and reads are one phase to the outside; the pause between them is nobody's time."""
    first, second = _times(written), _times(read)
    return Times(
        first.duration_ns + second.duration_ns,
        first.minor_faults + second.minor_faults,
        first.wall_ns + second.wall_ns,
        page_table_bytes,
    )
