"""What distance costs a placed point: the share of page walks that go to another node, and the time that it adds.

A walk is counted by its leaf table, since the upper ones stay in the caches of the MMU. In the touch phase every touched page
loads a line of data, and every eight entries a line of their table; each pays what its node is farther than the nearest memory of
the topology. Replicated tables are read at the own node, and every change of an entry is made in each further replica.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.placement.assignment import Shares
from mshare_bench.placement.problem import Problem
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.places import Held, MachinePart, Places
from mshare_bench.sim.tables import clip
from mshare_bench.sim.time import Prices, Time, Timed, timed
from mshare_bench.sim.work import WORK_PHASES, shares_of

__all__ = ["REPLICA_ENTRY_NS", "placed_times", "remote_walk_fraction"]

_PER_LINE = 8
"""Entries of eight bytes in a cache line of 64."""

REPLICA_ENTRY_NS: Mapping[str, float] = {"touch": 18.5, "protect": 29.9, "unmap": 24.5}
"""A change of one entry in one further replica of its table: (443 - 321) / 3, (257 - 60) / 3 and (312 - 150) / 3 cycles at
2.2 GHz, from the 2,048-page rows of Mitosis (ASPLOS'20), table 5, with four replicas and without."""


@dataclass(frozen=True, slots=True)
class _Reads:
    """What the processes of a seat touch, over all of them: in tables of their own and common ones, in data likewise."""

    walks_own: float = 0.0
    walks_common: float = 0.0
    lines_own: float = 0.0
    lines_common: float = 0.0
    data_own: float = 0.0
    data_common: float = 0.0

    def plus(self, other: "_Reads") -> "_Reads":
        names = ("walks_own", "walks_common", "lines_own", "lines_common", "data_own", "data_common")
        return _Reads(*(getattr(self, name) + getattr(other, name) for name in names))


def remote_walk_fraction(places: Places, geometry: Geometry = X86_64) -> float | None:
    """Share of page walks whose leaf table lies on another node, each touched page being walked to once; None without any."""
    remote = total = 0.0
    for part in places.parts:
        for held in part.held:
            reads, seat = _reads(part, held, geometry), held.seat
            total += reads.walks_own + reads.walks_common
            remote += reads.walks_own * _elsewhere(seat.node, seat.tables, seat.replicated)
            if part.copy is not None:
                remote += reads.walks_common * _elsewhere(seat.node, part.copy.tables, part.copy.replicated)
    return remote / total if total else None


def placed_times(places: Places, prices: Prices, geometry: Geometry = X86_64) -> list[Timed]:
    """Price every phase of all processes, with what distance and replicas add.

    Where a machine's topology has no latencies, a touch that goes to other nodes has no time.
    """
    found: list[Timed] = []
    known: dict[tuple[object, ...], list[Timed]] = {}
    for part in places.parts:
        problem = places.problem
        key = (
            problem.kind_of[part.machine],
            part.point.workload.regions,
            part.point.workload.groups,
            tuple(
                (h.seat.node, h.seat.data, h.seat.tables, tuple((n, b - a) for n, (a, b) in h.runs.items()))
                for h in part.held
            ),
            None if part.copy is None else (part.copy.data, part.copy.tables),
        )
        if key not in known:
            known[key] = _of_machine(part, problem, prices, geometry)
        found += known[key]
    return found


def _of_machine(part: MachinePart, problem: Problem, prices: Prices, geometry: Geometry) -> list[Timed]:
    setting = setting_of(part.point, geometry)
    rows = timed(shares_of(setting, geometry), prices)
    first = part.point.workload.groups[0].name if setting.traits.inherited is not None else None
    queues: dict[str, list[list[int]]] = {}
    for index, held in enumerate(part.held):
        for group, (start, stop) in held.runs.items():
            queues.setdefault(group, []).append([index, stop - start])
    if first is not None:  # the parent is no child: it maps and touches beforehand
        queues[first][0][1] -= 1
    extra = [_extra(part, held, problem, geometry) for held in part.held]
    found = []
    for row in rows:
        left, queue = row.processes, queues[row.group]
        while left:
            if not queue[0][1]:
                queue.pop(0)
                continue
            index, there = queue[0]
            count = min(left, there)
            found.append(_later(row, count, extra[index]))
            queue[0][1] -= count
            left -= count
    return found


def _later(row: Timed, processes: int, extra: Mapping[str, float | None]) -> Timed:
    times: list[Time | None] = []
    for phase, time in zip(WORK_PHASES, row.times, strict=True):
        more = extra.get(phase, 0.0)
        if time is None or more is None:
            times.append(None)
        else:
            times.append(Time(time.value + more, time.low + more, time.high + more))
    return replace(row, processes=processes, times=tuple(times))


def _extra(part: MachinePart, held: Held, problem: Problem, geometry: Geometry) -> dict[str, float | None]:
    """Nanoseconds that each phase of one process of a seat takes more; None where nobody knows the latencies."""
    reads, seat = _reads(part, held, geometry), held.seat
    kind = problem.kinds[problem.kind_of[part.machine]]
    here = kind.machine.index(seat.node)

    def penalty(shares: Shares, replicated: bool = False) -> float:
        far = [(float(kind.penalty[here, kind.machine.index(node)]), share) for node, share in shares]
        return min(one for one, _ in far) if replicated else sum(one * share for one, share in far)

    total = reads.lines_own * penalty(seat.tables, seat.replicated) + reads.data_own * penalty(seat.data)
    places = [(seat.tables, seat.replicated, reads.lines_own), (seat.data, False, reads.data_own)]
    if part.copy is not None:
        copy = part.copy
        total += reads.lines_common * penalty(copy.tables, copy.replicated)
        total += reads.data_common * penalty(copy.data)
        places += [(copy.tables, copy.replicated, reads.lines_common), (copy.data, False, reads.data_common)]
    count = held.processes
    away = any(lines and _elsewhere(seat.node, shares, copied) > 1e-12 for shares, copied, lines in places)
    found: dict[str, float | None] = {}
    if kind.machine.latency_ns is None:
        found["touch"] = None if away else 0.0
    else:
        found["touch"] = total / count
    further = len(seat.tables) - 1 if seat.replicated else 0
    for phase, price in REPLICA_ENTRY_NS.items():
        before = found.get(phase, 0.0)
        found[phase] = None if before is None else before + further * price * reads.walks_own / count
    return found


def _reads(part: MachinePart, held: Held, geometry: Geometry) -> _Reads:
    traits = part.account.traits
    found = _Reads()
    by_name = {one.placed.region.name: one for one in held.setting.mapped}
    for group in held.setting.workload.groups:
        for cohort in group.cohorts:
            for touch in cohort.touches:
                one = by_name[touch.region]
                for extent in one.extents:
                    pages, unit = clip(touch.touched, extent, geometry), extent.page // geometry.page
                    origin = one.origin(geometry)
                    leaves = pages.spans(origin, unit).count * cohort.processes
                    lines = pages.spans(origin, unit * _PER_LINE).count * cohort.processes
                    data = pages.count * cohort.processes
                    common = part.copy is not None and not held.instances
                    tables = common and (traits.one_mm or geometry.leaf_level(extent.page) in extent.shared)
                    written = clip(touch.written, extent, geometry).count * cohort.processes
                    own = 0 if traits.data == "shared" and common else written if common else data
                    found = found.plus(
                        _Reads(
                            0.0 if tables else leaves,
                            leaves if tables else 0.0,
                            0.0 if tables else lines,
                            lines if tables else 0.0,
                            own,
                            data - own,
                        )
                    )
    return found


def _elsewhere(node: int, shares: Shares, replicated: bool) -> float:
    """Share of what lies so that is not on this node."""
    here = sum(share for other, share in shares if other == node)
    return 0.0 if replicated and here else 1.0 - min(here, 1.0)
