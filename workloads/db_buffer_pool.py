"""A database's shared buffers: backends arrive one after the other and touch popular pages; a checkpointer reads them all.

Page popularity falls as a power law (`access=zipf`), a tenth of what a backend touches it writes. The shape is PostgreSQL's: one
shared segment, a process per connection, each with page tables of its own.
"""

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.workloads.registry import workload

__all__ = ["DB_BUFFER_POOL"]


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    backends = Cohort(max(1, request.processes - 1), (request.touch("buffers"),))
    groups = (ProcessGroup("backends", "backend", (backends,), life="arriving"),)
    if request.processes == 1:
        return groups
    scan = request.touch("buffers", AccessPattern("dense"), write_fraction=0.0)
    return (*groups, ProcessGroup("checkpointer", "checkpointer", (Cohort(1, (scan,)),)))


DB_BUFFER_POOL = workload(
    WorkloadSpec(
        name="db_buffer_pool",
        description="shared buffers of a database: zipf reads and writes, connections arriving over time",
        regions=(Region("buffers", 8 * GIB),),
        main="buffers",
        build=_groups,
        processes=100,
        access=AccessPattern("zipf"),
        write_fraction=0.1,
    )
)
