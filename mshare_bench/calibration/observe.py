"""Runs a point in short, repeated rounds and keeps every sample: what unit costs are fitted to.

It is the real engine's casting of a point (`mshare_bench.real.programs`), run so that noise can be told from cost:

- one process at a time, pinned, at nice -20 where that is allowed, so that little else takes the CPU meanwhile;
- touches are cut into pieces of 512 pages, each timed by itself: an interruption spoils one piece, not the phase;
- all phases but `fork` and `exit` are repeated in the same processes, so that caches and the allocator's lists are warm.

The figure of a phase is the sum over its pieces of a low quantile over rounds and processes; every sample stays in `samples`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.workload import placed_regions
from mshare_bench.real.agent import ops as o
from mshare_bench.real.engine import fill, knobs_of
from mshare_bench.real.knobs import knobs_set
from mshare_bench.real.launch import Binding, ProcessTree, Spawn
from mshare_bench.real.measure import wait_until_merged
from mshare_bench.real.programs import Casting, cast, close_backings, open_backings
from mshare_bench.sim.accounting import mechanism_of

__all__ = ["AGAIN", "PIECE", "QUANTILE", "Observed", "figure", "observe", "prefer"]

PIECE = 512
"""Pages that one timed piece of a touch covers: one PTE table."""

AGAIN = "again"
"""The phase that touches once more what is mapped already."""

QUANTILE = 0.05
"""Which of the samples of a piece counts. Noise only adds: a neighbour on the same core or cache makes whole seconds of them a
third longer, so that a median jumps between two levels as that neighbour comes and goes, while the low end stays (A/A runs on
a shared machine: 8 % apart by the median, 3 % by this). On a quiet machine it is within a per cent of the median."""

_SPAWN = {"fork": Spawn.FORK, "clone_vm": Spawn.CLONE_VM, "thread": Spawn.THREAD}


@dataclass(frozen=True, slots=True)
class Observed:
    """Samples of one point.

    Attributes
    ----------
    samples
        By phase, nanoseconds: shape (rounds, processes, pieces). Touching is two phases, `write` and then `read`.
    preferred
        Whether the processes ran before others.
    """

    samples: Mapping[str, NDArray[np.int64]]
    preferred: bool

    def joined(self, other: "Observed") -> "Observed":
        """Samples of both, round by round."""
        return Observed(
            {phase: np.concatenate([rows, other.samples[phase]]) for phase, rows in self.samples.items()},
            self.preferred and other.preferred,
        )


def figure(samples: NDArray[np.int64]) -> float:
    """Time of one process: the sum over pieces of `QUANTILE` over rounds and processes."""
    rounds, processes, pieces = samples.shape
    return float(np.quantile(samples.reshape(rounds * processes, pieces), QUANTILE, axis=0).sum())


def observe(point: Point, rounds: int, timeout: float = 600.0, skip_first: bool = False) -> Observed:
    """Run a point for some rounds in one process tree.

    Of the first round only the attaching counts, which every process does once and cold; the others find everything warm. What
    happens only once in a tree, a fork from the parent and the filling of holes, has one round.

    Parameters
    ----------
    rounds
        0 for a single one that counts although it is cold: where many processes make it long, and what is cold is little of it.
    skip_first
        Leave the first process out of the samples: where it builds what all share.

    Raises
    ------
    CapabilityError
        When the mechanism can't be had here.
    CellFailed
        When an agent dies or a wait times out.
    """
    mechanism = mechanism_of(point)
    traits = mechanism.traits
    recipes = [mechanism.recipe(placed, point.page) for placed in placed_regions(point.workload, point.offset)]
    with knobs_set(knobs_of(point, recipes)):
        backed = open_backings(point, mechanism, X86_64)
        try:
            if point.populate == "controller" or traits.resident:
                fill(point, backed, all_files=traits.inherited is not None)
            fds = [backing.fd for one in backed for backing in one.instances if backing.fd >= 0]
            return _rounds(
                _in_pieces(cast(point, backed, traits)),
                fds,
                _SPAWN[recipes[0].spawn],
                rounds,
                timeout,
                (lambda: wait_until_merged(timeout)) if traits.merged else (lambda: None),
                int(skip_first),
                traits.inherited is not None,
                not rounds or traits.inherited is not None or not (point.populate == "controller" or traits.resident),
            )
        finally:
            close_backings(backed)


def prefer(tree: ProcessTree) -> bool:
    """Let a tree's agents go before others on their CPU, nice -20; tells whether it may. Before `launch`: they inherit it.

    A real-time policy would be stricter and is not used: it can starve kernel threads that hold what an agent waits for.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, tree.zygote_pid, -20)
    except PermissionError:
        return False
    return True


def _rounds(
    casting: Casting,
    fds: Sequence[int],
    spawn: Spawn,
    rounds: int,
    timeout: float,
    settle: Callable[[], None],
    first: int,
    inherited: bool,
    once: bool,
) -> Observed:
    agents = casting.agents
    cpus = sorted(os.sched_getaffinity(0))
    samples: dict[str, list[NDArray[np.int64]]] = {}
    with ProcessTree(
        casting.programs,
        agents + 1,
        casting.assignment,
        fds=fds,
        spawn=spawn,
        parallel=1,
        bindings=[Binding(cpus=frozenset({cpus[-1]}))],
        binding=np.zeros(agents + 1, np.int64),
        prefork=casting.prefork,
        timeout=timeout,
    ) as tree:
        preferred = prefer(tree)
        if casting.prefork:
            tree.run_prefork()
        launched = tree.launch()[:agents]["duration_ns"]
        tree.run("populate", agents, agents + 1)
        for number in range(1 if once else rounds + 1):
            for phase in ("attach", "write", "read"):
                tree.run(phase, 0, agents)
            found = {phase: _pieces(tree, phase, agents) for phase in ("attach", "write", "read")}
            tree.run("write", 0, agents)
            tree.run("read", 0, agents)
            found[AGAIN] = np.concatenate([_pieces(tree, "write", agents), _pieces(tree, "read", agents)], axis=1)
            settle()
            for phase in () if inherited else ("fork",):
                tree.run(phase, 0, agents)
                found[phase] = _pieces(tree, phase, agents)
            for phase in ("protect", "unmap"):
                tree.run(phase, 0, agents)
                found[phase] = _pieces(tree, phase, agents)
            for phase, rows in found.items():
                if rows.shape[1] and (once or (number == 0) == (phase == "attach")):
                    samples.setdefault(phase, []).append(rows[first:])
        if inherited:
            samples["fork"] = [launched[first:, None].astype(np.int64)]
        exits = tree.exit()[:agents]["duration_ns"]
        samples["exit"] = [exits[first:, None].astype(np.int64)]
    return Observed({phase: np.stack(rows) for phase, rows in samples.items()}, preferred)


def _pieces(tree: ProcessTree, phase: str, agents: int) -> NDArray[np.int64]:
    """Durations of the ops of a phase, shape (agents, ops); an advice is part of its mapping."""
    rows: NDArray[np.int64] = tree.op_results(phase)[:agents]["duration_ns"].astype(np.int64)
    return rows.sum(axis=1, keepdims=True) if phase in ("attach", "protect", "unmap") and rows.shape[1] else rows


def _in_pieces(casting: Casting) -> Casting:
    programs = tuple(
        {phase: [part for op in ops for part in (_cut(op) if phase in ("write", "read") else [op])]
         for phase, ops in program.items()}
        for program in casting.programs
    )  # fmt: skip
    return dataclasses.replace(casting, programs=programs)


def _cut(op: o.Op) -> list[o.Op]:
    if not isinstance(op, o.Touch) or op.count <= PIECE:
        return [op]
    parts: list[o.Op] = []
    for start in range(0, op.count, PIECE):
        count = min(PIECE, op.count - start)
        if op.pages is not None:
            parts.append(dataclasses.replace(op, count=count, pages=op.pages[start : start + count]))
        else:
            parts.append(dataclasses.replace(op, count=count, first=op.first + op.step * start))
    return parts
