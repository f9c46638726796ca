"""From what was asked for to a plan of cells, and what becomes of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mshare_bench.domain.cell import Cell
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.study.engines import costs_of, engines_of, model_of
from mshare_bench.study.observer import Silent
from mshare_bench.sweep.plan import Plan, finished_on, make_plan
from mshare_bench.uncollected import uncollected

if TYPE_CHECKING:
    from mshare_bench.config.cells import Candidates
    from mshare_bench.config.parts import CellContext
    from mshare_bench.config.request import PointSet, Request
    from mshare_bench.config.settings import Settings
    from mshare_bench.domain.cells import Cells
    from mshare_bench.domain.topology import Topology
    from mshare_bench.results.store import Store

__all__ = ["kinds_of", "outlook", "plan_of"]


def plan_of(request: "Request", note: Callable[[str], None] | None = None) -> Plan:
    """Plan what was asked for.

    Parameters
    ----------
    request
        As `config.request.read_request` gives it.
    note
        Is told what was lowered to fit this machine.

    Raises
    ------
    ConfigError
        For what the configuration names and can't be.
    """
    from mshare_bench.domain.cells import Cells
    from mshare_bench.sweep.conditions import selection

    say = note or Silent().note
    shape, settings = request.shape, request.settings
    chosen = selection(shape.where, shape.exclude)
    given = [f"sweep.{key}={text}" for key in ("where", "exclude") if (text := getattr(shape, key)) is not None]
    placing = _Placing(cluster=settings.cluster.address is not None and settings.executor != "inline")
    with uncollected():
        asked = [_asked(request, points, say) for points in request.point_sets]
        cells, refused = Cells.joined([one.cells for one in asked]), np.concatenate([one.refused for one in asked])
        if chosen is not None:
            kept = np.array([chosen(cell) for cell in cells], bool)
            cells, refused = cells.take(kept), refused[kept]
        _check_inputs(cells.take(cells.whose(runner=lambda one: one.mmu is not None)))
        placed = cells.whose(place=lambda one: one.machines is not None) & np.array(
            [why is None for why in refused], bool
        )
        refused[placed] = [placing.refusal(cell) for cell in cells.take(placed)]
        repeats = {"real": settings.repeats}
        plan = make_plan(cells, repeats, shape.order, settings.seed, refused=refused.tolist(), conditions=given)
    placing.check(plan)
    return plan


def outlook(request: "Request") -> list[dict[str, Any]]:
    """Say of every cell of a plan whether it is done, why it would run, and what it takes; runs nothing, writes nothing.

    Returns
    -------
    list of dict
        As `sweep.outlook.rows_of` has them.
    """
    from mshare_bench.results.store import Store
    from mshare_bench.sweep.outlook import Stored, outlook, rows_of

    plan = plan_of(request)
    estimators, _ = engines_of(plan.cells, request, costs_of(request, plan.cells))
    stored = Stored()
    if request.settings.out is not None and (Path(request.settings.out) / "store.json").exists():
        store = Store.open(request.settings.out)
        columns = (store.table("cells")[name].to_pylist() for name in ("point", "engine", "cell"))
        cells: dict[tuple[str, str], set[str]] = {}
        for point, engine, cell in zip(*columns, strict=True):
            cells.setdefault((point, engine), set()).add(cell)
        statuses = store.statuses()
        machines = (machine for _, machine in kinds_of(store, request.settings))
        elsewhere = dict.fromkeys(finished_on(plan, store.finished(), machines), "ok")
        stored = Stored({**statuses, **elsewhere}, {key: frozenset(value) for key, value in cells.items()})
    return rows_of(outlook(plan, estimators, stored))


class _Placing:
    """Asks of every cell of a plan whether its topology can hold it: the cells that it can't hold are refused.

    With a `cluster` a real cell can have a topology of several machines: it runs on as many of its own.
    """

    def __init__(self, cluster: bool) -> None:
        self._cluster = cluster
        self._first: CapabilityError | ConfigError | None = None

    def refusal(self, cell: Cell) -> str | None:
        """Why a cell can't be placed; None where it can, or needs no placing."""
        from mshare_bench.errors import PlacementError

        if cell.point.machines is None or cell.point.workload.name == "fleet":  # a fleet turns away whom it can't hold
            return None
        from mshare_bench.sim.places import check_places

        try:
            several = self._cluster and cell.point.machines.machines > 1
            if cell.engine == "real" and cell.host == "here" and cell.point.topology != "here" and not several:
                raise PlacementError(
                    f"topology={cell.point.topology}: real cells run on this machine as it is (topology=here); host=guest boots "
                    "another"
                )
            check_places(cell.point)
        except PlacementError as error:
            self._first = self._first or error
            return str(error)
        return None

    def check(self, plan: Plan) -> None:
        """Raise the first reason where no cell is left to run."""
        if self._first is not None and not plan.cells:
            raise self._first


def _check_inputs(cells: "Cells") -> None:
    """Check the streams and traces of these cells, all of which name an MMU."""
    if cells:
        from mshare_bench.sim.mmu.cells import check_inputs

        for cell in cells:
            check_inputs(cell)


def _asked(request: "Request", points: "PointSet", note: Callable[[str], None]) -> "Candidates":
    """The cells of a set of points."""
    from mshare_bench.config.parts import CellContext
    from mshare_bench.config.request import candidates
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.sweep.axes import Assignments, join_axes

    named, seed = points.mechanism_named, request.settings.seed
    context = CellContext(model_of, machine_digest(), seed, named, _topology_here, _guest_digest)
    assignments = Assignments.of_axes(join_axes(points.axes, request.shape.zipped))
    if points.fit is not None:
        assignments = Assignments.of_rows([_fitted(request, points, row, context, note) for row in assignments])
    return candidates(request, points, assignments, context)


def _topology_here() -> "Topology":
    from mshare_bench.real.sysfs import read_topology

    return read_topology()


def _guest_digest(topology: "Topology | None", kernel: str | None) -> str:
    """What stands for the hardware of a guest: the topology that QEMU shows, and the kernel."""
    from mshare_bench.domain.cell import digest
    from mshare_bench.domain.topology_mapping import topology_to_mapping
    from mshare_bench.real.guest.kernel import kernel_identity

    shown = None if topology is None else topology_to_mapping(topology)
    return digest({"guest": shown, "kernel": kernel_identity(kernel)})


def _fitted(
    request: "Request",
    points: "PointSet",
    row: Mapping[str, Any],
    context: "CellContext",
    note: Callable[[str], None],
) -> Mapping[str, Any]:
    """Lower the processes of one assignment to what this machine can hold, by what plain shared memory needs.

    Mechanisms that need more are refused one by one by the guard.
    """
    from mshare_bench.config.request import candidates
    from mshare_bench.domain.cells import Cells
    from mshare_bench.real.guard import AGENT_BYTES, Need, largest_processes, read_host
    from mshare_bench.sim.accounting import account
    from mshare_bench.sweep.axes import Assignments

    wanted = points.fit.wanted if points.fit else None

    def cells(processes: int) -> Cells:
        chosen = {**row, "mechanism": "shmem", "processes": processes}
        return candidates(request, points, Assignments.of_rows([chosen]), context).cells

    def need_of(processes: int) -> Need:
        found = account(cells(processes)[0].point)
        return Need(processes, found.total("data_bytes"), found.page_table_bytes, processes * AGENT_BYTES)

    if wanted is not None and all(cell.engine != "real" for cell in cells(wanted)):
        return {**row, "processes": wanted}
    largest = largest_processes(need_of, read_host(), request.settings.real.reserve_bytes, most=wanted)
    if largest < 1:  # the guard will refuse it and say why
        return {**row, "processes": wanted or 1}
    if wanted is not None and largest < wanted:
        note(f"real.processes={wanted}: {largest} fit into this machine's memory; the region stays as it is")
    return {**row, "processes": largest}


def kinds_of(store: "Store", settings: "Settings") -> set[tuple[str, str]]:
    """Every `baseline_point` that has real results, with the kind of machine that they are from; without a cluster none."""
    if settings.cluster.address is None:
        return set()
    columns = (store.table("cells")[name].to_pylist() for name in ("baseline_point", "engine", "status", "machine"))
    rows = zip(*columns, strict=True)
    return {(point, machine) for point, engine, status, machine in rows if engine == "real" and status == "ok"}
