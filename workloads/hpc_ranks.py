"""Ranks of one node that share a window (as MPI_Win_allocate_shared gives it) and a read-only table.

Each rank writes its slice of the window, then reads the slices of both neighbours, then all read the table. The access pattern is
applied within each slice.
"""

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.pages import PageSet
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, Touch, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workload

__all__ = ["HPC_RANKS"]


def _slice_touch(request: WorkloadRequest, rank: int, ranks: int, length: int, stride: int = 0) -> Touch:
    """What a rank touches in the window: its slice, and those of the neighbours that it has."""

    def part(which: int) -> PageSet:
        return request.access.pages(length * request.page, request.page, which * length)

    own = part(rank)
    written, own_read = own.split(request.write_fraction, request.access.seed)
    left = part(rank - 1) if rank else PageSet(())
    right = part(rank + 1) if rank < ranks - 1 else PageSet(())
    touched = PageSet((*left.runs, *own.runs, *right.runs))
    return Touch("window", touched, written, PageSet((*left.runs, *own_read.runs, *right.runs)), stride)


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    ranks, pages = request.processes, request.pages("window")
    length = pages // ranks
    if length == 0:
        raise ConfigError(f"processes={ranks}: the window has {pages} pages, fewer than ranks")
    table = request.touch("table", AccessPattern("dense"), write_fraction=0.0)
    # Inner ranks do the same, each one slice further on; the two at the ends lack a neighbour.
    inner = _slice_touch(request, 1, ranks, length, stride=length) if ranks > 2 else None
    cohorts = [Cohort(1, (_slice_touch(request, 0, ranks, length), table))]
    if inner is not None:
        cohorts.append(Cohort(ranks - 2, (inner, table)))
    if ranks > 1:
        cohorts.append(Cohort(1, (_slice_touch(request, ranks - 1, ranks, length), table)))
    return (ProcessGroup("ranks", "rank", tuple(cohorts)),)


HPC_RANKS = workload(
    WorkloadSpec(
        name="hpc_ranks",
        description="ranks of one node: slices of a shared window, neighbours' slices, a common table",
        regions=(Region("window", GIB), Region("table", 256 * MIB)),
        main="window",
        build=_groups,
        processes=64,
        write_fraction=1.0,
    )
)
