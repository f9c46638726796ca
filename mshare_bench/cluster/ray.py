"""The Ray executor: cells stream to the machines of a cluster, or to the CPUs of this one, and their rows back.

Simulated cells go out in batches sized by what they are estimated to take, two for every CPU. Real ones run one at a time on each
machine, before its simulated ones and never beside them, in an actor that keeps the engine (and what it has measured of the
machine) from cell to cell. A machine that joins meanwhile is used. What a machine had that died or fell silent runs again
elsewhere, once; what killed its worker runs again in halves, three times in all. Cells that take several machines at once
(`cluster.joint`) come before all others.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, cast

from mshare_bench.cluster.batch import SIMULATED_BATCH, batches, failed, run_packed
from mshare_bench.cluster.connect import joined_ray, local_ray
from mshare_bench.cluster.estimate import serial_seconds
from mshare_bench.cluster.joint import Joint, seated
from mshare_bench.cluster.roster import ClusterOptions, Member, Roster
from mshare_bench.cluster.stamp import Where
from mshare_bench.cluster.waiting import Batch, Waiting
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Engine, PartsEngine, Tables
from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.results.files import unpack

__all__ = ["RayExecutor"]

_BATCH_SECONDS = 1.0
_IN_FLIGHT_PER_CPU = 2
_ATTEMPTS = 3
_MACHINES = 2
_TICK_SECONDS = 1.0


class RayExecutor:
    """Runs cells through Ray.

    Parameters
    ----------
    options
        Which cluster.
    where
        Reads the environment of the machine that it is called on; must be importable there.
    note
        Is told which machines come and go, and what runs again.
    kinds
        Kind of machine that earlier results come from, by `baseline_point`; what is compared with them runs on such a machine.
    """

    name = "ray"

    def __init__(
        self,
        options: ClusterOptions,
        where: Callable[[], Where],
        note: Callable[[str], None] = lambda _message: None,
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self._options = options
        self._where = where
        self._note = note
        self._kinds = dict(kinds or {})
        self._started = ExitStack()

    def run(self, cells: Cells, engines: Mapping[str, Engine]) -> Iterator[Tables]:
        """Run every cell; tables come back batch by batch as they are done.

        Raises
        ------
        CapabilityError
            When Ray does not start here, or no machine of the cluster can simulate.
        ConfigError
            When nothing answers at the cluster's address, or no machine has the labels wanted.
        """
        address = self._options.address
        ray = self._started.enter_context(local_ray() if address is None else joined_ray(address))
        here = self._where()
        real = any(runner.engine != "sim" for runner in cells.runners)
        roster = Roster(ray, self._options, engines, self._where, here, real, self._note)
        size = _batch_size(cells, engines, roster.cpus)
        todo = (Batch(*one) for one in batches(cells, size))
        waiting = Waiting(todo, _memory(engines), self._kinds, several=address is not None)
        with closing(roster):
            yield from self._run(roster, waiting, _Flight(ray, engines, address is None), here)

    def _run(self, roster: Roster, waiting: Waiting, flight: "_Flight", here: Where) -> Iterator[Tables]:
        while waiting or flight or flight.doubted:
            for member, reason in roster.update():
                yield from self._moved(flight.taken_from(member), member, reason, waiting)
            for batch, error in flight.settled():
                yield from self._again(batch, error, waiting)
            if waiting.joint and not flight and not flight.doubted and not roster.pending and roster.members:
                yield from self._together(flight, waiting, roster, here)
            for member in roster.members if not waiting.joint and not flight.joint else ():
                flight.fill(member, waiting, roster.members)
            if not flight and not flight.doubted and not roster.members and not roster.pending:
                reason = f"no machine is left in the cluster: {roster.last_loss}"
                yield from (failed(batch.cells, reason, here) for batch in waiting.all())
            elif waiting.simulated and not roster.pending and not any(one.cpus for one in roster.members):
                raise CapabilityError(
                    "executor=ray: no machine of the cluster gives CPUs to simulated cells (--num-cpus)"
                )
            yield from flight.landed(roster, self._tick)

    def close(self) -> None:
        """Put Ray away, or leave the cluster."""
        self._started.close()

    @property
    def _tick(self) -> float:
        return min(_TICK_SECONDS, self._options.silence_ns / 4e9)

    def _together(self, flight: "_Flight", waiting: Waiting, roster: Roster, here: Where) -> Iterator[Tables]:
        """Send out the next cell that takes several machines, all of which are free."""
        if not all(member.answering for member in roster.members):
            return
        batch = waiting.take_joint()
        reason = flight.send_joint(batch, roster.members)
        if reason is not None:
            point = batch.cells[0].point
            told = f"placement={point.placement} topology={point.topology}: {reason}"
            yield failed(batch.cells, told, here, "skipped")

    def _again(self, batch: Batch, error: Exception, waiting: Waiting) -> Iterator[Tables]:
        """Queue a batch whose worker died once more, in halves, so that a cell that kills its worker ends up alone."""
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        if batch.attempt >= _ATTEMPTS and len(batch.cells) == 1:
            yield failed(batch.cells, reason, self._where())
        else:
            self._note(f"a worker died, {_counted(batch)} once more: {reason}")
            waiting.put_back(batch.halves())

    def _moved(self, lost: Sequence[Batch], member: Member, reason: str, waiting: Waiting) -> Iterator[Tables]:
        """Queue what a machine had that is gone; what has lost its second machine is given up."""
        again = []
        for batch in lost:
            told = (*batch.lost, f"machine {member.name}: {reason}")
            if len(told) >= _MACHINES:
                yield failed(batch.cells, f"lost with its machine {len(told)} times; {'; '.join(told)}", self._where())
            else:
                again.append(replace(batch, lost=told))
        for batch in again:
            self._note(f"machine {member.name}: {_counted(batch)} once more, elsewhere")
        waiting.put_back(again)


class _Flight:
    """Batches that are with a machine, and those of which it is open whether only the worker died or the machine.

    Parameters
    ----------
    alone
        This machine is the cluster: its cells are planned for it, and its name tells nobody anything.
    """

    def __init__(self, ray: Any, engines: Mapping[str, Engine], alone: bool) -> None:
        self._ray = ray
        self._alone = alone
        self._held = ray.put(engines["sim"]) if "sim" in engines else None
        self._task = ray.remote(run_packed)
        self._flying: dict[Any, tuple[Batch, Member]] = {}
        self._engine = engines.get("real")
        self.joint: Joint | None = None
        self.doubted: list[tuple[Batch, Member, Exception]] = []

    def __bool__(self) -> bool:
        return bool(self._flying) or self.joint is not None

    def send_joint(self, batch: Batch, members: Sequence[Member]) -> str | None:
        """Send a cell out to several machines; says why it can't be."""
        engine = cast(PartsEngine, self._engine)
        try:
            parts = engine.parts(batch.cells[0])
        except ConfigError as error:  # a placement that can't be
            return str(error)
        seats = seated(parts, members)
        if isinstance(seats, str):
            return seats
        self.joint = Joint(self._ray, batch, engine, seats)
        return None

    def fill(self, member: Member, waiting: Waiting, members: Sequence[Member]) -> None:
        """Give a machine what it has room for: a real cell, or simulated ones where it has no real one."""
        if not member.answering:
            return
        engines = [batch.engine for batch, holder in self._flying.values() if holder is member]
        simulated = engines.count("sim")
        if simulated < len(engines):
            return
        # Real cells come first: nothing is added beside the simulated ones until those are done and the real ones too.
        real = waiting.take_real(member, members)
        if real is not None:
            if simulated:
                waiting.put_back([real])
            else:
                self._send_real(real, member)
            return
        while waiting.simulated and simulated < member.cpus * _IN_FLIGHT_PER_CPU:
            self._send_simulated(waiting.take_simulated(), member)
            simulated += 1

    def landed(self, roster: Roster, seconds: float) -> Iterator[Tables]:
        """Wait until something comes back, or something is to be heard of a machine; gives back rows."""
        references = [*self._flying, *roster.references(), *(self.joint.references if self.joint else ())]
        if not references:
            time.sleep(seconds)
            return
        self._ray.wait(references, num_returns=1, timeout=seconds)
        # All that are there: of several, Ray gives any, and one could be passed over for as long as the others keep coming.
        done, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        if self.joint is not None:
            yield from self._step(self.joint, roster)
        for reference in done:
            if reference not in self._flying:
                continue
            batch, member = self._flying.pop(reference)
            try:
                found = self._ray.get(reference)
                yield unpack(found).tables() if isinstance(found, bytes) else found
            except self._ray.exceptions.RayError as error:
                self.doubted.append((batch, member, error))
                roster.doubt(member)

    def _step(self, joint: Joint, roster: Roster) -> Iterator[Tables]:
        broken = joint.step()
        if broken is not None:
            joint.drop()
            self.joint = None
            self.doubted.append((joint.batch, broken, CellFailed(f"the worker on machine {broken.name} died")))
            roster.doubt(broken)
        elif (rows := joint.rows) is not None:
            self.joint = None
            yield rows

    def settled(self) -> list[tuple[Batch, Exception]]:
        """Batches whose worker died on a machine that answers again."""
        found = [(batch, error) for batch, member, error in self.doubted if member.answering]
        self.doubted = [one for one in self.doubted if not one[1].answering]
        return found

    def taken_from(self, member: Member) -> list[Batch]:
        """Everything that a machine had; what it may still send is not listened to."""
        lost = [batch for batch, holder in self._flying.values() if holder is member]
        lost += [batch for batch, holder, _ in self.doubted if holder is member]
        self._flying = {key: one for key, one in self._flying.items() if one[1] is not member}
        self.doubted = [one for one in self.doubted if one[1] is not member]
        if self.joint is not None and member in self.joint.members:
            self.joint.drop()
            lost.append(self.joint.batch)
            self.joint = None
        return lost

    def _send_real(self, batch: Batch, member: Member) -> None:
        cells, name = batch.cells, None
        if not self._alone:
            here = (replace(cell, machine=member.kind) if cell.host == "here" else cell for cell in cells)
            cells, name = tuple(here), member.name
        self._flying[member.actor.run.remote(cells, name)] = (batch, member)

    def _send_simulated(self, batch: Batch, member: Member) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(member.node, soft=False)
        task = self._task.options(num_cpus=1, max_retries=0, scheduling_strategy=there)
        self._flying[task.remote(batch.cells, self._held, member.where)] = (batch, member)


def _counted(batch: Batch) -> str:
    which = "a real cell" if batch.engine != "sim" else f"{len(batch.cells)} simulated cells"
    return f"{which} ({batch.cells[0].point.mechanism}, {batch.cells[0].point.workload.processes} processes)"


def _memory(engines: Mapping[str, Engine]) -> Callable[[Cell], int]:
    """Bytes that a real cell needs, as its engine estimates them."""
    estimate = getattr(engines.get("real"), "estimate", None)
    return (lambda cell: int(estimate(cell).memory)) if estimate is not None else lambda _cell: 0


def _batch_size(cells: Cells, engines: Mapping[str, Engine], cpus: int) -> int:
    simulated = int(cells.whose(runner=lambda one: one.engine == "sim").sum())
    seconds = serial_seconds(cells, engines)
    wanted = simulated * _BATCH_SECONDS / seconds if seconds else SIMULATED_BATCH
    # At least four batches for every CPU, so that the last one does not keep the others waiting.
    return max(1, min(math.ceil(wanted), math.ceil(simulated / (4 * cpus)), SIMULATED_BATCH))
