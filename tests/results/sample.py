"""Rows as the engines make them, from the arithmetic of one 512 GiB slot: what the tests of everything behind a row read."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell, Point, digest
from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, Touch, Workload
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import TIMED_PHASES

__all__ = ["COLORS", "cell_of", "headline", "rows_of", "sweep", "table_bytes"]

COLORS = {"shmem": "#000000", "hugetlb": "#0072b2", "mshare": "#d55e00", "thp": "#009e73", "shared_mm": "#56b4e9"}
MACHINE = digest({"cpu": "a machine"})


def table_bytes(mechanism: str, processes: int, size: int) -> tuple[int, int, int]:
    """PTE, PMD and PUD bytes of one aligned region touched all over."""
    pte, pmd = -(-size // (2 * MIB)) * 4 * KIB, -(-size // GIB) * 4 * KIB
    if mechanism in ("mshare", "shared_mm"):
        return pte, pmd, 4 * KIB
    if mechanism in ("hugetlb", "thp"):
        whole = size % GIB == 0 and mechanism == "hugetlb"
        return 0, pmd if whole else pmd * processes, 4 * KIB * processes
    return pte * processes, pmd * processes, 4 * KIB * processes


def cell_of(
    mechanism: str = "shmem",
    processes: int = 10,
    size: int = GIB,
    *,
    engine: str = "sim",
    repeat: int = 0,
    access: str = "dense",
    extrapolated: bool = False,
    variant: str = "",
) -> Cell:
    pattern = AccessPattern(access)
    touch = Touch.of("region", pattern.pages(size, 4 * KIB))
    group = ProcessGroup("all", "worker", (Cohort(processes, (touch,)),))
    workload = Workload("region", (Region("region", size),), (group,), "region")
    page = 2 * MIB if mechanism == "hugetlb" else 4 * KIB
    point = Point(workload, mechanism, variant, page, access=pattern)
    where = {"cost": "reference", "machine": "reference"} if engine == "sim" else {"machine": MACHINE}
    return Cell(point, engine, model="1", repeat=repeat, extrapolated=extrapolated, **where)  # type: ignore[arg-type]


def rows_of(cells: Sequence[Cell], *, slow: float = 1.0, failing: Sequence[str] = (), jitter: float = 0.0) -> Rows:
    """Rows of these cells; real times are the simulated ones times `slow`, spread by `jitter`."""
    rows = Rows()
    for cell in cells:
        if cell.engine == "real" and cell.point.mechanism == "mshare":
            rows.add("cells", **cell_columns(cell, "skipped", "this kernel shares no page tables (CONFIG_MSHARE)"))
        elif cell.point.mechanism in failing:
            rows.add("cells", **cell_columns(cell, "failed", "an agent died: SIGSEGV"))
        else:
            _ok(rows, cell, slow, jitter)
    machine = MACHINE
    for key, value in (("kernel", "6.18.5"), ("cpu", "2 vCPU"), ("memory", "24 GiB"), ("thp", None)):
        rows.add("environments", env="e0", machine=machine, key=key, value=value)
    return rows


def _ok(rows: Rows, cell: Cell, slow: float, jitter: float) -> None:
    processes, size = cell.point.workload.processes, cell.point.workload.region_bytes
    pte, pmd, pud = table_bytes(cell.point.mechanism, processes, size)
    noise = digest({"cell": cell.digest, "repeat": cell.repeat})
    factor = slow * (1 + jitter * (int(noise[:8], 16) / 2**32 - 0.5)) if cell.engine == "real" else 1.0
    faults = _faults(cell.point.mechanism, processes, size)
    keys = {"cell": cell.digest, "repeat": cell.repeat}
    times = {"attach": 12e3, "touch": 600.0 * faults / processes + 2e3, "unmap": 9e3, "exit": 30e3}
    timed: dict[str, Any] = {}
    for phase, value in times.items():
        timed |= {f"{phase}_ns": value * factor, f"{phase}_ns_lo": 0.97 * value * factor}
        timed[f"{phase}_ns_hi"] = 1.03 * value * factor
    rows.add(
        "cells",
        **cell_columns(cell),
        env="e0",
        page_table_bytes=pte + pmd + pud,
        pte_table_bytes=pte,
        pmd_table_bytes=pmd,
        pud_table_bytes=pud,
        page_table_source="VmPTE" if cell.engine == "real" else "model",
        page_table_noise_bytes=0 if cell.engine == "real" else None,
        data_bytes=size,
        metadata_bytes=0,
        minor_faults=faults,
        linking_faults=None if cell.engine == "real" else processes if cell.point.mechanism == "mshare" else 0,
        basis="measured" if cell.engine == "real" else "exact+extrapolated" if cell.extrapolated else "exact",
        **timed,
    )
    rows.add("regions", **keys, region="region", backing=cell.point.mechanism, region_bytes=size, mappers=processes)
    rows.add("groups", **keys, group="all", role="worker", processes=processes, machine=cell.machine)
    for order, phase in enumerate(TIMED_PHASES, 1):
        rows.add("phases", **keys, group="all", phase=phase, order=order, p50_ns=times.get(phase))
    if cell.engine == "real":
        for process in range(min(processes, 8)):
            rows.add("samples", **keys, group="all", phase="touch", process=process, value_ns=times["touch"] * factor)


def _faults(mechanism: str, processes: int, size: int) -> int:
    if mechanism == "hugetlb":
        return size // (2 * MIB) + processes - 1
    once = size // (2 * MIB) if mechanism == "thp" else size // (64 * KIB)
    return once if mechanism in ("mshare", "shared_mm") else once * processes


def headline() -> Rows:
    """What the main job gives: 10,000 processes predicted, 1,000 predicted and measured."""
    mechanisms = tuple(COLORS)
    cells = [cell_of(one, 10_000, extrapolated=True) for one in mechanisms]
    cells += [cell_of(one, 1_000, engine=engine, access="sparse") for one in mechanisms for engine in ("sim", "real")]
    return rows_of(cells, slow=1.1)


def sweep(
    mechanisms: Sequence[str] = ("shmem", "hugetlb", "mshare"),
    processes: Sequence[int] = (1, 10, 100, 1_000, 10_000),
    sizes: Sequence[int] = (64 * MIB, GIB, 16 * GIB),
    engines: Sequence[str] = ("sim",),
    repeats: int = 1,
) -> Iterator[Cell]:
    """Cells of a grid."""
    for size, count, mechanism, engine in product(sizes, processes, mechanisms, engines):
        for repeat in range(repeats if engine == "real" else 1):
            yield cell_of(mechanism, count, size, engine=engine, repeat=repeat)
