"""A cell's workload: its setting, made once for a sweep over sizes, and its numbers."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mshare_bench.config.keys import near
from mshare_bench.config.values import optional, section
from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.units import parse_count, parse_size
from mshare_bench.domain.workload import Placed, Workload, WorkloadSpec, placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workloads

__all__ = ["SIZES", "WorkloadPart", "WorkloadSetting", "workload_part", "workload_setting"]

SIZES = ("processes", "region")
"""What most sweeps are over: all else that a workload has is its setting."""


@dataclass(frozen=True)
class WorkloadSetting:
    """A workload, and everything that goes with it but its processes and its size; what is None stays as the workload says."""

    spec: WorkloadSpec
    sizes: Mapping[str, int]
    params: Mapping[str, Any]
    access: AccessPattern
    write_fraction: float | None
    offset: int

    @functools.cached_property
    def pattern(self) -> AccessPattern:
        """The pattern without what its kind does not use."""
        return self.access.canonical()


@dataclass(frozen=True, slots=True)
class WorkloadPart:
    """The workload, the coordinates that go with it, and its regions at their addresses."""

    workload: Workload
    access: AccessPattern
    write_fraction: float
    offset: int
    placed: tuple[Placed, ...]


def workload_setting(values: Mapping[str, Any]) -> WorkloadSetting:
    """Make the workload's setting of values by key.

    Raises
    ------
    ConfigError
        For a value that can't be.
    """
    params = section(values, "workload")
    name = params.pop("name")
    spec = workloads().get(name)
    if spec is None:
        raise ConfigError(f"workload={name}: no workload of that name is registered; {near(name, workloads())}")
    sizes = {}
    for key in [key for key in params if key == "regions" or key.startswith("regions.")]:
        value = params.pop(key)
        if key.endswith(".size"):
            sizes[key.split(".", 1)[1].removesuffix(".size")] = parse_size(value, f"workload.{key}")
    for key in spec.required:
        if params.get(key) is None:
            raise ConfigError(f"workload.{key}: {name} has no default of it; say 'workload.{key}=[prog,arg]'")
    access = _access(spec, section(values, "access"))
    return WorkloadSetting(
        spec, sizes, params, access or spec.access, _write_fraction(values), parse_size(values["offset"], "offset")
    )


def workload_part(
    setting: WorkloadSetting,
    values: Mapping[str, Any],
    place: Callable[[Workload, int], tuple[Placed, ...]] = placed_regions,
) -> WorkloadPart:
    """Make the workload's part of its setting, `processes` and `region`; `place` gives regions their addresses.

    Raises
    ------
    ConfigError
        For a value that can't be.
    """
    spec, share = setting.spec, setting.write_fraction
    workload = spec.resolve(
        processes=optional(values, "processes", _parse_processes),
        region=optional(values, "region", parse_size),
        sizes=setting.sizes,
        access=setting.access,
        write_fraction=share,
        params=setting.params,
    )
    share = spec.write_fraction if share is None else share
    return WorkloadPart(workload, setting.pattern, share, setting.offset, place(workload, setting.offset))


_parse_processes = functools.partial(parse_count, at_least=1)


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


def _access(spec: WorkloadSpec, params: dict[str, Any]) -> AccessPattern | None:
    if not params:
        return None
    kind = params.pop("kind", None)
    if kind is None:  # parameters alone change the workload's own pattern
        return AccessPattern.of(spec.access.kind, **{**spec.access.params, **params})
    return AccessPattern.of(str(kind), **params)
