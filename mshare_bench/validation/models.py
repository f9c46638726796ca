"""Predicts published targets: one function per `model`, each of which turns a target into rows of predictions.

`MODELS` names them; a target of the user's own names one of them, so that these models can be held against any table that is
written in the form (`docs/validation.md`). What a model reads of a target stands in its docstring. Rows of `fit` set parameters,
are marked as fitted and pass or fail nothing.
"""

import importlib.resources
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mshare_bench.domain.mmu import Mmu, geometry_from_mapping
from mshare_bench.domain.units import KIB, parse_count, parse_size
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import Account, account
from mshare_bench.sim.points import make_point
from mshare_bench.validation.comparison import Comparison
from mshare_bench.validation.targets import Expected, Target

__all__ = ["MODELS", "Context", "packaged_mmus", "predict"]

_SIZES = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_WALKED = 500_000
"""Accesses that count: a share of walk cycles is within a thousandth of what four times as many give."""


@dataclass(frozen=True, slots=True)
class Context:
    """What models take from outside: geometries of MMUs by name, as `conf/mmu/` has them."""

    mmus: Mapping[str, Mmu] = field(default_factory=dict)


def packaged_mmus() -> dict[str, Mmu]:
    """Geometries of MMUs that come with the package, by name."""
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    folder = importlib.resources.files("mshare_bench.conf") / "mmu"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name)
    geometries = (geometry_from_mapping(yaml.safe_load(one.read_text(encoding="utf-8"))) for one in files)
    return {one.name: one for one in geometries}


def predict(target: Target, context: Context | None = None) -> list[Comparison]:
    """Predict everything that a target holds; what it keeps for reference comes last, not predicted.

    Raises
    ------
    ConfigError
        When there is no such model, or the target lacks what it needs; the message names the target and the key.
    """
    model = MODELS.get(target.model)
    if model is None:
        raise ConfigError(f"target {target.id}: model={target.model}: not one of {', '.join(MODELS)}")
    try:
        return [*model(target, context or Context()), *_for_reference(target)]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"target {target.id}: its model {target.model} can't read it: {reason}") from error


def _for_reference(target: Target) -> Iterator[Comparison]:
    unit = target.unit.get("x", "")
    for one in target.not_predicted:
        for x, value in one.rows.items():
            yield Comparison(
                target.id, one.quantity, f"{x} {unit}".strip(), None, float(value), None, target.source,
                unit=target.unit.get("y", ""), note=f"not predicted: {one.reason}",
            )  # fmt: skip


def _fit_points(target: Target, rows: Mapping[Any, Any], count: int) -> list[Any]:
    if len(target.fit) != count:
        raise ConfigError(
            f"target {target.id}: fit={list(target.fit)}: its model {target.model} is set by {count} points"
        )
    for x in target.fit:
        if x not in rows:
            raise ConfigError(f"target {target.id}: fit={list(target.fit)}: there is no row {x}")
    return list(target.fit)


def _series(
    target: Target, predicted: Mapping[Any, float], rows: Mapping[Any, float], quantity: str, name: str = ""
) -> Iterator[Comparison]:
    """Rows of a series: y by x, in the target's units."""
    unit = target.unit.get("x", "x")
    for x, reference in rows.items():
        where = f"{name + ', ' if name else ''}{x} {unit}"
        yield Comparison(
            target.id, quantity, where, predicted[x], float(reference), target.tolerance_of(quantity),
            target.source, fitted=x in target.fit, unit=target.unit.get("y", ""),
        )  # fmt: skip


def _expectation(target: Target, one: Expected, predicted: float, where: str = "", note: str = "") -> Comparison:
    reference = one.value if one.value is not None else one.at_least
    return Comparison(
        target.id, one.quantity, where, predicted, reference, target.tolerance_of(one.quantity), target.source,
        unit=one.unit, at_least=one.at_least is not None, note=note,
    )  # fmt: skip


def _accounting(target: Target, _context: Context) -> Iterator[Comparison]:
    """Bytes and faults.

    `given` and every `expect` name `mechanism`, `processes`, `region`, and may name `page`, `offset`, `access`,
    `write_fraction`, `populate`, `workload`, `options`; `quantity` is a column such as `page_table_bytes`, `pte_table_bytes`,
    `upper_table_bytes` (PMD and PUD), `data_bytes`, `minor_faults`, each also `_per_process`.
    """
    for one in target.expect:
        given = {**target.given, **one.given}
        point = make_point(
            str(given["mechanism"]),
            parse_count(given["processes"], "processes", 1),
            parse_size(given["region"], "region"),
            page=None if given.get("page") is None else parse_size(given["page"], "page"),
            offset=parse_size(given.get("offset", 0), "offset"),
            access=given.get("access"),
            write_fraction=given.get("write_fraction"),
            populate=given.get("populate", "controller"),
            workload=given.get("workload", "region"),
            options=given.get("options"),
        )
        quantity, each = one.quantity.removesuffix("_per_process"), one.quantity.endswith("_per_process")
        amount = _column(account(point), quantity) / (point.workload.processes if each else 1)
        if one.unit not in _SIZES:
            raise ConfigError(
                f"target {target.id}: expect {one.quantity}: unit={one.unit}: not one of {', '.join(_SIZES)}"
            )
        where = ", ".join(f"{key}={value}" for key, value in given.items())
        yield _expectation(target, one, amount / _SIZES[one.unit], where)


def _column(found: Account, quantity: str) -> float:
    tables = found.tables
    columns = {
        "page_table_bytes": tables.pages * found.page,
        "pte_table_bytes": tables.pte * found.page,
        "pmd_table_bytes": tables.pmd * found.page,
        "pud_table_bytes": tables.pud * found.page,
        "upper_table_bytes": (tables.pmd + tables.pud) * found.page,
        **{name: found.total(name) for name in ("data_bytes", "metadata_bytes", "minor_faults", "linking_faults")},
    }
    if quantity not in columns:
        raise ConfigError(f"expect {quantity}: the accounting has {', '.join(columns)}")
    return float(columns[quantity])


def _ksm(target: Target, _context: Context) -> Iterator[Comparison]:
    """Memory merged by KSM.

    `given` has `pages_shared`, `pages_sharing`, `pages_unshared`, `pages_volatile`, `pages_to_scan`, `sleep_ms`;
    `quantity` is `saved_bytes`, `metadata_bytes`, `profit_bytes`, `page_table_bytes_change` or `scan_seconds`.
    """
    from mshare_bench.sim.ksm import KsmPages, predict_ksm

    given = target.given
    counts = (parse_count(given[f"pages_{name}"], name) for name in ("shared", "sharing", "unshared", "volatile"))
    found = predict_ksm(
        KsmPages(*counts), parse_count(given["pages_to_scan"], "pages_to_scan", 1), float(given["sleep_ms"])
    )
    for one in target.expect:
        predicted = getattr(found, one.quantity, None)
        if predicted is None:
            raise ConfigError(f"target {target.id}: expect {one.quantity}: not one that the model predicts")
        yield _expectation(target, one, float(predicted))


def _fork(target: Target, _context: Context) -> Iterator[Comparison]:
    """Time of fork by size of private memory: `rows` of size to time, `unit.x` a unit of bytes, two points of `fit`."""
    from mshare_bench.sim.operations import fit_operation, operation_time

    unit = _SIZES[target.unit["x"]]
    pages = {x: int(x * unit) // (4 * KIB) for x in target.rows}
    fit = [pages[x] for x in _fit_points(target, target.rows, 2)]
    costs = fit_operation("fork", {pages[x]: float(y) for x, y in target.rows.items()}, fit)
    yield from _series(target, {x: operation_time("fork", pages[x], costs) for x in pages}, target.rows, "fork")


def _vma_ops(target: Target, _context: Context) -> Iterator[Comparison]:
    """Cost per page of memory operations by pages per call.

    `rows` by operation, two points of `fit`; with `replicas` and
    `replicated` rows also with so many copies of the tables.
    """
    from mshare_bench.placement.composition import predict_replicated_operations
    from mshare_bench.sim.operations import fit_operation, operation_time

    for operation, rows in target.rows.items():
        fit = _fit_points(target, rows, 2)
        costs = fit_operation(operation, {n: n * float(y) for n, y in rows.items()}, fit)
        predicted = {n: operation_time(operation, n, costs) / n for n in rows}
        yield from _series(target, predicted, rows, operation)
    for operation, rows in target.extra.get("replicated", {}).items():
        low, high = _fit_points(target, rows, 2)
        found, _ = predict_replicated_operations(target.rows[operation], rows, (low, high), target.extra["replicas"])
        yield from _series(target, found, rows, operation, f"tables on {target.extra['replicas']} nodes")


def _concurrent_faults(target: Target, _context: Context) -> Iterator[Comparison]:
    """Faults per second by number of processes: `rows`, three points of `fit`, `given.cpus`."""
    from mshare_bench.sim.contention import fit_crowd, predict_crowd

    cpus = parse_count(target.given["cpus"], "cpus", 1)
    crowd = fit_crowd(target.rows, _fit_points(target, target.rows, 3), cpus)
    yield from _series(target, predict_crowd(crowd, list(target.rows), cpus), target.rows, "faults_per_second")


def _mmu(target: Target, context: Context) -> Iterator[Comparison]:
    """Page walks of random updates.

    `given.cpu` names a geometry of `conf/mmu/`, `given.region` a size; `quantity` is a field of
    `mshare_bench.sim.mmu.UniformWalks`.
    """
    from mshare_bench.sim.mmu import predict_uniform_walks

    cpu = target.given["cpu"]
    if cpu not in context.mmus:
        raise ConfigError(f"target {target.id}: given.cpu={cpu}: not one of {', '.join(context.mmus) or 'no geometry'}")
    region = parse_size(target.given["region"], "region")
    found = predict_uniform_walks(context.mmus[cpu], region, accesses=_WALKED)
    for one in target.expect:
        predicted = getattr(found, one.quantity, None)
        if predicted is None:
            raise ConfigError(f"target {target.id}: expect {one.quantity}: not one that the model predicts")
        note = "nothing is fitted"
        if one.quantity == "walk_share":
            serial = found.walk_share_serial
            note += f"; {serial:.2f} if no walk overlapped with anything, {predicted:.2f} if all that can overlap did"
        elif one.quantity == "walk_cycles_remote_over_local":
            note += (
                "; every table line that misses pays the idle latency of its node, and waiting in a loaded memory, which \
adds alike to both, is not modelled"
            )
        yield _expectation(target, one, float(predicted), str(cpu), note)


def _composition(target: Target, _context: Context) -> Iterator[Comparison]:
    """Joint effects from single ones: `columns` walk_share, data, tables, both (and `_busy` ones), `rows` by program."""
    from mshare_bench.placement.composition import predict_joint

    columns: Sequence[str] = target.extra["columns"]
    for program, values in target.rows.items():
        row = dict(zip(columns, values, strict=True))
        for name, reference in row.items():
            kind, _, busy = name.partition("_")
            unit = target.unit.get("y", "")
            if name in target.fit:
                yield Comparison(
                    target.id, name, program, reference, reference, None, target.source, fitted=True, unit=unit
                )
            elif kind == "both":
                end = f"_{busy}" if busy else ""
                joint = predict_joint(row["walk_share"], row[f"tables{end}"], row[f"data{end}"]).runtime
                yield Comparison(
                    target.id, name, program, joint, reference, target.tolerance_of(name), target.source, unit=unit
                )


def _remote_tables(target: Target, _context: Context) -> Iterator[Comparison]:
    """Runtime with remote page tables from the walk share and all *other* programs.

    `rows` of (share, runtime) by program;
    `tolerance` has `median` and `max`.
    """
    from statistics import median

    from mshare_bench.placement.composition import predict_remote_tables

    rows = {name: (float(share), float(runtime)) for name, (share, runtime) in target.rows.items()}
    predicted = predict_remote_tables(rows)
    errors = []
    for name, (_, runtime) in rows.items():
        errors.append(abs(predicted[name] / runtime - 1))
        yield Comparison(
            target.id, "runtime", name, predicted[name], runtime, target.tolerance_of("max"), target.source,
            unit=target.unit.get("y", ""),
        )  # fmt: skip
    # The median of the errors is itself held against its tolerance: 1 plus it, against 1.
    yield Comparison(target.id, "median error over 1", "all programs", 1 + median(errors), 1.0,
                     target.tolerance_of("median"), target.source)  # fmt: skip


def _move_pages(target: Target, _context: Context) -> Iterator[Comparison]:
    """Rate of `move_pages` by folio size in GB/s: `rows`, two points of `fit`."""
    from mshare_bench.placement.composition import predict_move_rates

    sizes = {x: parse_size(x, "folio") for x in target.rows}
    low, high = (sizes[x] for x in _fit_points(target, target.rows, 2))
    rates, _ = predict_move_rates({sizes[x]: float(y) for x, y in target.rows.items()}, (low, high))
    yield from _series(target, {x: rates[size] for x, size in sizes.items()}, target.rows, "rate")


MODELS: dict[str, Callable[[Target, Context], Iterator[Comparison]]] = {
    "accounting": _accounting,
    "composition": _composition,
    "concurrent_faults": _concurrent_faults,
    "fork": _fork,
    "ksm": _ksm,
    "mmu": _mmu,
    "move_pages": _move_pages,
    "remote_tables": _remote_tables,
    "vma_ops": _vma_ops,
}
"""By the name that a target's `model` has."""
