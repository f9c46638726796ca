"""Redis servers, and the child that each forks to write a snapshot (BGSAVE): copy-on-write, nothing shared between servers.

Half of the processes are servers with a share of the data each, half are their snapshot children. A control more than a target: a
child's tables are a copy of its parent's, private memory, which no way of sharing between programs reaches. Each server listens
on a unix socket only (so they are masters of their own; the bus of a Redis Cluster would need TCP ports and adds no memory).
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import GIB
from mshare_bench.domain.workload import Region, WorkloadSpec
from mshare_bench.errors import CellFailed
from mshare_bench.workloads.apps._resp import Redis
from mshare_bench.workloads.redis_cluster import servers_and_snapshots
from mshare_bench.workloads.registry import workload

__all__ = ["APP_REDIS", "RedisDriver"]

_VALUE_BYTES = 1000
_ROUND = 20_000
_SLOW_US = 200
"""Microseconds that a child waits at each key, so that it is there while it is read."""


class RedisDriver:
    """Starts servers, fills them, lets each fork."""

    def __init__(self) -> None:
        self._servers: list[Redis] = []
        self._pids: list[int] = []
        self._fork_us: list[float] = []

    def lack(self, stage: Stage) -> str | None:
        """The server."""
        if shutil.which("redis-server") is None:
            return "redis-server is not installed; on Debian: apt-get install redis-server"
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """None."""
        return {}

    def start(self, stage: Stage) -> None:
        """Start the servers and fill each with its share."""
        count = -(-stage.workload.processes // 2)
        share = stage.workload.region_bytes // count
        for number in range(count):
            socket = stage.folder / f"{number}.sock"
            folder = stage.folder / f"data-{number}"
            folder.mkdir()
            options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), "save": "", "appendonly": "no",
                       "enable-debug-command": "yes", "rdbcompression": "no", "activerehashing": "no"}  # fmt: skip
            words = [word for key, value in options.items() for word in (f"--{key}", value)]
            process = stage.spawn(["redis-server", *words], name=f"redis-{number}")
            # The socket is there a moment before anybody listens.
            stage.wait(f"redis-{number}", lambda socket=socket: _listens(socket))  # type: ignore[misc]
            self._pids.append(process.pid)
            server = Redis(socket, stage.timeout)
            self._servers.append(server)
            keys = 0
            while int(server.info("memory")["used_memory"]) < share:
                keys += _ROUND
                server("DEBUG", "POPULATE", keys, "key", _VALUE_BYTES)

    def attach(self, stage: Stage) -> Watched:
        """The servers, filled."""
        return Watched({"servers": self._pids})

    def touch(self, stage: Stage) -> Watched:
        """Let each write a snapshot: the child is there as soon as the server has answered."""
        children = []
        for pid, server in zip(self._pids, self._servers, strict=True):
            server("CONFIG", "SET", "rdb-key-save-delay", _SLOW_US)
            server("BGSAVE")
            found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            if not found:
                raise CellFailed("redis: the snapshot child has ended before it was watched")
            children.append(found[0])
            self._fork_us.append(float(server.info("stats")["latest_fork_usec"]))
        each = [round(one * 1000) for one in self._fork_us]
        children = children[: stage.workload.processes - len(self._pids)]
        groups = {"servers": self._pids, "snapshots": children} if children else {"servers": self._pids}
        return Watched(groups, Timing(each, sum(each), phase="fork"), inherited=True)

    def watches(self, mapping: MappedFile) -> bool:
        """The private memory of a server: heap and anonymous mappings."""
        return not mapping.shared and mapping.inode == 0 and mapping.path in ("", "[heap]")

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """How long the kernel took to fork, by the servers' own clock."""
        sizes = [float(server.info("memory")["used_memory"]) for server in self._servers]
        return (
            Figure("latest_fork", max(self._fork_us) / 1e6, "s", "lower"),
            Figure("data_of_a_server", max(sizes), "B"),
        )

    def stop(self, stage: Stage) -> None:
        """Nothing is to be kept: the connections close, the servers get SIGTERM after this."""
        for server in self._servers:
            server.close()


def _listens(path: Path) -> bool:
    try:
        Redis(path, 1.0).close()
    except CellFailed:
        return False
    return True


APP_REDIS = workload(
    WorkloadSpec(
        name="app_redis",
        description="Redis servers and their snapshot children: fork and copy-on-write, nothing shared between servers",
        regions=(Region("data", 3 * GIB),),
        main="data",
        build=servers_and_snapshots,
        processes=6,
        write_fraction=1.0,
        driver=RedisDriver,
        mechanisms=("inherit",),
        remark=(
            "mshare does not help here: the data is private memory, each server's own. A snapshot child needs tables of its own "
            "because it must keep the pages as they were while the server writes (copy-on-write), and a table that both share "
            "would show the child every write. What a fork costs is the copy of these tables, which grows with the data."
        ),
    )
)
