"""The one place where the line is put together: plan, run, store, track, report; and the public API."""

import datetime
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Engine, Estimator, Executor, Tables
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.sweep.plan import Plan, Refusal, finished_on, make_plan

if TYPE_CHECKING:
    import pyarrow as pa

    from mshare_bench.audit import Audit
    from mshare_bench.cluster.stamp import Where
    from mshare_bench.config.cells import CellContext
    from mshare_bench.config.request import PointSet, Request
    from mshare_bench.config.settings import Settings
    from mshare_bench.domain.cost import CostModel
    from mshare_bench.domain.topology import Topology
    from mshare_bench.real.applications import Audited
    from mshare_bench.real.hosts import Hosts
    from mshare_bench.results.store import Store
    from mshare_bench.tracking.mlflow import MlflowTracker

__all__ = [
    "Observer", "Result", "Silent", "Validation", "keep_audit", "load", "outlook", "plan_of", "run", "run_request", "sync",
    "validate", "write_report",
]  # fmt: skip

RUNS = "mshare-runs"
"""Folder, in the working directory, of the results of runs without `out=`."""


class EstimatingEngine(Engine, Estimator, Protocol):
    """An engine that says what its cells take: both of ours do."""


class Observer(Protocol):
    """Hears how a run goes on."""

    def planned(self, plan: Plan, todo: Sequence[Cell], path: Path) -> None:
        """So many cells will run, and the store is there."""

    def finished(self, tables: Tables) -> None:
        """These rows are on disk."""

    def note(self, message: str) -> None:
        """Something worth a line."""


class Silent:
    """An observer that says nothing."""

    def planned(self, plan: Plan, todo: Sequence[Cell], path: Path) -> None:
        """Nothing."""

    def finished(self, tables: Tables) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """Results of a run, or what was loaded.

    Attributes
    ----------
    path
        Folder of the store.
    store
        The store, not locked.
    link
        Where to look at it in MLflow, if it was logged.
    refused
        Cells of the plan that no machine could run (a size that a mechanism can't map); they are `skipped` rows.
    """

    path: Path
    store: "Store"
    link: str | None = None
    refused: int = 0

    @property
    def cells(self) -> "pa.Table":
        """One row per cell and repeat, as `docs/results.md` describes them."""
        return self.store.table("cells")

    def table(self, name: str) -> "pa.Table":
        """Rows of one table: `cells`, `regions`, `groups`, `phases`, `nodes`, ...

        Raises
        ------
        KeyError
            When the contract has no such table.
        """
        return self.store.table(name)

    @property
    def statuses(self) -> dict[str, int]:
        """Rows by status."""
        counts: dict[str, int] = {}
        for status in self.store.statuses().values():
            counts[status] = counts.get(status, 0) + 1
        return counts


def run(*overrides: str, multirun: bool | None = None, observer: Observer | None = None, **keys: Any) -> Result:
    """Run cells, as `mshare-bench run` does, and give back their rows.

    Parameters
    ----------
    overrides
        In the command line's grammar: `"mechanism=mshare"`, `"mechanism.interface=flag"`.
    multirun
        Whether several values of a key are an axis; None for: when a key has a list or several values.
    observer
        Hears how it goes on.
    keys
        The same as keywords: `processes=1000`, `region="1GiB"`, `mechanism=["shmem", "mshare"]`; a list is an axis. `__` stands
        for the dot: `mechanism__interface="flag"`.

    Raises
    ------
    MshareBenchError
        As the command line reports it.

    Examples
    --------
    >>> result = run(mechanism=["shmem", "mshare"], processes=100, region="64MiB", tracking="none")  # doctest: +SKIP
    >>> result.cells.column("page_table_bytes")  # doctest: +SKIP
    """
    from mshare_bench.config.overrides import parse_overrides, spell
    from mshare_bench.config.request import read_request

    texts = [*overrides, *(spell(key.replace("__", "."), value) for key, value in keys.items())]
    if multirun is None:
        multirun = any(one.axis for one in parse_overrides(texts))
    return run_request(read_request(texts, multirun=multirun), observer or Silent())


def load(path: str | Path) -> Result:
    """Load the results of an earlier run.

    Parameters
    ----------
    path
        Folder of its store, or the `cells.arrow` in it.

    Raises
    ------
    StoreError
        When there is none, or a newer version has written it.
    """
    from mshare_bench.results.store import Store

    store = Store.open(path)
    return Result(store.path, store)


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
    from mshare_bench.config.cells import CellContext
    from mshare_bench.config.request import candidates
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.sim.mmu.cells import check_inputs
    from mshare_bench.sweep.axes import assignments, join_axes
    from mshare_bench.sweep.conditions import selection

    say = note or Silent().note
    shape, settings = request.shape, request.settings
    chosen = selection(shape.where, shape.exclude)

    def made() -> Iterator[tuple[Cell, str | None]]:
        for points in request.point_sets:
            named = points.mechanism_named
            context = CellContext(_model, machine_digest(), settings.seed, named, _topology_here, _guest_digest)
            rows: Iterable[Mapping[str, Any]] = assignments(join_axes(points.axes, shape.zipped))
            if points.fit is not None:
                rows = [_fitted(request, points, row, context, say) for row in rows]
            for one in candidates(request, points, rows, context):
                if chosen is None or chosen(one.cell):
                    check_inputs(one.cell)
                    yield one.cell, one.refused or placed.refusal(one.cell)

    placed = _Placing()
    given = [f"sweep.{key}={text}" for key in ("where", "exclude") if (text := getattr(shape, key)) is not None]
    plan = make_plan(made(), {"real": settings.repeats}, shape.order, settings.seed, given)
    placed.check(plan)
    return plan


class _Placing:
    """Asks of every cell of a plan whether its topology can hold it: the cells that it can't hold are refused."""

    def __init__(self) -> None:
        self._first: CapabilityError | ConfigError | None = None

    def refusal(self, cell: Cell) -> str | None:
        """Why a cell can't be placed; None where it can, or needs no placing."""
        from mshare_bench.errors import PlacementError

        if cell.point.machines is None or cell.point.workload.name == "fleet":  # a fleet turns away whom it can't hold
            return None
        from mshare_bench.sim.places import check_places

        try:
            if cell.engine == "real" and cell.host == "here" and cell.point.topology != "here":
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


def _topology_here() -> "Topology":
    from mshare_bench.real.sysfs import read_topology

    return read_topology()


def run_request(request: "Request", observer: Observer) -> Result:
    """Plan, run what is missing, keep every row on disk, and track.

    Raises
    ------
    MshareBenchError
        For what was asked for and can't be; a cell that fails is a row.
    """
    from mshare_bench.results.store import Store

    settings = request.settings
    _check_tracking(settings)
    plan = plan_of(request, observer.note)
    with Store.create(_out(settings), settings.name, sweep=plan.digest, config=_record(request)) as store:
        try:
            _run_missing(plan, store, request, observer, _costs(request, plan.cells))
        finally:  # what finished is kept, also when interrupted
            store.compact()
        if settings.report:
            write_report(store)
        link = None if settings.tracking == "none" else _tracker(settings).log(store, observer.note)
        return Result(store.path, Store.open(store.path), link, len(plan.refusals))


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
    estimators, _ = _engines(plan.cells, request, _costs(request, plan.cells))
    stored = Stored()
    if request.settings.out is not None and (Path(request.settings.out) / "store.json").exists():
        store = Store.open(request.settings.out)
        columns = (store.table("cells")[name].to_pylist() for name in ("point", "engine", "cell"))
        cells: dict[tuple[str, str], set[str]] = {}
        for point, engine, cell in zip(*columns, strict=True):
            cells.setdefault((point, engine), set()).add(cell)
        statuses = store.statuses()
        machines = (machine for _, machine in _kinds(store, request.settings))
        elsewhere = dict.fromkeys(finished_on(plan, store.finished(), machines), "ok")
        stored = Stored({**statuses, **elsewhere}, {key: frozenset(value) for key, value in cells.items()})
    return rows_of(outlook(plan, estimators, stored))


def sync(path: str | Path, note: Callable[[str], None], uri: str | None = None) -> str | None:
    """Send to MLflow what is on disk only, exactly once.

    Parameters
    ----------
    path
        Of the store.
    note
        Is told what stands in the way.
    uri
        Of the tracking server; None for the one that the run named.

    Returns
    -------
    str or None
        Where to look at it; None where the server is away.
    """
    from mshare_bench.config.settings import Settings
    from mshare_bench.results.store import Store

    with Store.open(path, write=True) as store:
        values = store.info.config.get("values", {})
        settings = Settings(
            tracking_uri=values.get("tracking.uri"),
            tracking_experiment=values.get("tracking.experiment") or Settings().tracking_experiment,
        )
        return _tracker(settings, uri).log(store, note)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    path
        Folder of the store that holds the cells, `validation.arrow` and the figure.
    table
        Rows of `validation.arrow` (docs/validation.md).
    link
        Where to look at it in MLflow, if it was logged.
    exit_code
        4 when a prediction is out of its tolerance, 1 when a cell failed, else 0.
    """

    path: Path
    table: "pa.Table"
    link: str | None
    exit_code: int


def validate(*overrides: str, targets: str | Path | None = None, observer: Observer | None = None) -> Validation:
    """Hold the models against this machine's kernel, against published results, and against what they were not fitted on.

    Parameters
    ----------
    overrides
        Where and how (`real.scale=small`, `out=`, `tracking=`) and `cost=`.
    targets
        A file with further published results.
    observer
        Hears how it goes on.

    Raises
    ------
    ConfigError
        For a coordinate among the overrides, or a wrong file of targets.
    """
    from mshare_bench.config.costs import profile_of
    from mshare_bench.config.request import read_where
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.report.validation import figure
    from mshare_bench.results.files import write_arrow
    from mshare_bench.results.store import Store
    from mshare_bench.validation.comparison import failed, table
    from mshare_bench.validation.kernel import REPEATS, compare_cells, kernel_cells
    from mshare_bench.validation.models import Context, packaged_mmus, predict
    from mshare_bench.validation.out_of_sample import out_of_sample
    from mshare_bench.validation.targets import all_targets

    observer = observer or Silent()
    request = read_where(overrides, "validate")
    settings, cost = request.settings, profile_of(request.values)
    _check_tracking(settings)
    published = all_targets(targets)
    # A wrong file of targets is told before anything runs.
    context = Context(packaged_mmus())
    rows = [one for target in published for one in predict(target, context)]
    rows += out_of_sample(published)
    small = settings.real.scale == "small"
    cells = kernel_cells(small, cost.name if cost else "", machine_digest(), _model)
    plan = make_plan(((cell, None) for cell in cells), REPEATS)
    with Store.create(_out(settings, "validate"), "validate", sweep=plan.digest, config=_record(request)) as store:
        try:
            _run_missing(plan, store, request, observer, {cost.name: cost} if cost else {})
        finally:
            store.compact()
        ran = store.table("cells")
        rows = [*compare_cells(ran.to_pylist()), *rows]
        found = table(rows)
        write_arrow(store.path / "validation.arrow", found)
        figure(found, store.path / "figures" / "validation.png")
        link = None if settings.tracking == "none" else _tracker(settings).log(store, observer.note)
        broken = any(status not in ("ok", "skipped") for status in ran["status"].to_pylist())
        return Validation(store.path, found, link, 4 if failed(rows) else int(broken))


def keep_audit(audit: "Audit", out: str | Path, note: Callable[[str], None], *, track: bool = True) -> Result:
    """Keep an audit as a run: on disk first, then in MLflow.

    Parameters
    ----------
    audit
        As `mshare_bench.audit.audit_host` gives it.
    out
        Folder of the store; audits in one folder lie side by side.
    note
        Is told what stands in the way.
    track
        Whether MLflow hears of it.

    Raises
    ------
    StoreError
        When the folder can't be written.
    """
    from mshare_bench.audit.rows import audit_rows
    from mshare_bench.cluster.stamp import stamped
    from mshare_bench.config.settings import Settings
    from mshare_bench.real.environment import machine_digest
    from mshare_bench.results.store import Store

    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    with Store.create(out, "audit", config={"selection": audit.selection}) as store:
        store.append(stamped(audit_rows(audit, machine_digest(), at).tables(), _where()))
        store.compact()
        write_report(store)
        link = _tracker(Settings()).log(store, note) if track else None
        return Result(store.path, Store.open(store.path), link)


def write_report(store: "Store") -> Path:
    """Write `report.html` into the folder of a store, and say where it is."""
    from mshare_bench.report.html import write_report

    return write_report(store, colors=_colors())


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
    from mshare_bench.real.guard import AGENT_BYTES, Need, largest_processes, read_host
    from mshare_bench.sim.accounting import account

    wanted = points.fit.wanted if points.fit else None

    def cells(processes: int) -> list[Cell]:
        chosen = {**row, "mechanism": "shmem", "processes": processes}
        return [one.cell for one in candidates(request, points, iter([chosen]), context)]

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


def _costs(request: "Request", cells: Iterable[Cell]) -> dict[str, "CostModel"]:
    """The cost profiles that cells name."""
    from mshare_bench.config.costs import profiles

    return profiles({cell.cost for cell in cells}, request.composer)


def _run_missing(
    plan: Plan, store: "Store", request: "Request", observer: Observer, costs: Mapping[str, "CostModel"]
) -> None:
    from mshare_bench.real.applications import is_application

    settings = request.settings
    kinds = _kinds(store, settings)
    todo = list(plan.missing(finished_on(plan, store.finished(), (machine for _, machine in kinds))))
    engines, lacking = _engines(todo, request, costs)
    hosts = _hosts(engines)
    if hosts is not None:
        hosts.prepare()
    refused = [*plan.refusals, *(Refusal(cell, lacking[cell.engine]) for cell in todo if cell.engine in lacking)]
    todo = [cell for cell in todo if cell.engine not in lacking]
    applications = [cell for cell in todo if is_application(cell)]
    observer.planned(plan, todo, store.path)
    if refused:
        tables = _skipped(refused)
        store.append(tables)
        observer.finished(tables)
    for tables in _run_applications(applications, settings):
        store.append(tables)
        observer.finished(tables)
    todo = [cell for cell in todo if not is_application(cell)]
    if not todo:
        return
    executor = _executor(settings, todo, engines, observer.note, dict(kinds))
    try:
        for tables in executor.run(todo, engines):
            store.append(tables)
            observer.finished(tables)
    finally:
        executor.close()
        if hosts is not None:
            hosts.close()


def _run_applications(cells: Sequence[Cell], settings: "Settings") -> Iterator[Tables]:
    """Real programs run here, one after the other: those of one scene together, so that predictions have what was watched."""
    if not cells:
        return
    from mshare_bench.cluster.batch import run_batch
    from mshare_bench.real.applications import ApplicationEngine

    engine = ApplicationEngine(settings.real.reserve_bytes, settings.real.timeout_ns / 1e9, audit=_audited)
    scenes: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        scenes.setdefault((cell.point.baseline_digest, cell.repeat), []).append(cell)
    where = _where()
    for scene in scenes.values():
        yield run_batch(scene, engine, where)


def _audited(pids: Sequence[int]) -> "Audited":
    """What the tables of some processes are for: objects that several map, and the share of all tables that is explained."""
    from mshare_bench.audit import audit_host
    from mshare_bench.real.applications import Audited, AuditedObject

    found = audit_host(pids)
    objects = [one for one in found.objects if one.mappers > 1 and one.table_bytes][:200]
    unexplained = sum(abs(one.unattributed_bytes) for one in found.processes)
    return Audited(
        [AuditedObject(one.object, one.kind, one.mappers, one.mapped_bytes, one.table_bytes) for one in objects],
        1 - unexplained / max(found.vmpte_bytes, 1),
    )


def _skipped(refusals: Sequence[Refusal]) -> Tables:
    from mshare_bench.cluster.stamp import stamped
    from mshare_bench.results.describe import cell_columns
    from mshare_bench.results.rows import Rows

    rows = Rows()
    for one in refusals:
        rows.add("cells", **cell_columns(one.cell, "skipped", one.reason))
    return stamped(rows.tables(), _where())


def _where() -> "Where":
    from mshare_bench.cluster.stamp import Where
    from mshare_bench.real.environment import machine_digest, read_environment
    from mshare_bench.real.sysfs import read_machine

    facts = read_environment()
    try:
        return Where(machine_digest(), facts, read_machine())
    except CapabilityError:  # a sysfs that tells too little costs the topology only
        return Where(machine_digest(), facts)


def _model(engine: str) -> str:
    if engine == "application":
        from mshare_bench.real.applications import ApplicationEngine

        return ApplicationEngine.model
    if engine == "real":
        from mshare_bench.real.engine import RealEngine

        return RealEngine.model
    from mshare_bench.sim.engine import SimEngine

    return SimEngine.model


def _engines(
    cells: Sequence[Cell], request: "Request", costs: Mapping[str, "CostModel"]
) -> tuple[dict[str, "EstimatingEngine"], dict[str, str]]:
    """The engines that these cells name, and why this machine can't start the others."""
    names = {cell.engine for cell in cells}
    engines: dict[str, EstimatingEngine] = {}
    lacking: dict[str, str] = {}
    if "sim" in names:
        from mshare_bench.sim.engine import SimEngine

        engines["sim"] = SimEngine(costs=costs)
    if "real" in names:
        try:
            engines["real"] = _real_engine(cells, request)
        except CapabilityError as error:
            lacking["real"] = str(error)
    return engines, lacking


def _guest_digest(topology: "Topology | None", kernel: str | None) -> str:
    """What stands for the hardware of a guest: the topology that QEMU shows, and the kernel."""
    from mshare_bench.domain.cell import digest
    from mshare_bench.domain.topology_mapping import topology_to_mapping
    from mshare_bench.real.guest.kernel import kernel_identity

    shown = None if topology is None else topology_to_mapping(topology)
    return digest({"guest": shown, "kernel": kernel_identity(kernel)})


def _hosts(engines: Mapping[str, Engine]) -> "Hosts | None":
    """The real engine where it starts guests: these are prepared before the first cell, and end with the last."""
    if "real" not in engines:
        return None
    from mshare_bench.real.hosts import Hosts

    return engines["real"] if isinstance(engines["real"], Hosts) else None


def _real_engine(cells: Sequence[Cell], request: "Request") -> "EstimatingEngine":
    from mshare_bench.real.engine import RealEngine, RealOptions

    real, guest = request.settings.real, request.settings.guest
    options = RealOptions(real.reserve_bytes, real.parallel, real.timeout_ns / 1e9, real.samples)
    here = RealEngine(options)
    named = {cell.point.topology: cell.point.machines for cell in cells if cell.host == "guest"}
    if not named:
        return here
    from mshare_bench.real.guest.bed import find_bed
    from mshare_bench.real.guest.engine import GuestEngine
    from mshare_bench.real.guest.machine import guest_machine
    from mshare_bench.real.hosts import Hosts

    machines = {name: guest_machine(topology) for name, topology in named.items()}
    find = functools.partial(find_bed, guest.kernel, guest.files, guest.init)
    return Hosts(here, GuestEngine(machines, find, options))


def _executor(
    settings: "Settings",
    cells: Sequence[Cell],
    engines: Mapping[str, Engine],
    note: Callable[[str], None],
    kinds: Mapping[str, str],
) -> Executor:
    from mshare_bench.cluster.choose import choose_executor

    return choose_executor(settings.executor, cells, engines, settings.cluster, _where, note, kinds)


def _kinds(store: "Store", settings: "Settings") -> set[tuple[str, str]]:
    """Every `baseline_point` that has real results, with the kind of machine that they are from; without a cluster none."""
    if settings.cluster.address is None:
        return set()
    columns = (store.table("cells")[name].to_pylist() for name in ("baseline_point", "engine", "status", "machine"))
    rows = zip(*columns, strict=True)
    return {(point, machine) for point, engine, status, machine in rows if engine == "real" and status == "ok"}


def _out(settings: "Settings", name: str | None = None) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    stamp, name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S"), name or settings.name
    path, more = Path(RUNS) / f"{stamp}-{name}", 1
    while path.exists():
        more += 1
        path = Path(RUNS) / f"{stamp}-{name}-{more}"
    return path


def _record(request: "Request") -> dict[str, Any]:
    """The configuration as `store.json` keeps it: the overrides that give it again, and what they composed to."""
    own = {key: value for key, value in request.values.items() if not key.startswith("mechanism_options.")}
    return {"overrides": list(request.overrides), "values": own}


def _tracker(settings: "Settings", uri: str | None = None) -> "MlflowTracker":
    from mshare_bench.tracking.mlflow import MlflowTracker

    return MlflowTracker(settings.tracking_experiment, uri or settings.tracking_uri, _colors())


def _colors() -> dict[str, str]:
    from mshare_bench.mechanisms.registry import mechanisms

    return {name: cls.color for name, cls in mechanisms().items()}


def _check_tracking(settings: "Settings") -> None:
    """Say no to an address that is none before anything runs; a server that is away is not an error."""
    if settings.tracking != "none" and settings.tracking_uri is not None:
        from mshare_bench.tracking.place import place_of

        place_of(settings.tracking_uri)
