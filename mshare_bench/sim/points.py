"""Points from plain values, as code names them; configurations are read by `mshare_bench.config`."""

from collections.abc import Mapping
from typing import Any, Literal

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.workloads.registry import workloads

__all__ = ["make_point"]


def make_point(
    mechanism: str,
    processes: int,
    region: int | None = None,
    *,
    page: int | None = None,
    offset: int = 0,
    access: str | AccessPattern | None = None,
    write_fraction: float | None = None,
    populate: Literal["controller", "first_touch"] = "controller",
    workload: str = "region",
    options: Mapping[str, Any] | None = None,
    geometry: Geometry = X86_64,
) -> Point:
    """Make a point; what is not given is as the workload and the mechanism say.

    Parameters
    ----------
    region
        Bytes of all regions together.
    options
        The mechanism's.

    Raises
    ------
    ConfigError
        For a name that is not registered, or a value that can't be.
    """
    if mechanism not in mechanisms():
        raise ConfigError(f"mechanism={mechanism}: not one of {', '.join(mechanisms())}")
    if workload not in workloads():
        raise ConfigError(f"workload={workload}: not one of {', '.join(workloads())}")
    spec, built = workloads()[workload], mechanisms()[mechanism].of(options or {})
    pattern = AccessPattern(access) if isinstance(access, str) else access or spec.access
    share = spec.write_fraction if write_fraction is None else write_fraction
    return Point(
        spec.resolve(processes=processes, region=region, access=pattern, write_fraction=share),
        mechanism,
        built.variant,
        built.resolve_page(page, geometry),
        offset,
        pattern,
        share,
        populate,
        options=dict(options or {}),
    )
