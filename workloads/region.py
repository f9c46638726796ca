"""One region, mapped and touched by all: the default workload, and the arithmetic of the article that started this."""

from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.workloads.registry import workload

__all__ = ["REGION"]


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    return (ProcessGroup("all", "worker", (Cohort(request.processes, (request.touch("region"),)),)),)


REGION = workload(
    WorkloadSpec(
        name="region",
        description="one region, mapped whole and touched alike by every process",
        regions=(Region("region", GIB),),
        main="region",
        build=_groups,
    )
)
