"""What the kernel shows of processes that do what a mechanism's recipe says."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.workload import placed_regions
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.protocol import Spawn
from mshare_bench.real.counters.smaps import MappingSizes, mappings
from mshare_bench.real.counters.vmpte import vm_bytes
from mshare_bench.real.engine import fill, knobs_of
from mshare_bench.real.knobs import knobs_set
from mshare_bench.real.launch import ProcessTree
from mshare_bench.real.programs import Backed, cast, close_backings, open_backings
from mshare_bench.sim.accounting import mechanism_of
from tests.real.processes import need_agent
from tests.requirements import require

__all__ = ["Observed", "observe"]

_SPAWN = {"fork": Spawn.FORK, "clone_vm": Spawn.CLONE_VM, "thread": Spawn.THREAD}


@dataclass(frozen=True)
class Observed:
    """The processes of a point after they have touched its one region, one after the other; a parent is the first.

    Attributes
    ----------
    forked, tables
        Bytes of page tables by process (`VmPTE` above what it is without the region), before and after touch.
    faults
        Minor faults of each in touch; a parent's are those before it forked.
    seen
        What `look` gave.
    """

    forked: list[int]
    tables: list[int]
    faults: list[int]
    seen: Any
    _maps: list[list[MappingSizes]]

    def shown(self, key: str) -> list[int]:
        """A field of smaps by process, in bytes, over the region's mappings."""
        return [sum(part.sizes[key] for part in parts) for parts in self._maps]


def observe(point: Point, look: Callable[[list[int], Backed], Any] = lambda pids, backed: None) -> Observed:
    """Run a point's processes; `look` is called with their pids while the region is there. All is given back."""
    need_agent()
    traits = mechanism_of(point).traits
    with contextlib.ExitStack() as stack:
        one = _opened(stack, point)
        casting = cast(point, [one], traits)
        if point.populate == "controller":
            fill(point, [one], all_files=traits.inherited is not None)
        fds = [backing.fd for backing in one.instances if backing.fd >= 0]
        tree = stack.enter_context(
            ProcessTree(
                casting.programs, casting.agents + 1, casting.assignment, fds=fds, spawn=_SPAWN[one.recipe.spawn],
                parallel=1, prefork=casting.prefork,
            )
        )  # fmt: skip
        parent = [tree.zygote_pid] if casting.prefork else []
        bare = _tables(parent)
        faults = [int(count) for count in tree.run_prefork()["minor_faults"]] if parent else []
        tree.launch()
        children = [int(pid) for pid in tree.pids[: casting.agents]]
        forked = _tables([*parent, *children])
        tree.run("populate", casting.agents)
        phases = [tree.run(phase, 0, casting.agents)["minor_faults"] for phase in ("attach", "write", "read")]
        tables = _tables([*parent, *children])
        maps = [_within(one, mappings(pid)) for pid in (*parent, *children)]
        seen = look([*parent, *children], one)
        tree.run("unmap", 0, casting.agents)
        # What is inherited is there from the start: without it, a child has what it has left after it let go.
        without = np.concatenate([bare, _tables(children) if parent else forked])
        faults += (phases[1] + phases[2]).tolist()
        return Observed((forked - without).tolist(), (tables - without).tolist(), faults, seen, maps)


def _opened(stack: contextlib.ExitStack, point: Point) -> Backed:
    mechanism = mechanism_of(point)
    try:
        # Knobs first, so that they are put back last: a pool of huge pages does not shrink while they are in use.
        recipes = [mechanism.recipe(one, point.page) for one in placed_regions(point.workload, point.offset)]
        stack.enter_context(knobs_set(knobs_of(point, recipes)))
        (one,) = open_backings(point, mechanism, X86_64)
        stack.callback(close_backings, [one])
    except CapabilityError as error:
        require("kernel", False, str(error))
        raise
    return one


def _tables(pids: Sequence[int]) -> Any:
    return vm_bytes(pids) if pids else np.zeros(0, np.int64)


def _within(one: Backed, maps: Sequence[MappingSizes]) -> list[MappingSizes]:
    start = one.placed.address
    return [part for part in maps if start <= part.start < start + one.placed.region.size]
