"""What is run once, and the digests by which rows of the same thing find each other.

A `Point` holds every *coordinate*: what decides the result, engine and machine aside. A `Cell` adds who runs it. Simulated and
real rows of one point pair up by `Point.digest`; savings are taken against `Point.baseline_digest`.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.digest import digest, digest_of, members
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.workload import Region, Workload

__all__ = [
    "POPULATE",
    "Cell",
    "Point",
    "baseline_digest",
    "cell_digest",
    "digest",
    "mechanism_texts",
    "place_texts",
    "point_digest",
    "runner_text",
    "workload_texts",
]

POPULATE = ("controller", "first_touch")


@dataclass(frozen=True, slots=True)
class Point:
    """Every coordinate of a cell, resolved.

    Attributes
    ----------
    workload
        With all its numbers, processes and region sizes among them.
    mechanism, variant
        Name, and the options as `k=v;k=v` (see `Mechanism.variant`); `options` holds them as values.
    page
        Bytes of a page that the mechanism maps.
    offset
        Bytes by which every region starts after the start of a 512 GiB slot.
    access, write_fraction
        The pattern of the workload's main region and the share of touched pages that are written.
    populate
        `controller`: the data is there before anybody touches it; `first_touch`: it is not.
    topology, placement
        The topology's name in the configuration, and `PlacementChoice.text`.
    machines
        The topology itself; None where nothing is placed (`topology=here` with the usual placement). Not part of the digest: a
        cell's `model` holds that of its figures.
    """

    workload: Workload
    mechanism: str
    variant: str
    page: int
    offset: int = 0
    access: AccessPattern = field(default_factory=AccessPattern)
    write_fraction: float = 0.0
    populate: Literal["controller", "first_touch"] = "controller"
    topology: str = "here"
    placement: str = "first_touch"
    options: Mapping[str, Any] = field(default_factory=dict)
    machines: Topology | None = field(default=None, repr=False, compare=False)
    # Asked for by the plan and by every row: taken once.
    _digest: str = field(default="", init=False, repr=False, compare=False)
    _baseline: str = field(default="", init=False, repr=False, compare=False)

    @property
    def whole(self) -> bool:
        """Whether data that is there beforehand fills its regions; with `access=sparse` it is only where it is touched."""
        return self.populate == "controller" and self.access.kind != "sparse"

    @property
    def coordinates(self) -> dict[str, Any]:
        """Everything that the digest is taken of, as plain values."""
        return {
            "workload": self.workload.name,
            "workload_params": dict(self.workload.params),
            "processes": self.workload.processes,
            "regions": {one.name: [one.size, one.instances] for one in self.workload.regions},
            "mechanism": self.mechanism,
            "variant": self.variant,
            "page": self.page,
            "offset": self.offset,
            "access": self.access.kind,
            "access_params": self.access.params,
            "write_fraction": float(self.write_fraction),
            "populate": self.populate,
            "topology": self.topology,
            "placement": self.placement,
        }

    @property
    def digest(self) -> str:
        """Digest of every coordinate: `digest(coordinates)`."""
        if not self._digest:
            object.__setattr__(
                self, "_digest", point_digest(*self._texts, mechanism_texts(self.mechanism, self.page, self.variant))
            )
        return self._digest

    @property
    def baseline_digest(self) -> str:
        """Digest of every coordinate but the mechanism, its options and its page: what savings are taken against."""
        if not self._baseline:
            object.__setattr__(self, "_baseline", baseline_digest(*self._texts))
        return self._baseline

    @property
    def _texts(self) -> tuple["Texts", "Texts"]:
        workload = workload_texts(self.workload, self.offset, self.access, self.write_fraction)
        return workload, place_texts(self.populate, self.topology, self.placement)


Texts = tuple[str, ...]
"""Stretches of the canonical JSON of a point's coordinates, which come in the order of their names: what belongs to the workload,
the mechanism and the place alternates in it."""


def point_digest(workload: Texts, place: Texts, mechanism: Texts) -> str:
    """Digest of a point, of the texts of its parts."""
    access, offset, sizes, params = workload
    where, topology = place
    name, page, variant = mechanism
    return digest_of(f"{{{access}{name}{offset}{page}{where}{sizes}{topology}{variant}{params}}}")


def baseline_digest(workload: Texts, place: Texts) -> str:
    """Digest of a point without its mechanism, of the texts of its parts."""
    access, offset, sizes, params = workload
    where, topology = place
    return digest_of(f"{{{access}{offset}{where}{sizes}{topology}{params}}}")


def cell_digest(runner: str, point: str) -> str:
    """Digest of a cell, of `runner_text` and the digest of its point."""
    return digest_of(f'{{{runner}"point":"{point}"}}')


def workload_texts(workload: Workload, offset: int, access: AccessPattern, write_fraction: float) -> Texts:
    """What a point's text has of its workload, in four stretches."""
    pattern, params = access.params, workload.params
    try:
        tail = _params_text(workload.name, float(write_fraction), tuple(params), *params.values())
    except TypeError:  # a list, such as a command
        tail = _params_text.__wrapped__(workload.name, float(write_fraction), tuple(params), *params.values())
    return (
        _access_text(access.kind, tuple(pattern), *pattern.values()),
        f'"offset":{offset},',
        f'"processes":{workload.processes},{_regions_text(workload.regions)}',
        tail,
    )


@functools.lru_cache(maxsize=1 << 10)
def place_texts(populate: str, topology: str, placement: str) -> Texts:
    """What a point's text has of where it is, in two stretches."""
    return members({"placement": placement, "populate": populate}), members({"topology": topology})


@functools.lru_cache(maxsize=1 << 10)
def mechanism_texts(mechanism: str, page: int, variant: str) -> Texts:
    """What a point's text has of its mechanism, in three stretches."""
    return members({"mechanism": mechanism}), members({"page": page}), members({"variant": variant})


@functools.lru_cache(maxsize=1 << 10)
def runner_text(engine: str, host: str, machine: str, cost: str, mmu: MmuSetting | None, model: str) -> str:
    """What a cell's text has beside its point."""
    own = {} if mmu is None else {"mmu": mmu.digest}
    return members({"engine": engine, "host": host, "machine": machine, "cost": cost, "model": model, **own})


@functools.lru_cache(maxsize=1 << 10, typed=True)  # 1 and 1.0 are written in two ways
def _access_text(kind: str, names: tuple[str, ...], *values: float) -> str:
    return members({"access": kind, "access_params": dict(zip(names, values, strict=True))})


@functools.lru_cache(maxsize=1 << 10, typed=True)
def _params_text(workload: str, write_fraction: float, names: tuple[str, ...], *values: Any) -> str:
    params = dict(zip(names, values, strict=True))
    return members({"workload": workload, "workload_params": params, "write_fraction": write_fraction})[:-1]


def _regions_text(regions: tuple[Region, ...]) -> str:
    named = sorted((one.name, one.size, one.instances) for one in regions)
    return f'"regions":{{{",".join([f"{_quoted(name)}:[{size},{instances}]" for name, size, instances in named])}}},'


@functools.lru_cache(maxsize=1 << 12)
def _quoted(name: str) -> str:
    return json.dumps(name)


@dataclass(frozen=True, slots=True)
class Cell:
    """A point, and who runs it how often.

    Attributes
    ----------
    engine
        `sim` or `real`.
    host
        Where a real cell runs: `here`, or `guest`.
    machine
        Digest of the real machine's hardware; for `sim`, the name of the cost profile.
    cost
        Cost profile whose times a simulated cell takes.
    mmu
        MMU under which a simulated cell's accesses are looked at; None for none.
    model
        Version of the models that the result depends on; a newer one runs the cell again.
    repeat, seed
        Which repetition, and the seed of everything random that is no coordinate.
    extrapolated
        Predicted far beyond what was measured; marked in the row's basis.
    """

    point: Point
    engine: Literal["sim", "real"] = "sim"
    host: str = "here"
    machine: str = ""
    cost: str = ""
    mmu: MmuSetting | None = None
    model: str = ""
    repeat: int = 0
    seed: int = 0
    extrapolated: bool = False
    _digest: str = field(default="", init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Digest of the point, the engine, the machine or the cost profile, the MMU and the model version; repeats share it."""
        if not self._digest:
            runner = runner_text(self.engine, self.host, self.machine, self.cost, self.mmu, self.model)
            object.__setattr__(self, "_digest", cell_digest(runner, self.point.digest))
        return self._digest
