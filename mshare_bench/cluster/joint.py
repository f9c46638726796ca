"""One cell on several machines: its parts get ready, and start at one instant.

Each machine's actor runs its part up to the point where all processes are there and nothing is mapped, and waits. When all wait,
the driver asks every machine for its CLOCK_MONOTONIC, a few times (the quickest answer tells best: the error is half of what it
took), names an instant a little ahead on each machine's own clock, and they go on. When their processes really started comes back
with the rows.
"""

import contextlib
import time
import uuid
from collections.abc import Sequence
from typing import Any

from mshare_bench.cluster.member import WATCH
from mshare_bench.cluster.roster import Member
from mshare_bench.cluster.waiting import Batch
from mshare_bench.domain.ports import Part, PartsEngine, Share, Tables

__all__ = ["Joint", "seated"]

_ASKS = 9
_AHEAD_NS = 200_000_000
_ANSWER_SECONDS = 10.0


class Joint:
    """A cell on its way.

    Parameters
    ----------
    ray
        The module, connected.
    batch
        The one cell.
    engine
        Makes the cell's rows from those of its parts.
    seats
        Who runs which part.
    """

    def __init__(self, ray: Any, batch: Batch, engine: PartsEngine, seats: Sequence[tuple[Member, Part]]) -> None:
        self._ray = ray
        self._engine = engine
        self._key = uuid.uuid4().hex
        self._clocks: dict[str, tuple[float, float]] = {}
        self._told = False
        self.batch = batch
        self.members = [member for member, _ in seats]
        self._runs = {member.actor.run_part.remote(part.cell, self._key): member for member, part in seats}
        self._armed = {self._watch(member, "armed", self._key): member for member in self.members}
        self._done: list[tuple[Member, Tables]] = []

    @property
    def references(self) -> list[Any]:
        """What there is to wait for."""
        return [*self._runs, *self._armed]

    @property
    def rows(self) -> Tables | None:
        """The cell's rows once all parts are done."""
        if self._runs:
            return None
        shares = []
        for member, tables in self._done:
            offset, error = self._clocks.get(member.node, (0.0, 0.0))
            begun = [row["start_ns"] for row in tables["groups"].to_pylist()] if "groups" in tables else []
            start = begun[0] - offset if self._clocks and begun and begun[0] is not None else None
            nodes = member.where.topology.node_ids if member.where and member.where.topology else ()
            node = nodes[0] if len(nodes) == 1 else None
            shares.append(Share(member.name, member.kind, node, tables, start, error))
        return self._engine.combine(self.batch.cells[0], shares)

    def step(self) -> Member | None:
        """Take in what came; gives a machine whose worker is gone, and then this cell is to be dropped."""
        for reference in self._ready(self._armed):
            member = self._armed.pop(reference)
            if self._get(reference) is None:
                return member
        for reference in self._ready(self._runs):
            member = self._runs.pop(reference)
            tables = self._get(reference)
            if tables is None:
                return member
            self._done.append((member, tables))
        if self._done and not self._told:  # one ended before it was told to start: it can't run there
            self.drop()
        if not self._armed and not self._told:
            try:
                self._start()
            except self._ray.exceptions.RayError:
                return next((one for one in self.members if one.node not in self._clocks), self.members[0])
        return None

    def drop(self) -> None:
        """Tell those who wait that nothing will come."""
        self._told = True
        for member in self._runs.values():
            with contextlib.suppress(Exception):  # it may be gone
                self._watch(member, "go", self._key, None)

    def _start(self) -> None:
        """Name the instant, on every machine's own clock."""
        for member in self.members:
            asked = []
            for _ in range(_ASKS):
                before = time.monotonic_ns()
                there = self._ray.get(self._watch(member, "clock"), timeout=_ANSWER_SECONDS)
                after = time.monotonic_ns()
                asked.append(((after - before) / 2, there - (before + after) / 2))
            error, offset = min(asked)
            self._clocks[member.node] = (offset, error)
        self._told = True
        at = time.monotonic_ns() + _AHEAD_NS
        for member in self.members:
            self._watch(member, "go", self._key, int(at + self._clocks[member.node][0]))

    def _watch(self, member: Member, method: str, *arguments: Any) -> Any:
        return getattr(member.actor, method).options(concurrency_group=WATCH).remote(*arguments)

    def _ready(self, references: dict[Any, Member]) -> list[Any]:
        if not references:
            return []
        return list(self._ray.wait(list(references), num_returns=len(references), timeout=0)[0])

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return None


def seated(parts: Sequence[Part], members: Sequence[Member]) -> list[tuple[Member, Part]] | str:
    """Give every part a machine that has the nodes it names; says what is missing where that can't be."""
    free = sorted(members, key=lambda one: one.name)
    if len(parts) > len(free):
        return f"{len(parts)} machines are needed, the cluster has {len(free)} ({', '.join(one.name for one in free)})"
    seats = []
    for part in parts:
        found = next((one for one in free if part.nodes <= _nodes(one)), None)
        if found is None:
            nodes = ", ".join(map(str, sorted(part.nodes)))
            return f"no machine is left that has the NUMA nodes {nodes} ({', '.join(one.name for one in free)})"
        free.remove(found)
        seats.append((found, part))
    return seats


def _nodes(member: Member) -> frozenset[int]:
    topology = member.where.topology if member.where is not None else None
    return frozenset(topology.node_ids) if topology is not None else frozenset()
