"""Series of one operation over growing regions, from a fixed cost and a cost per page: fork, mmap, mprotect, munmap.

A published series gives two of its points to set the two unit costs; the others are predicted through the same counts of work and
the same prices as every simulated cell.
"""

from collections.abc import Mapping, Sequence

from mshare_bench.domain.units import GIB, KIB
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.points import make_point
from mshare_bench.sim.time import Prices, time_of
from mshare_bench.sim.work import WORK_PHASES, Work, shares_of

__all__ = ["OPERATIONS", "fit_operation", "operation_time", "operation_work", "shared_table_fork"]

OPERATIONS = {
    "fork": ("inherit", "fork", "fork", "pte_copy"),
    "map_shared_populate": ("shmem", "attach", "vma_map", "pte_fill"),
    "protect_shared": ("shmem", "protect", "vma_protect", "pte_protect"),
    "unmap_shared": ("shmem", "unmap", "vma_unmap", "pte_zap"),
    "unmap_anonymous": ("inherit", "unmap", "vma_unmap", "pte_zap_anonymous"),
}
"""By name: mechanism, phase, the unit cost per call and the unit cost per page."""


def operation_work(operation: str, pages: int) -> Work:
    """Work of one call on so many dense base pages.

    Raises
    ------
    ConfigError
        For an operation that is none of `OPERATIONS`.
    """
    mechanism, phase, _, per_page = _parts(operation)
    point = make_point(
        mechanism, 2, pages * 4 * KIB, write_fraction=1.0 if mechanism == "inherit" and phase != "fork" else 0.0
    )
    work = shares_of(setting_of(point))[-1].phases[WORK_PHASES.index(phase)]
    if work is None:
        raise ConfigError(f"operation={operation}: {mechanism} has no {phase}")
    if operation == "map_shared_populate":  # MAP_POPULATE maps page by page within the call
        return Work((*work.counts, (per_page, float(pages))))
    return work


def _parts(operation: str) -> tuple[str, str, str, str]:
    if operation not in OPERATIONS:
        raise ConfigError(f"operation={operation}: not one of {', '.join(OPERATIONS)}")
    return OPERATIONS[operation]


def fit_operation(operation: str, times: Mapping[int, float], on: Sequence[int]) -> dict[str, float]:
    """Set the cost per call and the cost per page of an operation from two points of its series.

    Parameters
    ----------
    times
        Time of a call by number of pages, in any unit; only those of `on` are read.
    on
        Two numbers of pages.

    Returns
    -------
    dict
        Unit costs by name, in the unit of `times`; every other cost of the operation is 0.
    """
    _, _, per_call, per_page = _parts(operation)
    low, high = on
    counts = [dict(operation_work(operation, pages).counts)[per_page] for pages in (low, high)]
    rate = (times[high] - times[low]) / (counts[1] - counts[0])
    return {per_call: times[low] - rate * counts[0], per_page: rate}


def operation_time(operation: str, pages: int, costs: Mapping[str, float]) -> float:
    """Time of one call on so many pages, at these unit costs; what they do not have costs nothing."""
    work = operation_work(operation, pages)
    prices: Prices = {name: (costs.get(name, 0.0),) * 3 for name, _ in work.counts}
    time = time_of(Work(work.counts), prices, 1)
    assert time is not None
    return time.value


def shared_table_fork(costs: Mapping[str, float], region: int = GIB) -> tuple[float, float, float]:
    """Time of a fork that copies the tables of private memory; that shares them; and that shares them and accounts for them.

    Sharing a table is a reference to it, and its entries need not be looked at: unless the child's counters and the references
    to its pages are to be right from the start. Then every entry is read and every page taken up, and only the child's entry is
    not written; which is what Copy-on-Write page tables ran into (COW-PTE, 2023).

    Parameters
    ----------
    costs
        `fork`, `vma_copy`, `pte_copy`, `table_copy`, `table_share` and `rss_account` in one unit; what is missing costs nothing.
    """
    index = WORK_PHASES.index("fork")
    times = []
    for options in ({}, {"tables": "shared"}, {"tables": "shared", "accounting": "kernel"}):
        work = shares_of(setting_of(make_point("inherit", 2, region, write_fraction=1.0, options=options)))[-1].phases[
            index
        ]
        counts = () if work is None else work.counts
        times.append(sum(count * costs.get(name, 0.0) for name, count in counts))
    return times[0], times[1], times[2]
