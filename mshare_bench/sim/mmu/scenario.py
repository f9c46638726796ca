"""Who runs where on what: the processes, cores, tags and tables of one simulation, checked."""

from dataclasses import dataclass

from mshare_bench.domain.mmu import LINE_BYTES, PAGE_BYTES, Mmu
from mshare_bench.domain.mmu_setting import Tags
from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu.streams import Stream, number_stream

__all__ = [
    "LINUX_PCIDS",
    "Scenario",
    "Tags",
    "check_against",
    "data_line",
    "quantum_accesses",
    "table_lines",
    "table_start",
]

LINUX_PCIDS = 6  # TLB_NR_DYN_ASIDS in Linux arch/x86/mm/tlb.c
_KEY_LIMIT = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """Processes that map one region, time-sliced on cores.

    Attributes
    ----------
    region : int
        Bytes, a multiple of every page size in use. It starts at a multiple of 512 GiB in every process.
    processes, accesses, warmup : int
        Processes; accesses of each that count; accesses of each before them that do not.
    streams : tuple of Stream
        One for all, or one per process.
    quantum : int
        Accesses between two context switches of a core.
    tags : {"none", "pcid", "group"}
        ``none``: every switch to another process flushes the core's TLBs and page-walk caches. ``pcid``: entries carry
        one of `pcids` tags per core, given out in turn as Linux does (choose_new_asid); a tag given to another process
        loses its entries. ``group``: as ``pcid``, but the processes of a domain share one tag for the region.
    domains : tuple of (int or None)
        Each process's sharing domain; empty = all in domain 0. The domain shares tables as `shared_levels` says.
    levels, shared_levels : int
        4 or 5 table levels; how many of them, from the PTE pages up, a domain shares (0 = private tables, 1 = PTE pages,
        3 = an mshare region: PTE, PMD and PUD pages).
    page, huge, huge_page : int
        Bytes per page; the first `huge` bytes of the region are mapped by pages of `huge_page` bytes instead.
    core_nodes, cores_of : tuple of int
        NUMA node of each core; core of each process (empty = process p on core p modulo the number of cores).
    table_nodes, domain_nodes, data_nodes : tuple of int
        Node of each process's private tables (empty = where it runs), of each domain's shared tables (empty = where its
        first process runs), and the nodes that the data's pages are interleaved over (empty = each process's own).
    hops : tuple of tuple of int
        ``hops[cpu_node][memory_node]``, an index into the geometry's `memory_ns`; empty = 0 at home and 1 elsewhere.
    caches : bool
        False: TLBs only; walks are counted, not walked.
    private_data : bool
        Each process has data of its own (anonymous memory); else all read the same lines.
    """

    region: int
    processes: int
    accesses: int
    streams: tuple[Stream, ...]
    quantum: int = 100_000
    tags: Tags = "pcid"
    domains: tuple[int | None, ...] = ()
    shared_levels: int = 0
    levels: int = 4
    page: int = 4096
    huge: int = 0
    huge_page: int = 2 << 20
    core_nodes: tuple[int, ...] = (0,)
    cores_of: tuple[int, ...] = ()
    table_nodes: tuple[int, ...] = ()
    domain_nodes: tuple[int, ...] = ()
    data_nodes: tuple[int, ...] = ()
    hops: tuple[tuple[int, ...], ...] = ()
    pcids: int = LINUX_PCIDS
    warmup: int = 0
    caches: bool = True
    private_data: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _check_counts(self)
        _check_pages(self)
        _check_per_process(self)
        for process in range(self.processes):
            if process < len(self.streams):
                number_stream(self.streams[process], self.region, process)

    def stream_of(self, process: int) -> Stream:
        """The stream of one process."""
        return self.streams[process if len(self.streams) > 1 else 0]

    def core_of(self, process: int) -> int:
        """The core that a process runs on."""
        return self.cores_of[process] if self.cores_of else process % len(self.core_nodes)

    def node_of(self, process: int) -> int:
        """The NUMA node that a process runs on."""
        return self.core_nodes[self.core_of(process)]

    def domain_of(self, process: int) -> int | None:
        """The sharing domain of a process."""
        return self.domains[process] if self.domains else 0

    def leader_of(self, process: int) -> int:
        """The first process of the same domain: it owns the tables that the domain shares."""
        domain = self.domain_of(process)
        if domain is None:
            return process
        return self.domains.index(domain) if self.domains else 0

    def table_owner(self, process: int, level: int) -> int:
        """The process whose table of `level` a walk of `process` reads."""
        return self.leader_of(process) if level <= self.shared_levels else process

    def table_node(self, process: int, level: int) -> int:
        """The NUMA node of the table of `level` that a walk of `process` reads."""
        domain = self.domain_of(process)
        if domain is not None and level <= self.shared_levels:
            return self.domain_nodes[domain] if self.domain_nodes else self.node_of(self.leader_of(process))
        return self.table_nodes[process] if self.table_nodes else self.node_of(process)

    def hops_between(self, cpu_node: int, memory_node: int) -> int:
        """NUMA hops from a CPU's node to a memory's."""
        return self.hops[cpu_node][memory_node] if self.hops else int(cpu_node != memory_node)


def quantum_accesses(quantum_ns: float, access_ns: float) -> int:
    """Accesses in a quantum of `quantum_ns` when a process makes one every `access_ns`.

    The rate is the caller's statement. It is the same whatever the tags are, so that runs which differ in nothing else
    make the same accesses in the same order and their misses can be compared one by one.
    """
    if not quantum_ns > 0:
        raise ConfigError(f"quantum_ns={quantum_ns}: greater than 0")
    if not access_ns > 0:
        raise ConfigError(f"access_ns={access_ns}: greater than 0")
    return max(1, round(quantum_ns / access_ns))


def table_lines(scenario: Scenario) -> tuple[tuple[int, ...], int]:
    """Where table lines lie: offset of each level's first line in a process's tables, and the lines of all of them.

    Physical memory is numbered by 64-byte lines: the region's data first (once, or once per process), then the tables of
    process 0, of process 1 and so on; in each, PTE pages first, level by level, whole pages of 64 lines, entries in the
    order of addresses. The line of the entry for offset `a` in the table of level L that `owner` has is
    ``table_start(scenario) + owner * lines + offset[L-1] + (a >> shift + 3)``.
    """
    offsets = []
    lines = 0
    for level in range(1, scenario.levels + 1):
        offsets.append(lines)
        span = 1 << 12 + 9 * level
        lines += -(-scenario.region // span) * LINE_BYTES
    return tuple(offsets), lines


def data_line(scenario: Scenario, process: int) -> int:
    """The line of the first byte of the data that a process has mapped."""
    return process * (scenario.region // LINE_BYTES) if scenario.private_data else 0


def table_start(scenario: Scenario) -> int:
    """The first line behind all data."""
    return data_line(scenario, scenario.processes - 1) + scenario.region // LINE_BYTES


def check_against(scenario: Scenario, mmu: Mmu) -> int:
    """Check a scenario against a geometry; return the bits of a page number (a TLB key is a tag above these bits).

    Raises
    ------
    ConfigError
        A page size without an L1 dTLB, a node or a distance without a latency, a region whose page numbers and tags, or
        whose cache tags, do not fit 32 bits.
    """
    mmu.l1_for(scenario.page)
    if scenario.huge:
        mmu.l1_for(scenario.huge_page)
    bits = max(1, (scenario.region // min(scenario.page, scenario.huge_page) - 1).bit_length())
    tags = scenario.pcids + 1 + max((domain for domain in scenario.domains if domain is not None), default=0)
    if tags << bits > _KEY_LIMIT:
        raise ConfigError(
            f"region={scenario.region}: {1 << bits} pages and {tags} tags do not fit the model's 32-bit keys"
        )
    lines = table_start(scenario) + scenario.processes * table_lines(scenario)[1]
    for name, cache in zip(("l1d", "l2", "l3"), mmu.caches, strict=True):
        if scenario.caches and lines // cache.sets >= _KEY_LIMIT:
            raise ConfigError(f"region={scenario.region}: too large for {name} tags of 32 bits over {cache.sets} sets")
    for process in range(scenario.processes):
        here = scenario.node_of(process)
        homes = {scenario.table_node(process, level) for level in range(1, scenario.levels + 1)}
        for node in homes | set(scenario.data_nodes):
            mmu.memory_cycles(scenario.hops_between(here, node))
    return bits


def _check_counts(scenario: Scenario) -> None:
    for name, lowest in (
        ("processes", 1),
        ("accesses", 1),
        ("quantum", 1),
        ("pcids", 1),
        ("warmup", 0),
        ("shared_levels", 0),
    ):
        value = getattr(scenario, name)
        if value < lowest:
            raise ConfigError(f"{name}={value}: at least {lowest}")
    if scenario.levels not in (4, 5):
        raise ConfigError(f"levels={scenario.levels}: 4 or 5")
    if scenario.shared_levels >= scenario.levels:
        raise ConfigError(
            f"shared_levels={scenario.shared_levels}: the root of {scenario.levels} levels is never shared"
        )
    if scenario.tags not in ("none", "pcid", "group"):
        raise ConfigError(f"tags={scenario.tags}: one of none, pcid, group")


def _check_pages(scenario: Scenario) -> None:
    for name in ("page", "huge_page"):
        if getattr(scenario, name) not in PAGE_BYTES:
            raise ConfigError(f"{name}={getattr(scenario, name)}: a page is 4KiB, 2MiB or 1GiB")
    if scenario.region < scenario.page or scenario.region % scenario.page:
        raise ConfigError(f"region={scenario.region}: not a multiple of page={scenario.page}")
    if scenario.region > 1 << 44:
        raise ConfigError(f"region={scenario.region}: at most 16 TiB")
    if scenario.huge:
        if scenario.huge_page <= scenario.page:
            raise ConfigError(f"huge_page={scenario.huge_page}: larger than page={scenario.page}")
        if not 0 <= scenario.huge <= scenario.region or scenario.huge % scenario.huge_page:
            raise ConfigError(f"huge={scenario.huge}: a multiple of huge_page={scenario.huge_page} within the region")


def _check_per_process(scenario: Scenario) -> None:
    if len(scenario.streams) not in (1, scenario.processes):
        raise ConfigError(
            f"streams: {len(scenario.streams)} given for processes={scenario.processes}: one, or one each"
        )
    for name in ("domains", "cores_of", "table_nodes"):
        if len(getattr(scenario, name)) not in (0, scenario.processes):
            raise ConfigError(f"{name}={getattr(scenario, name)}: one for each of processes={scenario.processes}")
    if not scenario.core_nodes:
        raise ConfigError("core_nodes=(): at least one core")
    for core in scenario.cores_of:
        if not 0 <= core < len(scenario.core_nodes):
            raise ConfigError(f"cores_of={core}: there are {len(scenario.core_nodes)} cores")
    domains = [domain for domain in scenario.domains if domain is not None]
    if domains and min(domains) < 0:
        raise ConfigError(f"domains={min(domains)}: a domain is a number from 0, or null")
    if scenario.domain_nodes and len(scenario.domain_nodes) <= max(domains, default=0):
        raise ConfigError(f"domain_nodes={scenario.domain_nodes}: one for each domain")
    nodes = (*scenario.core_nodes, *scenario.table_nodes, *scenario.domain_nodes, *scenario.data_nodes)
    if min(nodes) < 0:
        raise ConfigError(f"node={min(nodes)}: a NUMA node is a number from 0")
    size = len(scenario.hops)
    if size and (max(nodes) >= size or any(len(row) != size for row in scenario.hops)):
        raise ConfigError(f"hops: {size} rows are no square over the nodes 0 to {max(nodes)}")
