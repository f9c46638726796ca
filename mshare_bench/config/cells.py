"""From composed values to cells: every coordinate parsed, every mechanism of `mechanism=all` with what it can do."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from mshare_bench.config.composer import MECHANISM_OPTIONS
from mshare_bench.config.costs import profile_of
from mshare_bench.config.keys import near, require_choice
from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import format_size, parse_count, parse_size
from mshare_bench.domain.workload import Placed, Workload, WorkloadSpec, placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import Mechanism
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.workloads.registry import workloads

__all__ = ["ALL", "Candidate", "CellContext", "Claims", "cells_of", "option_names"]

_WorkloadKey = tuple[str, int | None, int | None, str, float | None]

ALL = "all"
"""The choice of `mechanism` that stands for every one that is registered."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cell, and why it can't run, where that is known beforehand."""

    cell: Cell
    refused: str | None = None


def _no_model(_engine: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class CellContext:
    """What cells take from who runs them.

    Attributes
    ----------
    model
        Model version of an engine, by its name; asked for those that occur only.
    machine
        Digest of this machine's hardware, for real cells.
    seed, extrapolated
        See `Cell`.
    mechanism_named
        Whether the user named the mechanism: then what it can't do is an error, and no skipped row.
    """

    model: Callable[[str], str] = _no_model
    machine: str = ""
    seed: int = 0
    mechanism_named: bool = False


class Claims:
    """Which options and pages some mechanism had: one that none has is an error, known when all were asked."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], str] = {}
        self._claimed: set[tuple[str, str]] = set()

    def ask(self, key: str, value: Any, reason: str) -> None:
        """A mechanism has no use for it; `reason` is the error if none has."""
        self._asked.setdefault((key, str(value)), reason)

    def claim(self, key: str, value: Any) -> None:
        """A mechanism has it."""
        self._claimed.add((key, str(value)))

    def check(self) -> None:
        """Check that nothing was left.

        Raises
        ------
        ConfigError
            For an option or page that no mechanism has.
        """
        for key, reason in self._asked.items():
            if key not in self._claimed:
                raise ConfigError(reason)


def cells_of(values: Mapping[str, Any], context: CellContext, claims: Claims) -> Iterator[Candidate]:
    """Make the cells of one assignment: of each mechanism that it names, under each engine.

    Parameters
    ----------
    values
        Composed values by dotted key.
    context, claims
        See there; `claims.check()` belongs after the last assignment.

    Raises
    ------
    ConfigError
        For a value that can't be; of a mechanism that was not named by the user only what concerns all.
    """
    workload_key = _workload_key(values)
    processes = _optional(values, "processes", functools.partial(parse_count, at_least=1))
    region, offset = _optional(values, "region", parse_size), parse_size(values["offset"], "offset")
    key = (workload_key, processes, region, _access_key(values), _write_fraction(values))
    workload, access, write_fraction = _workload(*key)
    placed = _placed(key, offset)
    page = _optional(values, "page", parse_size)
    common: dict[str, Any] = {
        "workload": workload,
        "offset": offset,
        "access": access,
        "write_fraction": write_fraction,
        "populate": require_choice("populate", values["populate"]),
        "topology": _group_name(values, "topology", "here"),
        "placement": str(values["placement"]),
    }
    engine = require_choice("engine", values["engine"])
    engines = ("sim", "real") if engine == "both" else (engine,)
    names = _names(values)
    for name in names:
        mechanism = _mechanism(values, name, claims)
        own_page, refused = _page(mechanism, page, claims, name if len(names) == 1 else None), None
        try:
            for one in placed:
                mechanism.check(one, own_page)
        except ConfigError as error:
            if context.mechanism_named:
                raise
            refused = str(error)
        point = Point(mechanism=name, variant=mechanism.variant, page=own_page, options=_options(mechanism), **common)
        for one_engine in engines:
            yield Candidate(_cell(point, one_engine, values, context), refused)


def _cell(point: Point, engine: str, values: Mapping[str, Any], context: CellContext) -> Cell:
    real = engine == "real"
    costs = None if real else profile_of(values)
    return Cell(
        point,
        engine=cast(Literal["sim", "real"], engine),
        host=require_choice("host", values["host"]) if real else "here",
        machine=context.machine if real else costs.machine if costs else "",
        cost=costs.name if costs else "",
        model=context.model(engine) + (f"+{costs.digest}" if costs else ""),
        seed=context.seed,
        extrapolated=bool(values.get("extrapolated")) and not real,
    )


def _names(values: Mapping[str, Any]) -> Sequence[str]:
    chosen = str(values["mechanism.name"])
    if chosen == ALL:
        return tuple(mechanisms())
    if chosen not in mechanisms():
        raise ConfigError(f"mechanism={chosen}: no mechanism of that name is registered; {near(chosen, mechanisms())}")
    return (chosen,)


def _mechanism(values: Mapping[str, Any], name: str, claims: Claims) -> Mechanism:
    cls = mechanisms()[name]
    # An option that is set for one mechanism stays with it; one that is set for all goes to those that have it.
    bundled = {
        key.rpartition(".")[2]: value
        for key, value in values.items()
        if key.startswith(f"{MECHANISM_OPTIONS}.{name}.") and not key.endswith(".name")
    }
    given = {
        key.partition(".")[2]: value
        for key, value in values.items()
        if key.startswith("mechanism.") and key != "mechanism.name"
    }
    options = dict(bundled)
    for key, value in given.items():
        if key in option_names(cls):
            claims.claim(f"mechanism.{key}", value)
            options[key] = value
        else:
            claims.ask(f"mechanism.{key}", value, _unknown_option(values, key, value))
    return _built(cls, json.dumps(options, sort_keys=True))


def _unknown_option(values: Mapping[str, Any], key: str, value: Any) -> str:
    chosen = str(values["mechanism.name"])
    who = "no mechanism" if chosen == ALL else chosen
    classes = mechanisms().values() if chosen == ALL else [mechanisms()[chosen]]
    known = {name for cls in classes for name in option_names(cls)}
    return f"mechanism.{key}={value}: {who} has this option; " + (near(key, known) if known else "there is none")


@functools.cache
def option_names(cls: type[Mechanism]) -> tuple[str, ...]:
    """Names of a mechanism's options."""
    return tuple(one.name for one in dataclasses.fields(cls))


@functools.lru_cache(maxsize=1024)
def _built(cls: type[Mechanism], options: str) -> Mechanism:
    return cls.of(json.loads(options))


def _options(mechanism: Mechanism) -> dict[str, Any]:
    return {name: getattr(mechanism, name) for name in option_names(type(mechanism))}


def _page(mechanism: Mechanism, page: int | None, claims: Claims, only: str | None) -> int:
    if page is None:
        return mechanism.resolve_page(None, X86_64)
    try:
        resolved = mechanism.resolve_page(page, X86_64)
    except ConfigError as error:
        have = ", ".join(format_size(size).replace(" ", "") for size in X86_64.pages)
        claims.ask("page", page, str(error) if only else f"page={page}: no mechanism has it; there are {have}")
        return mechanism.resolve_page(None, X86_64)
    claims.claim("page", page)
    return resolved


def _group_name(values: Mapping[str, Any], group: str, default: str) -> str:
    return str(values.get(f"{group}.name") or default)


def _optional(values: Mapping[str, Any], key: str, parse: Callable[[Any, str], int]) -> int | None:
    value = values.get(key)
    return None if value is None else parse(value, key)


def _write_fraction(values: Mapping[str, Any]) -> float | None:
    value = values.get("write_fraction")
    if value is None:
        return None
    if isinstance(value, bool):
        raise ConfigError(f"write_fraction={value}: not a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"write_fraction={value}: not a number") from None


def _access_key(values: Mapping[str, Any]) -> str:
    params = {
        key.partition(".")[2]: value for key, value in values.items() if key.startswith("access.") and value is not None
    }
    return json.dumps(params, sort_keys=True)


def _workload_key(values: Mapping[str, Any]) -> str:
    own = {
        key.partition(".")[2]: value
        for key, value in values.items()
        if key.startswith("workload.") and value is not None
    }
    return json.dumps(own, sort_keys=True)


@functools.lru_cache(maxsize=4096)
def _workload(
    workload_key: str, processes: int | None, region: int | None, access_key: str, write_fraction: float | None
) -> tuple[Workload, AccessPattern, float]:
    params: dict[str, Any] = json.loads(workload_key)
    name = params.pop("name")
    spec = workloads().get(name)
    if spec is None:
        raise ConfigError(f"workload={name}: no workload of that name is registered; {near(name, workloads())}")
    sizes = {}
    for key in [key for key in params if key == "regions" or key.startswith("regions.")]:
        value = params.pop(key)
        if key.endswith(".size"):
            sizes[key.split(".", 1)[1].removesuffix(".size")] = parse_size(value, f"workload.{key}")
    access = _access(spec, json.loads(access_key))
    workload = spec.resolve(
        processes=processes,
        region=region,
        sizes=sizes,
        access=access,
        write_fraction=write_fraction,
        params=params,
    )
    pattern = (access or spec.access).canonical()
    return workload, pattern, spec.write_fraction if write_fraction is None else write_fraction


def _access(spec: WorkloadSpec, params: dict[str, Any]) -> AccessPattern | None:
    if not params:
        return None
    kind = params.pop("kind", None)
    if kind is None:  # parameters alone change the workload's own pattern
        return AccessPattern.of(spec.access.kind, **{**spec.access.params, **params})
    return AccessPattern.of(str(kind), **params)


@functools.lru_cache(maxsize=4096)
def _placed(key: _WorkloadKey, offset: int) -> tuple[Placed, ...]:
    return placed_regions(_workload(*key)[0], offset)
