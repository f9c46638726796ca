"""What the article that started this says, what the models say, what this kernel shows, and the verdict.

`docs/claims.md` is written by `python -m mshare_bench.validation.claims > docs/claims.md`, as root; a test holds it against the
models, and where it may against the kernel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.mmu import Mmu
from mshare_bench.domain.units import GIB, MIB, format_size
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sim.accounting import account, setting_of
from mshare_bench.sim.mmu import Scenario, Uniform, price, simulate
from mshare_bench.sim.operations import shared_table_fork
from mshare_bench.sim.semantics import (
    Attach,
    Config,
    Create,
    CreateFile,
    Credentials,
    Exit,
    Fork,
    Interface,
    Machine,
    MapInside,
    Op,
    Resize,
    Spawn,
    Touch,
    UnmapInside,
    fault_counts,
    page_tables_bytes,
)
from mshare_bench.sim.time import prices_of, timed
from mshare_bench.sim.work import WORK_PHASES, shares_of
from mshare_bench.validation.models import packaged_mmus
from mshare_bench.workloads.registry import workloads

__all__ = ["CLAIMS", "Claim", "page"]

_WINDOW = 512 * GIB

_COSTS = {
    "timer": 170.0, "access": 4.1, "fault_read": 650.0, "fault_hole": 800.0, "frame_zero": 102.0, "pte_fill": 91.0,
    "table_allocate": 1014.0, "fault_link": 1001.0, "fork": 24_900.0, "vma_copy": 1_000.0, "pte_copy": 47.4,
    "table_copy": 1_891.0, "table_share": 325.0, "rss_account": 47.2,
}  # fmt: skip
"""Unit costs in ns as `calibrate` gave them on a virtual machine of two CPUs (EPYC of the third generation, Linux 6.18),
rounded; only ratios of times are told. `vma_copy`, which that machine did not show, is assumed; `table_share` is what linking a
hugetlb PMD page takes beyond a fault there; `rss_account` is `pte_copy` without writing the child's entry, which is a 512th of
clearing a page."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the article, in our words.

    Attributes
    ----------
    says
        What it states.
    model
        What the models say; computed.
    kernel
        What the running kernel shows; None where no released kernel can show it.
    verdict
        `true`, `true under conditions` or `not so`, and why.
    """

    says: str
    model: Callable[[], str]
    kernel: Callable[[], str] | None
    verdict: str


def _point(mechanism: str, processes: int, region: int, access: str = "dense", **options: Any) -> Point:
    built, pattern = mechanisms()[mechanism].of(options), AccessPattern(access)
    workload = workloads()["region"].resolve(processes=processes, region=region, access=pattern)
    return Point(workload, mechanism, built.variant, built.resolve_page(None, X86_64), access=pattern, options=options)


def _measured(mechanism: str, processes: int, region: int, access: str = "dense", **options: Any) -> dict[str, Any]:
    from mshare_bench.real.engine import RealEngine

    (tables,) = RealEngine().run([Cell(_point(mechanism, processes, region, access, **options), "real")])
    (row,) = tables["cells"].to_pylist()
    if row["status"] != "ok":
        return {"page_table_bytes": None, "minor_faults": None, "data_bytes": None}
    return dict(row)


def _size(value: int | None) -> str:
    return "not measured" if value is None else format_size(value, 2)


def _region(history: Sequence[Op] = ()) -> Machine:
    """64 MiB of msharefs, made by process 1 and attached by 1 and 2; then a history. Refusals are part of it."""
    machine = Machine(Config(interface=Interface.MSHAREFS))
    start: tuple[Op, ...] = (
        Spawn(1),
        Spawn(2),
        CreateFile(1, "data", "memfd", 64 * MIB),
        Create(1, "region"),
        Resize(1, "region", _WINDOW),
        MapInside(1, "region", 0, 64 * MIB, file="data"),
        Attach(1, "region", _WINDOW),
        Attach(2, "region", _WINDOW) if not history else Spawn(9),
    )
    for op in (*start, *history):
        machine.apply(op)
    return machine


def _per_process() -> str:
    pages = account(_point("shmem", 1, GIB)).tables.pte
    return f"{_size(pages * 4096)} of PTE pages per GiB and process, and 8 KiB above them"


def _ten_thousand() -> str:
    many, one = account(_point("shmem", 10_000, GIB)), account(_point("mshare", 10_000, GIB))
    return f"{many.page_table_bytes:,} bytes against {one.page_table_bytes:,}"


def _ten_thousand_measured() -> str:
    row, once = _measured("shmem", 200, GIB, "sparse"), _measured("shared_mm", 200, GIB, "sparse")
    return f"200 processes: {_size(row['page_table_bytes'])}; the same on one address space: {_size(once['page_table_bytes'])}"


def _touch_ns(mechanism: str, region: int) -> tuple[float, float]:
    """Touch of the first process and of every later one."""
    rows = [{"name": name, "value": value, "unit": "ns", "source": "calibrated"} for name, value in _COSTS.items()]
    prices = prices_of(CostModel.of({"name": "claims", "costs": rows}))
    shares = timed(shares_of(setting_of(_point(mechanism, 3, region))), prices)
    first, last = (one.times[WORK_PHASES.index("touch")] for one in (shares[0], shares[-1]))
    assert first is not None
    assert last is not None
    return first.value, last.value


def _fork() -> str:
    ideal, accounted = (time / times[0] for times in [shared_table_fork(_COSTS, GIB)] for time in times[1:])
    copied, shared = account(_point("inherit", 2, GIB)), account(_point("inherit", 2, GIB, tables="shared"))
    own = copied.page_table_bytes // 2
    return (
        f"a child of 1 GiB of private memory gets {_size(own)} of copied tables, with shared ones "
        f"{_size(shared.page_table_bytes - own)}; of a shared mapping fork copies nothing. In time, sharing takes {ideal:.1%} of "
        f"a copy, and {accounted:.0%} of it where the child's counters and references are kept from the start"
    )


def _fork_measured() -> str:
    private, shared = _measured("inherit", 2, 256 * MIB), _measured("inherit", 2, 256 * MIB, memory="shared")
    return (
        f"256 MiB, parent and child: private {private['minor_faults']:,} faults, all the parent's; shared "
        f"{shared['minor_faults']:,}, half of them the child's, which faults again"
        if private["minor_faults"] is not None
        else "not measured"
    )


def _ksm() -> str:
    merged = account(_point("ksm", 4, 64 * MIB))
    return (
        f"4 processes, 64 MiB of equal contents: {_size(merged.total('data_bytes'))} of data, tables as without it "
        f"({_size(merged.page_table_bytes)}), {_size(merged.total('metadata_bytes'))} of rmap items on top"
    )


def _ksm_measured() -> str:
    row = _measured("ksm", 4, 64 * MIB)
    return f"data {_size(row['data_bytes'])}, tables {_size(row['page_table_bytes'])}"


def _huge() -> str:
    thp, huge = account(_point("thp", 1000, GIB)), account(_point("hugetlb", 1000, GIB))
    anonymous = account(_point("anon_thp", 1000, GIB))
    return (
        f"1,000 x 1 GiB: shmem THP {_size(thp.page_table_bytes)} (8 KiB each), hugetlb {_size(huge.page_table_bytes)} "
        f"(PMD page shared), private THP {_size(anonymous.page_table_bytes)} (a PTE page set aside per huge page)"
    )


def _huge_measured() -> str:
    rows = [_measured(name, 20, 64 * MIB) for name in ("shmem", "thp", "anon_thp")]
    return "20 x 64 MiB: shmem {}, shmem THP {}, private THP {}".format(
        *(_size(row["page_table_bytes"]) for row in rows)
    )


def _copy_on_write() -> str:
    private = account(_point("mshare", 2, GIB, interface="ideal", mapping="private"))
    outcome = _region().apply(Attach(2, "region", 2 * _WINDOW, shared=False))
    return (
        f"msharefs refuses MAP_PRIVATE (errno {outcome.errno}); in the ideal variant two readers hold "
        f"{_size(private.page_table_bytes)} until one writes"
    )


def _fault_for_all() -> str:
    machine = _region()
    machine.apply(Touch(1, _WINDOW, 64 * MIB, write=True, value=1))
    machine.apply(Touch(2, _WINDOW, 64 * MIB))
    late = fault_counts(machine, 2)
    first = fault_counts(machine, 1).minor
    _, linked = _touch_ns("mshare", 64 * MIB)
    _, own = _touch_ns("shmem", 64 * MIB)
    return (
        f"the first takes {first:,} faults, the second {late.minor} and {late.linking} that links the window; touching 64 MiB "
        f"takes it {linked / own:.0%} of the time that it takes on tables of its own"
    )


def _consolidation() -> str:
    mmu = packaged_mmus()["skylake_sp"]
    wide = Scenario(
        region=256 * MIB, processes=4, accesses=300_000, warmup=50_000, streams=(Uniform(),), quantum=20_000
    )
    hot = Scenario(region=4 * MIB, processes=4, accesses=300_000, warmup=50_000, streams=(Uniform(),), quantum=20_000)
    walks, cycles = zip(*(_walked(replace(wide, shared_levels=levels), mmu) for levels in (0, 3)), strict=True)
    kept, grouped = (_walked(replace(hot, shared_levels=3, tags=tags), mmu)[0] for tags in ("pcid", "group"))
    return (
        f"4 processes take turns on one core (Skylake-SP, PCIDs as Linux gives them). At random over 256 MiB: {walks[0]:,} TLB "
        f"misses on tables of their own and {walks[1]:,} on shared ones; cycles in walks fall by "
        f"{1 - cycles[1] / cycles[0]:.0%}, since the cached lines of the tables are shared. A TLB with a tag for the group would "
        f"cut {kept:,} misses on 4 MiB to {grouped:,}"
    )


def _walked(scenario: Scenario, mmu: Mmu) -> tuple[int, float]:
    counts = simulate(scenario, mmu)
    return counts.walks, price(counts, scenario, mmu).walk_cycles


def _fault_for_all_measured() -> str:
    row = _measured("shared_mm", 2, 64 * MIB)
    return f"one address space, the closest there is: {row['minor_faults']:,} faults for two processes"


def _permission() -> str:
    machine = _region((Spawn(3, Credentials(uid=1000, gid=1000)),))
    refused = machine.apply(Attach(3, "region", _WINDOW))
    return f"another user without permission on the file: errno {refused.errno}, and nothing changed"


def _affects_all() -> str:
    machine = _region()
    machine.apply(Touch(2, _WINDOW, 4096))
    machine.apply(UnmapInside(1, "region", 0, 64 * MIB))
    after = machine.apply(Touch(2, _WINDOW, 4096))
    return f"one unmaps inside the region: the other's next touch is signal {after.signal}; CPUs flushed: {machine.flushes.cpus}"


def _owner() -> str:
    machine = _region()
    machine.apply(Touch(2, _WINDOW, 4096))
    machine.apply(Fork(1, 7))
    machine.apply(Exit(1))
    after = machine.apply(Touch(2, _WINDOW, 4096))
    return (
        f"the owner's exit tears the region down, a child inherits no ownership: signal {after.signal}, "
        f"{page_tables_bytes(machine) // 4096} table pages left"
    )


CLAIMS = (
    Claim(
        "1 GiB of shared memory costs every process about 2 MB of page tables.",
        _per_process,
        lambda: f"{_size(_measured('shmem', 1, GIB)['page_table_bytes'])} by VmPTE",
        "true, for 4 KiB pages that are touched",
    ),
    Claim(
        "10,000 processes spend about 20 GB; with mshare a few megabytes, just one copy.",
        _ten_thousand,
        _ten_thousand_measured,
        "true",
    ),
    Claim(
        "fork and exec get faster, since tables need not be copied.",
        _fork,
        _fork_measured,
        "true under conditions: fork never copied the tables of shared mappings; what goes away is the faults after it. Of "
        "private memory sharing saves nearly all, unless the kernel's accounting is kept exact meanwhile (what COW-PTE ran into)",
    ),
    Claim(
        "KSM merges pages and keeps an entry per process.",
        _ksm,
        _ksm_measured,
        "true",
    ),
    Claim(
        "Huge pages make tables smaller and do not remove the duplication.",
        _huge,
        _huge_measured,
        "true under conditions: hugetlb shares PMD pages where slots of 1 GiB are whole and aligned, and then little is left",
    ),
    Claim(
        "Copy-on-write goes on working on shared tables.",
        _copy_on_write,
        None,
        "not so in what was posted: msharefs has no private mappings; modelled as mechanism.interface=ideal",
    ),
    Claim(
        "A fault that one process resolves is resolved for all.",
        _fault_for_all,
        _fault_for_all_measured,
        "true, but for one linking fault per window and process",
    ),
    Claim(
        "Shared tables consolidate TLB entries.",
        _consolidation,
        None,
        "not so on x86: TLB entries are tagged per address space and stay as many; page walks get cheaper, for their lines are "
        "shared in the caches. It would hold with tags for groups of processes, as BabelFish and ARM domains have them",
    ),
    Claim(
        "Capabilities and namespaces control who may share.",
        _permission,
        None,
        "true under conditions: the file's permission decides; v3 checks the protection of the region, not the descriptor's, so "
        "a read-only attacher can write (mechanism.strict_permissions=false in the semantic model)",
    ),
    Claim(
        "Modifying an entry affects all who share it.",
        _affects_all,
        None,
        "true, and it costs: v3 flushes the TLB of every CPU",
    ),
    Claim(
        "Reference counts keep shared tables alive as long as they are needed.",
        _owner,
        None,
        "not so in what was posted: the tables live as long as the process that created them",
    ),
)


def page(with_kernel: bool) -> str:
    """Write the page: every claim, what the models say, what this kernel shows, the verdict.

    Parameters
    ----------
    with_kernel
        Whether to measure; else that line says so.
    """
    lines = [
        "# The claims, one by one",
        "",
        'What the article "Shared Memory, Shared Page Tables: The Promise of Linux mshare" states, what the models of this',
        "project say, what a running kernel shows, and the verdict. Written by `mshare_bench/validation/claims.py`; a test",
        "holds it against the models and the kernel. No released kernel has mshare: where the kernel's line is missing, it",
        "can't show this.",
        "",
    ]
    for number, claim in enumerate(CLAIMS, 1):
        lines += [f"## {number}. {claim.says}", "", f"- Model: {claim.model()}."]
        if claim.kernel is not None:
            lines.append(f"- Kernel: {claim.kernel() if with_kernel else 'not measured in this run'}.")
        lines += [f"- Verdict: **{claim.verdict}**.", ""]
    lines += [
        "## About time",
        "",
        "Times are ratios from the models, with unit costs that `calibrate` measured on a virtual machine and the published",
        "geometry of a Skylake-SP; [validation](validation.md) says how far the models are off. What the article says of NUMA is",
        "not in this list.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(with_kernel=True))
