"""Private memory that children inherit by fork: tables copied, or shared until one is written through (COW-PTE).

The first process is the parent: it writes everything that any of them will touch, then forks the others. A child that only
reads takes no fault; each page it writes is one fault and one copy.
"""

from mshare_bench.domain.geometry import Geometry, Level
from mshare_bench.domain.union import union_spans
from mshare_bench.domain.workload import Cohort, Touch, Workload
from mshare_bench.mechanisms.contract import Traits
from mshare_bench.sim.result import Account, RegionAccount
from mshare_bench.sim.tables import Mapped, Tables, address_space, cohorts, mappers, per_process, same_span, union_of

__all__ = ["inherited_account"]


def inherited_account(workload: Workload, mapped: tuple[Mapped, ...], geometry: Geometry, traits: Traits) -> Account:
    """Count everything that a point with inherited private memory costs."""
    regions = []
    last: dict[Level, int] = {}
    for one in mapped:
        region = one.placed.region
        users = mappers(workload, region.name)
        everyone = union_of(workload, region.name, "touched")
        touched = union_spans(everyone, 0, 1).count
        copied = _children(workload, one, geometry, 1)
        counts: dict[Level, int] = {}
        for level in geometry.counted_levels:
            span = geometry.span(level) // geometry.page
            found = union_spans(everyone, one.origin(geometry), span)
            own = found.count - same_span(found.first, last.get(level))
            if found.last is not None:
                last[level] = found.last
            if traits.inherited == "shared" and level == Level.PTE:
                counts[level] = own + _children(workload, one, geometry, span)
            else:
                counts[level] = own * users
        regions.append(
            RegionAccount(
                region.name,
                region.size * region.instances,
                users,
                Tables(*(counts.get(level, 0) for level in Level)),
                (touched * region.instances + copied) * geometry.page,
                0,
                touched * region.instances + copied,
                0,
            )
        )
    return Account(tuple(regions), geometry.page, traits, address_space(mapped, traits.window))


def _children(workload: Workload, one: Mapped, geometry: Geometry, span: int) -> int:
    """Spans that the children write, summed over them; the parent, the first process, does not write again."""
    total, parent = 0, True
    for cohort in cohorts(workload):
        for touch in cohort.touches:
            if touch.region == one.placed.region.name:
                total += _written(cohort, touch, one.origin(geometry), span)
                if parent:
                    total -= touch.written.spans(one.origin(geometry), span).count
        parent = False
    return total


def _written(cohort: Cohort, touch: Touch, origin: int, span: int) -> int:
    return per_process(touch, touch.written, origin, span, cohort.processes)
