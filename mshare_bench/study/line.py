"""The line itself: plan, run what is missing, keep every row on disk, then track."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Tables
from mshare_bench.study.engines import costs_of, engines_of, executor_for, hosts_of, where_here
from mshare_bench.study.observer import Observer, Silent
from mshare_bench.study.plan import kinds_of, plan_of
from mshare_bench.study.result import Result
from mshare_bench.study.tracking import check_tracking, tracker_of, write_report
from mshare_bench.sweep.plan import Plan, Refusal, finished_on
from mshare_bench.uncollected import set_aside, uncollected

if TYPE_CHECKING:
    from mshare_bench.config.request import Request
    from mshare_bench.config.settings import Settings
    from mshare_bench.domain.cost import CostModel
    from mshare_bench.real.applications import Audited
    from mshare_bench.results.store import Store

__all__ = ["out_folder", "record_of", "run", "run_missing", "run_request"]

RUNS = "mshare-runs"
"""Folder, in the working directory, of the results of runs without `out=`."""


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


def run_request(request: "Request", observer: Observer) -> Result:
    """Plan, run what is missing, keep every row on disk, and track.

    Raises
    ------
    MshareBenchError
        For what was asked for and can't be; a cell that fails is a row.
    """
    from mshare_bench.results.store import Store

    settings = request.settings
    check_tracking(settings)
    with ExitStack() as open_until_done:
        with uncollected():
            plan = plan_of(request, observer.note)
            open_until_done.enter_context(set_aside())  # the cells stay until the end
        sweep, record = plan.digest, record_of(request)
        store = open_until_done.enter_context(
            Store.create(out_folder(settings), settings.name, sweep=sweep, config=record)
        )
        try:
            run_missing(plan, store, request, observer, costs_of(request, plan.cells))
        finally:  # what finished is kept, also when interrupted
            store.compact()
        if settings.report:
            write_report(store)
        link = None if settings.tracking == "none" else tracker_of(settings).log(store, observer.note)
        return Result(store.path, Store.open(store.path), link, len(plan.refusals))


def run_missing(
    plan: Plan, store: "Store", request: "Request", observer: Observer, costs: Mapping[str, "CostModel"]
) -> None:
    """Run the cells of a plan that the store has no finished row of; every row is on disk before anybody hears of it."""
    from mshare_bench.real.applications import has_driver, takes

    settings = request.settings
    kinds = kinds_of(store, settings)
    todo = plan.missing(finished_on(plan, store.finished(), (machine for _, machine in kinds)))
    engines, lacking = engines_of(todo, request, costs)
    hosts = hosts_of(engines)
    if hosts is not None:
        hosts.prepare()
    lost = todo.whose(runner=lambda one: one.engine in lacking)
    refused = [*plan.refusals, *(Refusal(cell, lacking[cell.engine]) for cell in todo.take(lost))]
    todo = todo.take(~lost)
    observer.planned(plan, todo, store.path)
    if refused:
        tables = _skipped(refused)
        store.append(tables)
        observer.finished(tables)
    programs = todo.whose(
        task=lambda one: has_driver(one.workload.name), runner=lambda one: takes(one.engine, one.model)
    )
    for tables in _run_applications(todo.take(programs), settings):
        store.append(tables)
        observer.finished(tables)
    todo = todo.take(~programs)
    if not todo:
        return
    executor = executor_for(settings, todo, engines, observer.note, dict(kinds))
    try:
        for tables in executor.run(Cells.joined([*_warmups(todo, settings.real.warmups), todo]), engines):
            if "cells" in tables and (tables["cells"]["repeat"][0].as_py() or 0) < 0:
                continue
            store.append(tables)
            observer.finished(tables)
    finally:
        executor.close()
        if hosts is not None:
            hosts.close()


def _warmups(cells: Cells, times: int) -> list[Cells]:
    """Runs of the real cells before those that count: repeats below zero, which nobody keeps."""
    if not times:
        return []
    real = cells.take(cells.whose(runner=lambda one: one.engine == "real"))
    _, first = np.unique(real.digests[:, 0], return_index=True)
    once = real.take(np.sort(first))
    return [once.repeated(number - times) for number in range(times)]


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
    where = where_here()
    for scene in scenes.values():
        yield run_batch(scene, engine, where)


def _audited(pids: Sequence[int]) -> "Audited":
    """What the tables of some processes are for: objects that several map, and the share of all tables that is explained."""
    from mshare_bench.audit import audit_host
    from mshare_bench.real.applications import Audited, AuditedObject

    found = audit_host(pids)
    objects = [one for one in found.objects if one.mappers > 1 and one.table_bytes][:200]
    unexplained = sum(abs(one.unattributed_bytes) for one in found.processes)
    deduced = any(one.kernel_shared_basis == "deduced" for one in found.objects)
    return Audited(
        [AuditedObject(one.object, one.kind, one.mappers, one.mapped_bytes, one.table_bytes) for one in objects],
        1 - unexplained / max(found.vmpte_bytes, 1),
        None if deduced else sum(one.kernel_shared_bytes for one in found.objects),
    )


def _skipped(refusals: Sequence[Refusal]) -> Tables:
    from mshare_bench.cluster.stamp import stamped
    from mshare_bench.results.describe import cell_columns
    from mshare_bench.results.rows import Rows

    rows = Rows()
    for one in refusals:
        rows.add("cells", **cell_columns(one.cell, "skipped", one.reason))
    return stamped(rows.tables(), where_here())


def out_folder(settings: "Settings", name: str | None = None) -> Path:
    """Folder of a run's results: the one named, or one of its own."""
    if settings.out is not None:
        return Path(settings.out)
    stamp, name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S"), name or settings.name
    path, more = Path(RUNS) / f"{stamp}-{name}", 1
    while path.exists():
        more += 1
        path = Path(RUNS) / f"{stamp}-{name}-{more}"
    return path


def record_of(request: "Request") -> dict[str, Any]:
    """The configuration as `store.json` keeps it: the overrides that give it again, and what they composed to."""
    own = {key: value for key, value in request.values.items() if not key.startswith("mechanism_options.")}
    return {"overrides": list(request.overrides), "values": own}
