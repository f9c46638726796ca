"""Points for tests: the default workload under any mechanism, in one line."""

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.workloads.registry import workloads

__all__ = ["point"]


def point(
    mechanism="shmem",
    processes=1,
    region=None,
    *,
    page=None,
    offset=0,
    access=None,
    write_fraction=None,
    populate="controller",
    workload="region",
    params=None,
    **options,
) -> Point:
    """A point whose other coordinates are as the workload says; `options` are the mechanism's."""
    spec, built = workloads()[workload], mechanisms()[mechanism].of(options)
    pattern = AccessPattern(access) if isinstance(access, str) else access or spec.access
    share = spec.write_fraction if write_fraction is None else write_fraction
    resolved = spec.resolve(processes=processes, region=region, access=pattern, write_fraction=share, params=params)
    return Point(
        resolved,
        mechanism,
        built.variant,
        built.resolve_page(page, X86_64),
        offset,
        pattern,
        share,
        populate,
        options=options,
    )
