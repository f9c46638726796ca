"""What an MMU is made of: TLBs, page-walk caches, the caches that table lines live in, and what each costs.

A geometry is data. Bundled ones are YAML files in ``conf/mmu/``, each number with its source; `geometry_from_mapping`
turns such a mapping into values and names the key and the value of whatever is wrong with it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mshare_bench.errors import ConfigError

__all__ = ["LINE_BYTES", "PAGE_BYTES", "Cache", "Mmu", "PageWalkCache", "Tlb", "geometry_from_mapping"]

LINE_BYTES = 64
PAGE_BYTES = (4096, 2 << 20, 1 << 30)  # what an x86-64 leaf entry of level 1, 2 and 3 maps
_MAX_WAYS = 1024
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Tlb:
    """One TLB array: `entries` in sets of `ways`, for pages of the sizes in `pages` (bytes)."""

    entries: int
    ways: int
    pages: tuple[int, ...]

    @property
    def sets(self) -> int:
        """Number of sets, a power of two."""
        return self.entries // self.ways


@dataclass(frozen=True, slots=True)
class PageWalkCache:
    """A paging-structure cache for entries of table level `level` (2 = PMD, 3 = PUD, 4 = P4D or PGD, 5 = PGD).

    Intel SDM volume 3, section "Paging-Structure Caches": a hit at level L leaves the walk only the levels below L.
    """

    level: int
    entries: int
    ways: int

    @property
    def sets(self) -> int:
        """Number of sets, a power of two."""
        return self.entries // self.ways


@dataclass(frozen=True, slots=True)
class Cache:
    """A data cache with 64-byte lines: `size` bytes in `slices` slices, sets of `ways`, `cycles` from issue to use.

    A last-level cache whose number of sets is not a power of two is built of slices that each are; a hash of the
    address chooses the slice.
    """

    size: int
    ways: int
    cycles: float
    slices: int = 1

    @property
    def sets(self) -> int:
        """Sets of one slice, a power of two."""
        return self.size // (LINE_BYTES * self.ways * self.slices)


@dataclass(frozen=True, slots=True)
class Mmu:
    """One core's MMU, the caches around it, and what an event costs.

    Attributes
    ----------
    l1, stlb : tuple of Tlb
        First level (split by page size, or one array for all) and second level. A page size that no `stlb` holds
        goes from the first level straight to a walk.
    page_walk_caches : tuple of PageWalkCache
        At most one per level.
    caches : tuple of three Cache
        L1D and L2 are a core's own; the L3 is shared by the cores of a node.
    memory_ns : tuple of float
        Load-to-use latency of memory by NUMA hops: local, one hop, and so on.
    clock_ghz, stlb_cycles : float
        Core clock; the penalty of an L1 dTLB miss that hits the STLB.
    walkers, outstanding : int
        Page walks and data misses that can be under way at once.
    """

    name: str
    l1: tuple[Tlb, ...]
    stlb: tuple[Tlb, ...]
    page_walk_caches: tuple[PageWalkCache, ...]
    caches: tuple[Cache, Cache, Cache]
    memory_ns: tuple[float, ...]
    clock_ghz: float
    stlb_cycles: float
    walkers: int = 1
    outstanding: int = 10

    def __post_init__(self) -> None:
        for place, tlbs in (("tlb.l1", self.l1), ("tlb.stlb", self.stlb)):
            for index, tlb in enumerate(tlbs):
                _check_sets(f"mmu.{place}[{index}]", tlb.entries, tlb.ways)
                for page in tlb.pages:
                    if page not in PAGE_BYTES:
                        raise ConfigError(f"mmu.{place}[{index}].pages={page}: a page is 4KiB, 2MiB or 1GiB")
            held = [page for tlb in tlbs for page in tlb.pages]
            if len(held) != len(set(held)):
                raise ConfigError(f"mmu.{place}: two TLBs hold pages of {max(held, key=held.count)} bytes")
        levels = [cache.level for cache in self.page_walk_caches]
        for index, walk_cache in enumerate(self.page_walk_caches):
            _check_sets(f"mmu.page_walk_caches[{index}]", walk_cache.entries, walk_cache.ways)
            if not 2 <= walk_cache.level <= 5 or levels.count(walk_cache.level) > 1:
                raise ConfigError(
                    f"mmu.page_walk_caches[{index}].level={walk_cache.level}: one cache for each of 2 to 5"
                )
        for place, cache in zip(("l1d", "l2", "l3"), self.caches, strict=True):
            key = f"mmu.caches.{place}"
            if cache.slices < 1 or (cache.slices > 1 and place != "l3"):
                raise ConfigError(f"{key}.slices={cache.slices}: 1, or more for the l3")
            if cache.size % (LINE_BYTES * cache.slices):
                raise ConfigError(f"{key}.size={cache.size}: no whole number of lines in {cache.slices} slices")
            _check_sets(key, cache.size // (LINE_BYTES * cache.slices), cache.ways)
            _check_positive(f"{key}.cycles", cache.cycles)
        if not self.memory_ns:
            raise ConfigError("mmu.memory_ns=[]: at least the local latency")
        for name, value in (
            ("clock_ghz", self.clock_ghz),
            ("walkers", self.walkers),
            ("outstanding", self.outstanding),
        ):
            _check_positive(f"mmu.{name}", value)
        if self.stlb_cycles < 0:
            raise ConfigError(f"mmu.tlb.stlb_cycles={self.stlb_cycles}: not negative")
        for hops, latency in enumerate(self.memory_ns):
            _check_positive(f"mmu.memory_ns[{hops}]", latency)

    def l1_for(self, page: int) -> Tlb:
        """The first-level TLB for pages of `page` bytes; ConfigError where the geometry has none."""
        for tlb in self.l1:
            if page in tlb.pages:
                return tlb
        raise ConfigError(f"mmu={self.name}: no L1 dTLB for pages of {page} bytes")

    def stlb_for(self, page: int) -> Tlb | None:
        """The second-level TLB for pages of `page` bytes, None where there is none."""
        return next((tlb for tlb in self.stlb if page in tlb.pages), None)

    def memory_cycles(self, hops: int) -> float:
        """Latency of memory `hops` NUMA hops away, in core cycles; ConfigError beyond the farthest one known."""
        if not 0 <= hops < len(self.memory_ns):
            raise ConfigError(f"mmu={self.name}: memory_ns has no latency for {hops} hops")
        return self.memory_ns[hops] * self.clock_ghz


def _check_positive(key: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{key}={value}: greater than 0")


def _check_sets(key: str, entries: int, ways: int) -> None:
    if not 1 <= ways <= _MAX_WAYS:
        raise ConfigError(f"{key}.ways={ways}: between 1 and {_MAX_WAYS}")
    sets, rest = divmod(entries, ways)
    if entries < 1 or rest or sets & (sets - 1):
        raise ConfigError(f"{key}.entries={entries}: in {ways} ways that is no power of two of sets")


def _fields(mapping: Any, key: str, required: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{key}={mapping!r}: a mapping is needed")
    for name in mapping:
        if name not in required and name not in optional:
            raise ConfigError(f"{key}.{name}: unknown key, one of {', '.join((*required, *optional))}")
    for name in required:
        if name not in mapping:
            raise ConfigError(f"{key}.{name}: missing")
    return mapping


def _number(mapping: Mapping[str, Any], key: str, name: str) -> float:
    value = mapping[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{key}.{name}={value!r}: a number is needed")
    return value


def _whole(mapping: Mapping[str, Any], key: str, name: str) -> int:
    value = mapping[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{key}.{name}={value!r}: a whole number is needed")
    return value


def _bytes(value: Any, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|[KMGT]iB)", value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"{key}={value!r}: a size such as 2MiB is needed")
    return int(match[1]) * _UNITS[match[2]]


def _items(value: Any, key: str) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{key}={value!r}: a list is needed")
    return value


def _tlbs(value: Any, key: str) -> tuple[Tlb, ...]:
    tlbs = []
    for index, item in enumerate(_items(value, key)):
        place = f"{key}[{index}]"
        fields = _fields(item, place, ("pages", "entries", "ways"))
        pages = tuple(_bytes(page, f"{place}.pages") for page in _items(fields["pages"], f"{place}.pages"))
        tlbs.append(Tlb(_whole(fields, place, "entries"), _whole(fields, place, "ways"), pages))
    return tuple(tlbs)


def _cache(value: Any, key: str) -> Cache:
    fields = _fields(value, key, ("size", "ways", "cycles"), ("slices",))
    slices = _whole(fields, key, "slices") if "slices" in fields else 1
    return Cache(
        _bytes(fields["size"], f"{key}.size"), _whole(fields, key, "ways"), _number(fields, key, "cycles"), slices
    )


def geometry_from_mapping(mapping: Mapping[str, Any]) -> Mmu:
    """An `Mmu` from a mapping in the form of the files in ``conf/mmu/``.

    Raises
    ------
    ConfigError
        One line naming the key and the value: an unknown or missing key, a size without a unit, a TLB whose sets are
        not a power of two, no ways, a cost that is not positive.
    """
    required = ("name", "clock_ghz", "tlb", "page_walk_caches", "caches", "memory_ns", "walkers", "outstanding")
    fields = _fields(mapping, "mmu", required, ("description", "sources"))
    tlb = _fields(fields["tlb"], "mmu.tlb", ("l1", "stlb", "stlb_cycles"))
    caches = _fields(fields["caches"], "mmu.caches", ("l1d", "l2", "l3"))
    walk_caches = []
    for index, item in enumerate(_items(fields["page_walk_caches"], "mmu.page_walk_caches")):
        place = f"mmu.page_walk_caches[{index}]"
        numbers = _fields(item, place, ("level", "entries", "ways"))
        walk_caches.append(PageWalkCache(*(_whole(numbers, place, name) for name in ("level", "entries", "ways"))))
    latencies = _items(fields["memory_ns"], "mmu.memory_ns")
    by_hops = {str(hops): latency for hops, latency in enumerate(latencies)}
    return Mmu(
        name=str(fields["name"]),
        l1=_tlbs(tlb["l1"], "mmu.tlb.l1"),
        stlb=_tlbs(tlb["stlb"], "mmu.tlb.stlb"),
        page_walk_caches=tuple(walk_caches),
        caches=(
            _cache(caches["l1d"], "mmu.caches.l1d"),
            _cache(caches["l2"], "mmu.caches.l2"),
            _cache(caches["l3"], "mmu.caches.l3"),
        ),
        memory_ns=tuple(_number(by_hops, "mmu.memory_ns", hops) for hops in by_hops),
        clock_ghz=_number(fields, "mmu", "clock_ghz"),
        stlb_cycles=_number(tlb, "mmu.tlb", "stlb_cycles"),
        walkers=_whole(fields, "mmu", "walkers"),
        outstanding=_whole(fields, "mmu", "outstanding"),
    )
