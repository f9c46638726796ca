"""Page-table geometry: how many bytes one table page of each level covers.

Only the levels that the kernel accounts to a process are counted: PTE, PMD and PUD pages (`VmPTE` holds their sum; the
PGD, and the P4D of five levels, are left out of it).
"""

import enum
from dataclasses import dataclass

from mshare_bench.domain.units import KIB, format_size
from mshare_bench.errors import ConfigError

__all__ = ["GEOMETRIES", "X86_64", "Geometry", "Level", "geometry"]


class Level(enum.IntEnum):
    """A level of the page table, from the leaves up; a *table* of a level is one page of its entries."""

    PTE = 0
    PMD = 1
    PUD = 2


_LEVELS = tuple(Level)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of one architecture's page tables.

    Attributes
    ----------
    name
        As configurations say it, such as `x86_64` or `arm64_64k`.
    page
        Base page in bytes; a table page has this size too.
    levels
        Levels in all, the PGD among them: 4 or 5 on x86-64. It bounds the address space.
    spans
        Bytes that one table of each counted level covers: PTE, PMD, PUD (2 MiB, 1 GiB, 512 GiB on x86-64). Levels that
        the architecture folds away are absent.
    address_space
        Bytes of user address space.
    """

    name: str
    page: int
    levels: int
    spans: tuple[int, ...]
    address_space: int

    @property
    def counted_levels(self) -> tuple[Level, ...]:
        """The levels of which tables are counted, leaves first."""
        return _LEVELS[: len(self.spans)]

    @property
    def pages(self) -> tuple[int, ...]:
        """Page sizes that a mapping can have: the base page, and what an entry of each upper level maps."""
        return (self.page, *self.spans[:2])

    def span(self, level: Level) -> int:
        """Bytes that one table of `level` covers."""
        return self.spans[level]

    def leaf_level(self, page: int) -> Level:
        """The level whose entries map pages of this size.

        Raises
        ------
        ConfigError
            When the architecture has no page of that size.
        """
        if page not in self.pages:
            have = ", ".join(format_size(size).replace(" ", "") for size in self.pages)
            raise ConfigError(f"page={format_size(page).replace(' ', '')}: {self.name} has {have}")
        return _LEVELS[self.pages.index(page)]

    def tables(self, address: int, length: int, level: Level) -> int:
        """Tables of `level` that the dense range of `length` bytes at `address` needs."""
        if length <= 0:
            return 0
        span = self.spans[level]
        return (address + length - 1) // span - address // span + 1


def _geometry(name: str, page: int, levels: int, address_bits: int) -> Geometry:
    entries = page // 8
    spans: list[int] = []
    span = page * entries
    # The top level (and the P4D of five) is never counted; smaller geometries have fewer levels below it.
    for _ in range(min(3, levels - 1)):
        spans.append(span)
        span *= entries
    return Geometry(name, page, levels, tuple(spans), 1 << address_bits)


# x86: Documentation/arch/x86/x86_64/mm.rst; arm64: Documentation/arch/arm64/memory.rst (in the Linux source).
X86_64 = _geometry("x86_64", 4 * KIB, 4, 47)
GEOMETRIES = {
    one.name: one
    for one in (
        X86_64,
        _geometry("x86_64_5level", 4 * KIB, 5, 56),
        _geometry("arm64_4k", 4 * KIB, 4, 48),
        _geometry("arm64_16k", 16 * KIB, 4, 48),
        _geometry("arm64_64k", 64 * KIB, 3, 48),
    )
}


def geometry(name: str) -> Geometry:
    """Look a geometry up by name.

    Raises
    ------
    ConfigError
        When there is none of that name.
    """
    if name not in GEOMETRIES:
        raise ConfigError(f"geometry={name}: not one of {', '.join(GEOMETRIES)}")
    return GEOMETRIES[name]
