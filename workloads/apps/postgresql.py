"""PostgreSQL: N connections, each a backend process with page tables of its own for the shared buffers.

The server runs in a private directory on a unix socket, as the user `postgres` where we are root (it refuses root). pgbench fills
tables until they fill the buffers, `pg_prewarm` reads them in, and every connection then samples the large table so that it
touches every 2 MiB of it. `mechanism=shmem` is `huge_pages=off`, `mechanism=hugetlb` is `huge_pages=on`: `try` would fall back
silently. Traps: `pg_prewarm` maps nothing into a backend that finds its pages cached;
parallel workers, JIT and synchronised scans would let backends touch different parts.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.workloads.apps._postgresql_protocol import Connection, all_at_once
from mshare_bench.workloads.registry import workload

__all__ = ["APP_POSTGRESQL", "PostgresqlDriver"]

_USER = "postgres"
_NEEDED = ("initdb", "postgres", "pgbench")
_SCALE_BYTES = 15 * MIB
"""What one unit of pgbench's scale takes in the buffers: 13 MiB of table and 2 of index."""
_LONGEST_SOCKET = 107
"""`sun_path` of `struct sockaddr_un`, without its end."""
_WARM = "select count(abalance) from pgbench_accounts tablesample system (5) repeatable (1)"


class PostgresqlDriver:
    """Starts a server, opens connections, warms them up."""

    def __init__(self) -> None:
        self._bin: Path | None = None
        self._connections: list[Connection] = []
        self._warm: list[float] = []
        self._storm_ns = 0

    def lack(self, stage: Stage) -> str | None:
        """What keeps it from running: mostly PostgreSQL's server programs, which Debian keeps off the PATH."""
        if len(str(self._socket(stage))) > _LONGEST_SOCKET:
            return f"TMPDIR: {stage.folder} is too long a name for a unix socket in it; set a shorter one"
        on_path = shutil.which("initdb")
        folders = [Path(on_path).parent] if on_path else []
        folders += sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: _number(one.parent.name), reverse=True
        )
        self._bin = next((one for one in folders if all((one / name).exists() for name in _NEEDED)), None)
        if self._bin is None:
            return "PostgreSQL is not installed (initdb, postgres, pgbench); on Debian: apt-get install postgresql"
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """Huge pages, as the server itself reckons (`shared_memory_size_in_huge_pages`, PostgreSQL 15 on)."""
        if stage.mechanism != "hugetlb":
            return {}
        self._create(stage)
        text = stage.run(
            [self._program("postgres"), "-D", str(self._data(stage)), "-C", "shared_memory_size_in_huge_pages"],
            name="reckon",
            user=_USER,
        )
        count = int(text.split()[-1])
        if count <= 0:
            raise CapabilityError("huge_pages=on: this PostgreSQL can't use huge pages here")
        return {"hugepages": count + 2}  # its own reckoning is a page short on some versions

    def start(self, stage: Stage) -> None:
        """Start the server and fill the buffers."""
        self._create(stage)
        server = stage.spawn([self._program("postgres"), "-D", str(self._data(stage))], name="postgres", user=_USER)
        socket = self._socket(stage)
        stage.wait("postgres", socket.exists)
        stage.wait("postgres", lambda: "database system is ready" in (stage.folder / "postgres.log").read_text())
        assert server.pid
        scale = max(1, int(stage.workload.region_bytes * 0.97) // _SCALE_BYTES)
        arguments = ["-i", "-I", "dtgp", "-q", "-s", str(scale), "--unlogged-tables"]
        stage.run([self._program("pgbench"), *self._where(stage), *arguments, "postgres"], name="pgbench", user=_USER)
        loader = Connection(socket, _USER, "postgres")
        loader.open()
        while not loader.advance():
            pass
        loader.query("create extension if not exists pg_prewarm")
        loader.query("select pg_prewarm('pgbench_accounts'), pg_prewarm('pgbench_accounts_pkey')")
        loader.close()

    def attach(self, stage: Stage) -> Watched:
        """Open all connections at the same time: the first half of the storm."""
        self._connections = [
            Connection(self._socket(stage), _USER, "postgres") for _ in range(stage.workload.processes)
        ]
        each, wall = all_at_once(self._connections, Connection.open, stage.timeout)
        self._warm, self._storm_ns = [float(one) for one in each], wall
        return Watched({"backends": [one.pid for one in self._connections]}, Timing(each, wall))

    def touch(self, stage: Stage) -> Watched:
        """Let all connections read at the same time: the second half."""
        each, wall = all_at_once(self._connections, lambda one: one.ask(_WARM), stage.timeout)
        self._warm = [before + own for before, own in zip(self._warm, each, strict=True)]
        self._storm_ns += wall
        return Watched({"backends": [one.pid for one in self._connections]}, Timing(each, wall))

    def watches(self, mapping: MappedFile) -> bool:
        """The anonymous shared mapping that holds the buffers, or the huge one: the large one of the two kinds."""
        named = mapping.path.startswith(("/dev/zero", "/anon_hugepage"))
        return mapping.shared and named and mapping.size > 8 * MIB

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """The storm, and queries per second of warm connections."""
        return (
            Figure("storm_wall", self._storm_ns / 1e9, "s", "lower"),
            Figure("storm_p99", float(np.quantile(self._warm, 0.99)) / 1e9, "s", "lower"),
            Figure("queries_per_second", self._queries(stage), "1/s", "higher"),
        )

    def stop(self, stage: Stage) -> None:
        """Close the connections, then a fast shutdown: it removes what it has in the kernel."""
        for one in self._connections:
            one.close()
        if self._bin is not None and (self._data(stage) / "postmaster.pid").exists():
            stage.run(
                [self._program("pg_ctl"), "stop", "-D", str(self._data(stage)), "-m", "immediate", "-w"],
                name="pg_ctl",
                user=_USER,
            )

    def _queries(self, stage: Stage) -> float | None:
        seconds = stage.workload.params["seconds"]
        if not seconds:
            return None
        clients = str(min(stage.workload.processes, 32))
        arguments = ["-S", "-n", "-M", "prepared", "-c", clients, "-j", "2", "-T", str(seconds), "postgres"]
        text = stage.run([self._program("pgbench"), *self._where(stage), *arguments], name="pgbench", user=_USER)
        lines = [line for line in text.splitlines() if line.startswith("tps = ")]
        return float(lines[-1].split()[2]) if lines else None

    def _create(self, stage: Stage) -> None:
        data = self._data(stage)
        if data.exists():
            return
        data.mkdir(mode=0o700)
        _give(data)
        (stage.folder / "socket").mkdir(mode=0o755)
        _give(stage.folder / "socket")
        stage.run([self._program("initdb"), "-D", str(data), "-A", "trust", "-N", "-U", _USER, "-E", "UTF8", "--no-locale"],
                  name="initdb", user=_USER)  # fmt: skip
        huge = stage.mechanism == "hugetlb"
        settings = {
            "shared_buffers": f"'{stage.workload.region_bytes // MIB}MB'",
            "huge_pages": "on" if huge else "off",
            "huge_page_size": f"'{stage.page // MIB}MB'" if huge else 0,
            "max_connections": stage.workload.processes + 50,
            "listen_addresses": "''",
            "unix_socket_directories": f"'{stage.folder / 'socket'}'",
            "unix_socket_permissions": "0777",
            "max_parallel_workers_per_gather": 0,
            # In files of its folder: segments in /dev/shm would outlive a server that is killed.
            "dynamic_shared_memory_type": "mmap",
            "jit": "off",
            "synchronize_seqscans": "off",
            "autovacuum": "off",
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "max_wal_size": "'4GB'",
            "logging_collector": "off",
        }
        with open(data / "postgresql.conf", "a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())

    def _program(self, name: str) -> str:
        assert self._bin is not None
        return str(self._bin / name)

    def _data(self, stage: Stage) -> Path:
        return stage.folder / "data"

    def _socket(self, stage: Stage) -> Path:
        return stage.folder / "socket" / ".s.PGSQL.5432"

    def _where(self, stage: Stage) -> list[str]:
        return ["-h", str(stage.folder / "socket"), "-p", "5432", "-U", _USER]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _give(path: Path) -> None:
    """Give a folder to the server's user where we are root."""
    if os.geteuid() == 0:
        try:
            shutil.chown(path, _USER, _USER)
        except LookupError:
            raise CapabilityError(f"{_USER}: there is no such user, whom the server would run as") from None


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    if request.regions["buffers"].size < 64 * MIB:
        raise ConfigError(f"region={request.regions['buffers'].size}: app_postgresql needs 64MiB of buffers at least")
    backends = Cohort(request.processes, (request.touch("buffers"),))
    return (ProcessGroup("backends", "backend", (backends,)),)


APP_POSTGRESQL = workload(
    WorkloadSpec(
        name="app_postgresql",
        description="PostgreSQL itself: shared buffers, a backend per connection, huge_pages off (shmem) and on (hugetlb)",
        regions=(Region("buffers", GIB),),
        main="buffers",
        build=_groups,
        processes=50,
        access=AccessPattern("dense"),
        params={"seconds": 3},
        driver=PostgresqlDriver,
        copies=2,
        mechanisms=("shmem", "hugetlb"),
        beside=("mshare",),
    )
)
