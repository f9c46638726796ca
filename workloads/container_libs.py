"""Containers that start from one image: the same libraries mapped by every process, read only, each partly touched.

Forty libraries, 149 MB together, sized as a service's are: a few large ones, many small. They lie one behind the other, as the
dynamic linker places them, so neighbours meet in one table page.
"""

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.units import KIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.workloads.registry import workload

__all__ = ["CONTAINER_LIBS"]

_LIBRARIES = 40
_LARGEST = 28_000 * KIB
_SMALLEST = 16 * KIB


def _sizes() -> list[int]:
    """A geometric series of sizes from the largest to the smallest, whole pages."""
    ratio = (_SMALLEST / _LARGEST) ** (1 / (_LIBRARIES - 1))
    return [round(_LARGEST * ratio**index / (4 * KIB)) * 4 * KIB for index in range(_LIBRARIES)]


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    return (ProcessGroup("containers", "container", (Cohort(request.processes, request.touch_all()),)),)


CONTAINER_LIBS = workload(
    WorkloadSpec(
        name="container_libs",
        description="libraries of one image in many containers: forty mappings, read only, partly touched",
        regions=tuple(Region(f"lib{index:02}", size, adjacent=True) for index, size in enumerate(_sizes())),
        main="lib00",
        build=_groups,
        processes=100,
        access=AccessPattern("fraction", fraction=0.35),
    )
)
