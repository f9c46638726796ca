"""A cluster of Redis servers, each with a data set of its own, and the child that each forks to write a snapshot.

Half of the processes are servers, half their snapshot children; a child reads all of its server's data while the server goes on
writing (`write_fraction` of its pages). Between servers nothing is shared: a control more than a target.
"""

from dataclasses import replace

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workload

__all__ = ["REDIS_CLUSTER", "servers_and_snapshots"]


def servers_and_snapshots(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    """Make the two groups: half of the processes servers with a share of the data each, half the children that read all of it.

    Raises
    ------
    ConfigError
        When a share is less than a page.
    """
    servers = -(-request.processes // 2)
    data = request.regions["data"]
    pages = request.pages("data") // servers
    if pages == 0:
        raise ConfigError(f"region={data.size}: less than a page for each of {servers} servers")
    request.regions["data"] = replace(data, size=pages * request.page, instances=servers)
    groups = [ProcessGroup("servers", "server", (Cohort(servers, (request.touch("data"),)),))]
    if request.processes > servers:
        snapshot = request.touch("data", AccessPattern("dense"), write_fraction=0.0)
        children = Cohort(request.processes - servers, (snapshot,))
        groups.append(ProcessGroup("snapshots", "snapshot", (children,)))
    return tuple(groups)


REDIS_CLUSTER = workload(
    WorkloadSpec(
        name="redis_cluster",
        description="Redis servers and their snapshot children: fork and copy-on-write, nothing shared between servers",
        regions=(Region("data", 6 * GIB),),
        main="data",
        build=servers_and_snapshots,
        processes=12,
        write_fraction=0.3,
        simulated_only="workload=redis_cluster: it needs fork with copy-on-write, which the real engine does not drive yet",
    )
)
