"""What a point costs, as the simulator counts it."""

import functools
from dataclasses import dataclass

from mshare_bench.mechanisms.contract import Traits
from mshare_bench.sim.tables import Tables

__all__ = ["Account", "RegionAccount"]


@dataclass(frozen=True, slots=True)
class RegionAccount:
    """One region, all its instances, over all processes.

    Attributes
    ----------
    mappers
        Processes that map it.
    tables
        Table pages by level; `table_bytes` in bytes.
    data_bytes, metadata_bytes
        Every copy of the data; what is kept beside it.
    minor_faults, linking_faults
        During touch. Linking faults of hugetlb's PMD sharing are minor faults too; mshare's are not.
    """

    name: str
    region_bytes: int
    mappers: int
    tables: Tables
    data_bytes: int
    metadata_bytes: int
    minor_faults: int
    linking_faults: int


@dataclass(frozen=True, slots=True)
class Account:
    """All regions of a point.

    `page` is the size of a table page in bytes; `address_space_bytes` what one process gives to the regions.
    """

    regions: tuple[RegionAccount, ...]
    page: int
    traits: Traits
    address_space_bytes: int

    @property
    def tables(self) -> Tables:
        """Table pages by level over all regions."""
        return functools.reduce(Tables.__add__, (one.tables for one in self.regions), Tables())

    @property
    def page_table_bytes(self) -> int:
        """Bytes of all table pages."""
        return self.tables.pages * self.page

    def total(self, column: str) -> int:
        """Sum of an attribute of `RegionAccount` over the regions."""
        return sum(getattr(one, column) for one in self.regions)
