"""Virtual machines whose memory is mapped by peers too: the VM monitor, and device back ends such as vhost-user.

`processes` are spread over the guests: each guest is one monitor and `workload.peers` peers. `region` is the memory of all
guests together; each has its own part.
"""

from dataclasses import replace

from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workload

__all__ = ["VM_HOSTS"]


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    peers = int(request.params["peers"])
    if peers < 0:
        raise ConfigError(f"workload.peers={peers}: must not be negative")
    guests = max(1, request.processes // (1 + peers))
    memory = request.regions["memory"]
    pages = request.pages("memory") // guests
    if pages == 0:
        raise ConfigError(f"region={memory.size}: less than a page for each of {guests} guests")
    request.regions["memory"] = replace(memory, size=pages * request.page, instances=guests)
    touch = request.touch("memory")
    groups = [ProcessGroup("monitors", "monitor", (Cohort(guests, (touch,)),))]
    if request.processes > guests:
        read = request.touch("memory", write_fraction=0.0)
        groups.append(ProcessGroup("peers", "peer", (Cohort(request.processes - guests, (read,)),)))
    return tuple(groups)


VM_HOSTS = workload(
    WorkloadSpec(
        name="vm_hosts",
        description="memory of virtual machines, mapped by each monitor and its peers",
        regions=(Region("memory", 16 * GIB),),
        main="memory",
        build=_groups,
        processes=32,
        params={"peers": 3},
        write_fraction=1.0,
    )
)
