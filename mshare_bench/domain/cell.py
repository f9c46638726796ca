"""What is run once, and the digests by which rows of the same thing find each other.

A `Point` holds every *coordinate*: what decides the result, engine and machine aside. A `Cell` adds who runs it. Simulated and
real rows of one point pair up by `Point.digest`; savings are taken against `Point.baseline_digest`.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.digest import digest, digest_of, members
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.topology import Topology
from mshare_bench.domain.workload import Region, Workload

__all__ = ["POPULATE", "Cell", "Point", "digest"]

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
        """Digest of every coordinate: `digest(coordinates)`, put together of what points of one workload have in common."""
        if not self._digest:
            head, offset, middle, tail = self._texts[:4]
            mechanism, page, variant = _mechanism_texts(self.mechanism, self.page, self.variant)
            text = f"{{{head}{mechanism}{offset}{page}{middle}{variant}{tail[:-1]}}}"
            object.__setattr__(self, "_digest", digest_of(text))
        return self._digest

    @property
    def baseline_digest(self) -> str:
        """Digest of every coordinate but the mechanism, its options and its page: what savings are taken against."""
        return self._texts[4]

    @property
    def _texts(self) -> tuple[str, ...]:
        """Canonical JSON of what points under other mechanisms share, cut where theirs goes in, and its digest.

        Coordinates come in the order of their names; `mechanism`, `page` and `variant` belong between the four stretches.
        """
        key = (self.offset, self.access, self.write_fraction, self.populate, self.topology, self.placement)
        texts = self.workload.texts.get(key)
        if texts is None:
            workload = self.workload
            pattern = self.access.params
            what = {"workload": workload.name, "workload_params": dict(workload.params)}
            cut = (
                _access_text(self.access.kind, tuple(pattern), *pattern.values()),
                members({"offset": self.offset}),
                f"{_where_text(self.placement, self.populate)}{members({'processes': workload.processes})}"
                f"{_regions_text(workload.regions)}{_topology_text(self.topology)}",
                members({**what, "write_fraction": float(self.write_fraction)}),
            )
            texts = workload.texts[key] = (*cut, digest_of(f"{{{''.join(cut)[:-1]}}}"))
        return texts


@functools.lru_cache(maxsize=1 << 10, typed=True)  # 1 and 1.0 are written in two ways
def _access_text(kind: str, names: tuple[str, ...], *values: float) -> str:
    return members({"access": kind, "access_params": dict(zip(names, values, strict=True))})


@functools.lru_cache(maxsize=1 << 10)
def _where_text(placement: str, populate: str) -> str:
    return members({"placement": placement, "populate": populate})


@functools.lru_cache(maxsize=1 << 10)
def _topology_text(topology: str) -> str:
    return members({"topology": topology})


def _regions_text(regions: tuple[Region, ...]) -> str:
    if len(regions) < _FEW:
        return _written(regions)
    known = _regions.get(id(regions))
    if known is None:
        if len(_regions) >= _MOST_REGIONS:
            _regions.clear()
        known = _regions[id(regions)] = regions, _written(regions)
    return known[1]


def _written(regions: tuple[Region, ...]) -> str:
    return members({"regions": {one.name: [one.size, one.instances] for one in regions}})


_FEW = 4  # so many are written as quickly as looked up
_MOST_REGIONS = 1 << 14
# By their id, since a hash of forty regions takes as long as their text; they are kept, so that nothing else gets it.
_regions: dict[int, tuple[tuple[Region, ...], str]] = {}


@functools.lru_cache(maxsize=1 << 10)
def _mechanism_texts(mechanism: str, page: int, variant: str) -> tuple[str, str, str]:
    return members({"mechanism": mechanism}), members({"page": page}), members({"variant": variant})


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
            runner = _runner_text(self.engine, self.host, self.machine, self.cost, self.model, self.mmu)
            object.__setattr__(self, "_digest", digest_of(f'{{{runner}"point":"{self.point.digest}"}}'))
        return self._digest


@functools.lru_cache(maxsize=1 << 10)
def _runner_text(engine: str, host: str, machine: str, cost: str, model: str, mmu: MmuSetting | None) -> str:
    own = {} if mmu is None else {"mmu": mmu.digest}
    return members({"engine": engine, "host": host, "machine": machine, "cost": cost, "model": model, **own})
