"""Access patterns: which pages of a region a process touches, and which of them it writes."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshare_bench.domain import pages
from mshare_bench.domain.pages import PageSet
from mshare_bench.domain.sent import sent_by_fields
from mshare_bench.domain.units import MIB, parse_size
from mshare_bench.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PATTERNS", "AccessPattern", "zipf_coverage"]

PATTERNS = ("dense", "sparse", "stride", "fraction", "zipf", "hotset")


@sent_by_fields
@dataclass(frozen=True, slots=True)
class AccessPattern:
    """A pattern by name, with the numbers that it uses.

    Attributes
    ----------
    kind
        `dense` (every page), `sparse` (one page per 2 MiB, and no data but that: the tables of a dense
        pattern at 1/512 of its work and its data),
        `stride` (one page every `step` bytes), `fraction` (that share of the pages, at random without replacement),
        `zipf` (as many draws as `accesses` times the pages, the popularity of the k-th page falling as 1/k**skew and popular
        pages scattered over the region), `hotset` (the first `fraction` of the region densely, and `cold` of the rest at random).
    step
        Bytes between touches of `stride`.
    fraction
        Share of the pages (`fraction`) or size of the hot part (`hotset`), 0 to 1.
    skew
        Exponent of `zipf`.
    accesses
        Draws of `zipf` per page of the region.
    cold
        Share of the cold pages that `hotset` touches, 0 to 1.
    seed
        Seed of everything drawn.
    """

    kind: str = "dense"
    step: int = 2 * MIB
    fraction: float = 0.25
    skew: float = 0.99
    accesses: float = 1.0
    cold: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in PATTERNS:
            raise ConfigError(f"access={self.kind}: not one of {', '.join(PATTERNS)}")
        for key in ("fraction", "cold"):
            value = getattr(self, key)
            if not 0 <= value <= 1:
                raise ConfigError(f"access.{key}={value}: must be between 0 and 1")
        for key in ("skew", "accesses"):
            value = getattr(self, key)
            if not 0 <= value < float("inf"):
                raise ConfigError(f"access.{key}={value}: must be a number that is not negative")
        if self.step <= 0:
            raise ConfigError(f"access.step={self.step}: must be positive")

    @classmethod
    def of(cls, kind: str, **params: Any) -> "AccessPattern":
        """Build from configuration values; `step` may be a size.

        Raises
        ------
        ConfigError
            For a pattern, or a parameter of it, that does not exist.
        """
        allowed = _PARAMS.get(kind, ())
        for key in params:
            if key not in (*allowed, "seed"):
                raise ConfigError(
                    f"access.{key}={params[key]}: access={kind} has {', '.join(allowed) or 'no parameters'}"
                )
        values: dict[str, Any] = {}
        for key, value in params.items():
            try:
                is_size = key == "step"
                values[key] = (
                    parse_size(value, f"access.{key}") if is_size else int(value) if key == "seed" else float(value)
                )
            except (TypeError, ValueError) as error:
                raise ConfigError(f"access.{key}={value}: not a number") from error
        return cls(kind, **values)

    @property
    def params(self) -> dict[str, float | int]:
        """The parameters that this kind uses (those that decide what it touches)."""
        names = _PARAMS[self.kind] + (("seed",) if self.kind in _RANDOM else ())
        return {name: getattr(self, name) for name in names}

    def canonical(self) -> "AccessPattern":
        """Return the pattern with every number that its kind does not use at its default."""
        return AccessPattern(self.kind, **self.params)  # type: ignore[arg-type]

    def pages(self, size: int, page: int, first: int = 0) -> PageSet:
        """Pages that one process touches in `size` bytes of `page`-byte pages, `first` being the first page's number.

        Raises
        ------
        ConfigError
            When the stride is no multiple of the page.
        """
        count = -(-size // page)
        if self.kind == "dense":
            return pages.dense(first, count)
        if self.kind in ("sparse", "stride"):
            step = max(1, 2 * MIB // page) if self.kind == "sparse" else self.step // page
            if self.kind == "stride" and (self.step % page or not step):
                raise ConfigError(f"access.step={self.step}: must be a multiple of the page, {page} bytes")
            return pages.strided(first, step, -(-count // step))
        if self.kind == "hotset":
            hot = round(self.fraction * count)
            cold = pages.sample(first + hot, count - hot, round(self.cold * (count - hot)), self.seed)
            return PageSet((*pages.dense(first, hot).runs, *cold.runs))
        share = self.fraction if self.kind == "fraction" else zipf_coverage(count, self.skew, self.accesses)
        return pages.sample(first, count, round(share * count), self.seed)


_PARAMS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "sparse": (),
    "stride": ("step",),
    "fraction": ("fraction",),
    "zipf": ("skew", "accesses"),
    "hotset": ("fraction", "cold"),
}
_RANDOM = ("fraction", "zipf", "hotset")


_EXACT_RANKS = 1 << 16


@functools.lru_cache(maxsize=8)
def _popular(skew: float) -> "npt.NDArray[np.float64]":
    """The popularity of the first ranks, in proportion."""
    import numpy as np

    return np.arange(1, _EXACT_RANKS + 1, dtype=np.float64) ** -skew


def zipf_coverage(count: int, skew: float, accesses: float) -> float:
    """Expected share of `count` items that are drawn at least once.

    `accesses * count` independent draws, the k-th item having a probability in proportion to `k ** -skew`. Popular items lie
    anywhere, so which pages are touched is, given how many, a uniform sample: only the share matters for page tables. The sum
    over items is exact up to 65,536 of them and integrated on a logarithmic grid beyond.
    """
    import numpy as np

    if count <= 0 or accesses <= 0:
        return 0.0
    exact = min(count, _EXACT_RANKS)
    popularity, weights = _popular(skew)[:exact], np.ones(exact)
    if count > exact:
        edges = np.unique(np.floor(np.geomspace(exact + 1, count + 1, 4096)))
        popularity = np.concatenate([popularity, ((edges[:-1] + edges[1:] - 1) / 2) ** -skew])
        weights = np.concatenate([weights, np.diff(edges)])
    popularity = popularity / float((popularity * weights).sum())
    missed = np.exp(accesses * count * np.log1p(-np.minimum(popularity, 1 - 1e-12)))
    return float(1 - (missed * weights).sum() / count)
