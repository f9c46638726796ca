"""Under which MMU a simulated cell's accesses are looked at: a geometry, how processes share it, and how much is simulated.

It changes what a simulated row says, not what runs: it is part of a cell's digest and not of its point, as cost profiles are.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from mshare_bench.domain.digest import digest
from mshare_bench.domain.mmu import Mmu
from mshare_bench.errors import ConfigError

__all__ = ["MMU_MODEL", "MmuSetting", "Tags"]

MMU_MODEL = "mmu-1"
"""Version of the MMU model; a newer one runs cells again."""

Tags: TypeAlias = Literal["none", "pcid", "group"]
_MOST_PROCESSES, _MOST_ACCESSES = 256, 1 << 30


@dataclass(frozen=True, slots=True)
class MmuSetting:
    """A geometry and how it is used.

    Attributes
    ----------
    geometry
        TLBs, page-walk caches, caches, latencies.
    tags
        `none`: a switch to another address space flushes; `pcid`: Linux's six tags per core; `group`: those who share tables
        share one tag.
    quantum_ns, access_ns
        Time between two switches of a core; time from one access of a process to its next.
    cores
        Cores that the simulated processes are spread over, on one NUMA node.
    passes
        How often a process goes over what it touches: 1 is the touch phase itself, more shows what stays in the TLBs.
    sample_processes, sample_accesses
        At most so many processes, and so many accesses of each, are simulated; the counts are scaled up.
    stream, stream_params
        A stream of accesses by its name, such as `gups`, instead of the one of the cell's pattern; empty for that.
    trace, trace_digest, trace_base
        File of recorded addresses instead, a digest of its content, and the address at which the region starts in it.
    """

    geometry: Mmu
    tags: Tags = "pcid"
    quantum_ns: int = 1_000_000
    access_ns: int = 10
    cores: int = 1
    passes: int = 1
    sample_processes: int = 8
    sample_accesses: int = 1 << 18
    stream: str = ""
    stream_params: tuple[tuple[str, Any], ...] = ()
    trace: str = ""
    trace_digest: str = ""
    trace_base: int = 0

    def __post_init__(self) -> None:
        if self.tags not in get_args(Tags):
            raise ConfigError(f"mmu.tags={self.tags}: must be one of {', '.join(get_args(Tags))}")
        for name, most in (
            ("quantum_ns", None),
            ("access_ns", None),
            ("cores", _MOST_PROCESSES),
            ("passes", None),
            ("sample_processes", _MOST_PROCESSES),
            ("sample_accesses", _MOST_ACCESSES),
        ):
            value = getattr(self, name)
            if value < 1 or (most is not None and value > most):
                limit = "at least 1" if most is None else f"between 1 and {most}"
                key = name.removesuffix("_ns").replace("sample_", "sample.")
                raise ConfigError(f"mmu.{key}={value}: must be {limit}")
        if self.stream and self.trace:
            raise ConfigError(
                f"mmu.stream={self.stream}: mmu.trace={self.trace} says what is accessed; give one of them"
            )

    @property
    def label(self) -> str:
        """The geometry's name, and every setting that is not at its default, as `name;k=v`."""
        parts = [self.geometry.name]
        for one in fields(self)[1:]:
            value = getattr(self, one.name)
            if value == one.default or one.name == "trace_digest":
                continue
            if one.name == "stream_params":
                parts += [f"stream.{key}={given}" for key, given in value]
            else:
                parts.append(f"{one.name}={value}")
        return ";".join(parts)

    @property
    def digest(self) -> str:
        """Digest of every number in it, and of what a trace holds, wherever it lies."""
        values = {key: value for key, value in asdict(self).items() if key != "trace"}
        return digest({"model": MMU_MODEL, **values})
