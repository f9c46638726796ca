"""On which NUMA node the pages of a mapping are, from ``/proc/PID/numa_maps``.

One line per VMA: its address, its memory policy, and how many pages of it that this process has mapped lie on each node.
Limits:

* Only pages in this process's page tables are counted: what another process has populated and this one has not
  touched does not show.
* Pages are counted in ``kernelpagesize_kB`` of the VMA: a hugetlb page is one, a transparent huge page is 512 of 4 KiB.
* It says where the *data* is. Where the page tables are only ``/sys/devices/system/node/nodeN/meminfo`` tells
  (:func:`mshare_bench.real.counters.page_tables.node_page_tables`), for the node as a whole.
* Reading walks the page tables, as ``smaps`` does: after the timed phases.
* A kernel without CONFIG_NUMA has no such file. The right to trace the process is needed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.counters.procfs import read_process_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["MappingNodes", "mapping_nodes", "numa_maps", "unavailable"]


@dataclass(frozen=True, slots=True)
class MappingNodes:
    """
    Where the pages of one VMA are.

    Attributes
    ----------
    start : int
        Address.
    policy : str
        ``default``, ``bind:0``, ``interleave:0-1``, ...
    page_bytes : int
        What one page of `pages` is.
    pages : dict of int to int
        Pages by node; a node without pages is not in it.
    """

    start: int
    policy: str
    page_bytes: int
    pages: dict[int, int]

    @property
    def node_bytes(self) -> dict[int, int]:
        """Bytes by node."""
        return {node: count * self.page_bytes for node, count in self.pages.items()}


def unavailable() -> str | None:
    """Say why ``numa_maps`` can't be read here; None when it can."""
    if read_process_file(os.getpid(), "numa_maps") is None:
        return "this kernel has no /proc/PID/numa_maps (built without CONFIG_NUMA)"
    return None


def numa_maps(pid: int) -> list[MappingNodes]:
    """
    Read where every mapping of a process has its pages.

    Returns
    -------
    list of MappingNodes
        One per VMA, in the order of the addresses.

    Raises
    ------
    CellFailed
        When the process has ended.
    CapabilityError
        When the kernel has no ``numa_maps`` or it may not be read.
    """
    data = read_process_file(pid, "numa_maps")
    if not data:
        reason = unavailable()
        if reason is not None:
            raise CapabilityError(reason)
        raise CellFailed(f"process {pid} ended before its numa_maps were read")
    return [_parse(line) for line in data.decode("utf-8", "replace").splitlines()]


def mapping_nodes(pid: int, start: int, size: int) -> dict[int, int]:
    """
    Read on which nodes the pages of an address range are.

    VMAs do not show their ends here; those that *begin* in the range are counted, and the one that `start` lies in.

    Parameters
    ----------
    pid : int
        The process.
    start, size : int
        The range in bytes.

    Returns
    -------
    dict of int to int
        Bytes by node; empty when nothing of it has been touched.

    Raises
    ------
    CellFailed
        When the process has ended.
    CapabilityError
        When nothing is mapped there, or ``numa_maps`` cannot be read.
    """
    lines = numa_maps(pid)
    at = max((line.start for line in lines if line.start <= start), default=start)
    parts = [line for line in lines if at <= line.start < start + size]
    if not parts:
        raise CapabilityError(f"process {pid} has nothing mapped at {start:#x}")
    nodes: dict[int, int] = {}
    for part in parts:
        for node, size_here in part.node_bytes.items():
            nodes[node] = nodes.get(node, 0) + size_here
    return dict(sorted(nodes.items()))


def _parse(line: str) -> MappingNodes:
    start, policy, *words = line.split(" ")
    values = dict(word.split("=", 1) for word in words if "=" in word)
    pages = {int(key[1:]): int(value) for key, value in values.items() if key[0] == "N" and key[1:].isdigit()}
    # A VMA without a page has no page size either, and needs none.
    return MappingNodes(int(start, 16), policy, int(values.get("kernelpagesize_kB", "0")) * 1024, pages)


def _mapped_bytes(pids: Sequence[int]) -> int | None:
    if unavailable() is not None:
        return None
    return sum(sum(part.node_bytes.values()) for pid in pids for part in numa_maps(pid))


register(
    Counter(
        "numa_mapped",
        "byte",
        "process",
        "bytes on all nodes that the processes have mapped, summed over the processes",
        unavailable,
        _mapped_bytes,
    )
)
