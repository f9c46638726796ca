"""Cells that differ in nothing but how many processes there are: computed once for all of them.

What a process touches, and the tables, faults and work that follow from it, do not depend on how many others do the same. So
the numbers of processes of such cells are made one array per cohort; every formula of `sim` is arithmetic on them, and gives an
array where it gives a number for one cell. A sweep over processes then costs what its distinct patterns cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.workload import Cohort, Workload

__all__ = ["Alike", "group_alike"]

_EXACT = 1 << 60
"""Bytes over all processes up to which 64-bit sums can't overflow; beyond, a cell is computed by itself, in Python's integers."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Cells, and the point to compute: of one cell its own, of several one whose numbers of processes are arrays."""

    cells: tuple[Cell, ...]
    point: Point


def group_alike(cells: Sequence[Cell]) -> list[Alike]:
    """Group cells, in the order in which each group's first comes."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_key(cell), []).append(cell)
    return [Alike(tuple(group), _stacked(group)) for group in groups.values()]


def _key(cell: Cell) -> Any:
    """Everything of a cell but its numbers of processes. Touches and regions are told apart by identity, as they are shared."""
    point = cell.point
    workload = point.workload
    if point.machines is not None or cell.mmu or workload.processes * workload.region_bytes > _EXACT:
        return id(cell)
    if any(region.instances > 1 for region in workload.regions):
        return id(cell)  # how many share an instance depends on remainders
    groups = []
    for group in workload.groups:
        cohorts = []
        for cohort in group.cohorts:
            if any(touch.stride for touch in cohort.touches):
                return id(cell)
            # The first process of several may do more than the others, so one alone is another pattern.
            cohorts.append((cohort.processes > 1, *map(id, cohort.touches)))
        groups.append((group.name, group.role, group.life, *cohorts))
    return (
        *(workload.name, *map(id, workload.regions), *groups, str(workload.params)),
        *(point.mechanism, point.variant, point.page, point.offset, point.access, point.write_fraction, point.populate),
        *(
            point.topology,
            point.placement,
            cell.engine,
            cell.host,
            cell.machine,
            cell.cost,
            cell.seed,
            cell.extrapolated,
        ),
    )


def _stacked(cells: Sequence[Cell]) -> Point:
    first = cells[0].point
    if len(cells) == 1:
        return first
    workloads = [cell.point.workload for cell in cells]
    groups = tuple(
        replace(
            group,
            cohorts=tuple(
                Cohort(_processes(workloads, number, place), cohort.touches)
                for place, cohort in enumerate(group.cohorts)
            ),
        )
        for number, group in enumerate(first.workload.groups)
    )
    return replace(first, workload=replace(first.workload, groups=groups))


def _processes(workloads: Sequence[Workload], group: int, cohort: int) -> int:
    counts = [one.groups[group].cohorts[cohort].processes for one in workloads]
    return cast(int, np.array(counts, np.int64))  # elementwise wherever a number would be
