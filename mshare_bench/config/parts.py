"""What a cell is made of beside its workload: mechanisms with their options, and the rest, every coordinate parsed."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from mshare_bench.config.composer import MECHANISM_OPTIONS
from mshare_bench.config.costs import profile_of
from mshare_bench.config.keys import near, require_choice
from mshare_bench.config.mmus import mmu_of
from mshare_bench.config.topologies import topology_of
from mshare_bench.config.values import optional, section
from mshare_bench.config.workload_part import SIZES
from mshare_bench.domain.cells import Runner
from mshare_bench.domain.digest import digest
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.placement import PlacementChoice
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.topology_mapping import topology_to_mapping
from mshare_bench.domain.units import format_size, parse_size
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import Mechanism
from mshare_bench.mechanisms.registry import mechanisms

__all__ = [
    "ALL",
    "CellContext",
    "Claims",
    "MechanismPart",
    "RestPart",
    "mechanism_part",
    "option_names",
    "rest_part",
    "split_names",
]

_WORKLOAD_KEYS = (*SIZES, "offset", "write_fraction")

PLACEMENT_MODEL = "placement-1"
"""Version of what placed cells depend on, beside the engine's own."""

ALL = "all"
"""The choice of `mechanism` that stands for every one that is registered."""


def _no_model(_engine: str) -> str:
    return ""


def _no_guest(_topology: Topology | None, _kernel: str | None) -> str:
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
    seed
        See `Cell`.
    mechanism_named
        Whether the user named the mechanism: then what it can't do is an error, and no skipped row.
    here
        Reads this machine's topology, for a placement on `topology=here`.
    guest
        Digest of a guest's hardware and kernel, by its topology and `guest.kernel`.
    """

    model: Callable[[str], str] = _no_model
    machine: str = ""
    seed: int = 0
    mechanism_named: bool = False
    here: Callable[[], Topology] | None = None
    guest: Callable[[Topology | None, str | None], str] = _no_guest


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


@dataclass(frozen=True, slots=True)
class MechanismPart:
    """A mechanism, with the page that it maps and its options as values."""

    name: str
    variant: str
    page: int
    mechanism: Mechanism
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RestPart:
    """Coordinates of neither, and who runs the cells, for each engine."""

    populate: Literal["controller", "first_touch"]
    topology: str
    placement: str
    machines: Topology | None
    runners: tuple[Runner, ...]


def split_names(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Names that the workload's part reads, the mechanisms' part, and the rest."""
    of_workload = tuple(name for name in names if name.startswith(("workload.", "access.")) or name in _WORKLOAD_KEYS)
    of_mechanism = tuple(name for name in names if name.startswith("mechanism.") or name == "page")
    return of_workload, of_mechanism, tuple(name for name in names if name not in (*of_workload, *of_mechanism))


def mechanism_part(values: Mapping[str, Any], claims: Claims) -> tuple[MechanismPart, ...]:
    """Make the mechanisms' part: every one that is registered for `mechanism=all`, otherwise the one.

    Raises
    ------
    ConfigError
        For a mechanism that there is not, and a value that can't be.
    """
    page = optional(values, "page", parse_size)
    names = _names(values)
    made = []
    for name in names:
        mechanism = _mechanism(values, name, claims)
        own_page = _page(mechanism, page, claims, name if len(names) == 1 else None)
        options = {key: getattr(mechanism, key) for key in option_names(type(mechanism))}
        made.append(MechanismPart(name, mechanism.variant, own_page, mechanism, options))
    return tuple(made)


def rest_part(values: Mapping[str, Any], context: CellContext) -> RestPart:
    """Make the rest: who runs the cells, and where.

    Raises
    ------
    ConfigError
        For a value that can't be.
    """
    engine = require_choice("engine", values["engine"])
    engines = cast(tuple[Literal["sim", "real"], ...], ("sim", "real") if engine == "both" else (engine,))
    placement = PlacementChoice.of(section(values, "placement"))
    topology = topology_of(values)
    machines = topology
    if topology is None and placement != PlacementChoice() and values["host"] == "guest":
        raise ConfigError(f"placement={placement.text}: say which topology the guest has, such as topology=guest_2n")
    if topology is None and placement != PlacementChoice() and context.here is not None:
        machines = context.here()
    return RestPart(
        cast(Literal["controller", "first_touch"], require_choice("populate", values["populate"])),
        topology.name if topology else "here",
        placement.text,
        machines,
        tuple(_runner(one, values, context, machines) for one in engines),
    )


def _runner(
    engine: Literal["sim", "real"], values: Mapping[str, Any], context: CellContext, machines: Topology | None
) -> Runner:
    real = engine == "real"
    host = require_choice("host", values["host"]) if real else "here"
    machine = context.machine
    if host == "guest":
        machine = context.guest(machines, values.get("guest.kernel"))
    costs = None if real else profile_of(values)
    placed = "" if real or machines is None else f"+{PLACEMENT_MODEL}+{digest(topology_to_mapping(machines))}"
    return Runner(
        engine,
        host,
        machine if real else costs.machine if costs else "",
        costs.name if costs else "",
        None if real else mmu_of(values),
        context.model(engine) + (f"+{costs.digest}" if costs else "") + placed,
        context.seed,
        bool(values.get("extrapolated")) and not real,
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
