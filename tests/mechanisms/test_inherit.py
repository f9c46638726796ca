"""Memory that children inherit: what a fork copies, and what it leaves to be faulted in again."""

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.mechanisms.inherit import Inherit
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe

TABLES = (4 + 1 + 1) * 4 * KIB
"""Of 8 MiB that start at a slot: four PTE pages, a PMD page and a PUD page."""


@pytest.mark.kernel
def test_a_childs_tables_are_there_as_soon_as_it_is_where_memory_is_private() -> None:
    point = make_point("inherit", 3, 8 * MIB)
    found, expected = observe(point), account(point)
    assert found.forked == found.tables == [TABLES] * 3
    assert found.faults == [2048, 0, 0]  # the parent's; children find all pages mapped
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))
    # One copy, over four that have it mapped: the agent that populates elsewhere is a child as well.
    assert found.shown("Pss") == [8 * MIB // 4] * 3
    assert expected.total("data_bytes") == 8 * MIB


@pytest.mark.kernel
def test_a_written_page_is_copied_and_a_table_is_not() -> None:
    point = make_point("inherit", 3, 8 * MIB, write_fraction=0.25)
    found, expected = observe(point), account(point)
    assert found.tables == [TABLES] * 3
    assert found.faults[1:] == [512, 512]
    assert sum(found.faults) == expected.total("minor_faults")
    assert found.shown("Private_Dirty")[1:] == [2 * MIB] * 2
    assert expected.total("data_bytes") == 8 * MIB + 2 * 2 * MIB


@pytest.mark.kernel
def test_a_shared_mapping_is_inherited_without_its_tables() -> None:
    """mm/memory.c, `vma_needs_copy`: a fork leaves PTEs of shared mappings out, and every child faults again."""
    point = make_point("inherit", 3, 8 * MIB, options={"memory": "shared"})
    found, expected = observe(point), account(point)
    assert found.forked == [TABLES, 0, 0]
    assert found.tables == [TABLES] * 3
    assert found.faults == [128] * 3
    assert (sum(found.tables), sum(found.faults)) == (expected.page_table_bytes, expected.total("minor_faults"))


def test_shared_tables_at_fork_can_be_predicted_and_not_had() -> None:
    cow = account(make_point("inherit", 100, 8 * MIB, options={"tables": "shared"}))
    copied = account(make_point("inherit", 100, 8 * MIB))
    assert cow.tables.pte == 4
    assert copied.tables.pte == 400
    with pytest.raises(CapabilityError, match="mechanism.tables=shared: no released kernel .* COW-PTE"):
        Inherit(tables="shared").recipe(None, 4 * KIB)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mechanism.tables=shared: only tables of mechanism.memory=private"):
        Inherit(memory="shared", tables="shared")
