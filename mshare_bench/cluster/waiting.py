"""Cells that wait for a machine, and which machine may have which.

Simulated cells run on any. Real cells that are compared with each other (one `baseline_point`: the mechanisms of one point, and
all repeats) run on machines of one kind: the first of them chooses it, the others follow as long as there is one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mshare_bench.cluster.roster import Member
from mshare_bench.domain.cell import Cell

__all__ = ["Batch", "Waiting"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Cells that go to a machine together.

    Attributes
    ----------
    attempt
        How often it was sent out, with this.
    lost
        Why the machines that had it are gone.
    """

    engine: str
    cells: Sequence[Cell]
    attempt: int = 1
    lost: tuple[str, ...] = ()

    def halves(self) -> list["Batch"]:
        """The same cells in two batches, so that one that kills its worker ends up alone."""
        half = max(1, len(self.cells) // 2)
        parts = (self.cells[:half], self.cells[half:])
        return [replace(self, cells=part, attempt=self.attempt + 1) for part in parts if part]


class Waiting:
    """Batches in the order in which they are to run.

    Parameters
    ----------
    batches
        All of them.
    memory
        Bytes that a real cell needs; 0 where nobody knows.
    kinds
        By `baseline_point`, the kind of machine that earlier results of it come from.
    several
        Whether real cells whose topology has several machines are run on as many.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        memory: Callable[[Cell], int],
        kinds: Mapping[str, str],
        several: bool = False,
    ) -> None:
        self._simulated: deque[Batch] = deque()
        self._real: list[Batch] = []
        self._joint: deque[Batch] = deque()
        self._several = several
        for batch in batches:
            self._queue(batch).append(batch)
        self._memory = memory
        self._kinds = dict(kinds)

    def __bool__(self) -> bool:
        return bool(self._simulated or self._real or self._joint)

    @property
    def joint(self) -> bool:
        """Whether cells wait that take several machines at once; nothing else is sent out before them."""
        return bool(self._joint)

    @property
    def simulated(self) -> bool:
        """Whether simulated cells wait."""
        return bool(self._simulated)

    def put_back(self, batches: Sequence[Batch]) -> None:
        """Put batches in front of all others."""
        for batch in reversed(batches):
            self._queue(batch).insert(0, batch)

    def take_simulated(self) -> Batch:
        """The next batch of simulated cells."""
        return self._simulated.popleft()

    def take_joint(self) -> Batch:
        """The next cell that takes several machines."""
        return self._joint.popleft()

    def take_real(self, member: Member, members: Sequence[Member]) -> Batch | None:
        """The next real cell that this machine may have, of all `members`; None where there is none."""
        for position, batch in enumerate(self._real):
            group = batch.cells[0].point.baseline_digest
            if member in self._eligible(batch, group, members):
                self._kinds[group] = member.kind
                return self._real.pop(position)
        return None

    def all(self) -> list[Batch]:
        """Everything that waits, taken out."""
        rest = [*self._joint, *self._real, *self._simulated]
        self._joint, self._real, self._simulated = deque(), [], deque()
        return rest

    def _queue(self, batch: Batch) -> "list[Batch] | deque[Batch]":
        if batch.engine == "sim":
            return self._simulated
        cell = batch.cells[0]
        machines = cell.point.machines
        several = self._several and cell.host == "here" and machines is not None and machines.machines > 1
        return self._joint if several else self._real

    def _eligible(self, batch: Batch, group: str, members: Sequence[Member]) -> Sequence[Member]:
        kind = self._kinds.get(group)
        alike = [one for one in members if one.kind == kind] or members
        if len(alike) == 1:
            return alike
        needed = self._memory(batch.cells[0])
        roomy = [one for one in alike if one.memory >= needed]
        if roomy:
            return roomy
        most = max(one.memory for one in alike)  # its guard will say what would fit
        return [one for one in alike if one.memory == most]
