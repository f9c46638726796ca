import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import KIB, MIB
from mshare_bench.domain.workload import SLOT, Placed, Region
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.contract import memfd
from mshare_bench.mechanisms.registry import mechanisms


def placed(size, offset=0):
    return Placed(Region("r", size), SLOT + offset)


@pytest.mark.parametrize("name", sorted(mechanisms()))
@given(size=st.integers(1, 1 << 20), offset=st.integers(0, 1 << 19))
def test_extents_cover_the_region_and_adjoin(name, size, offset):
    mechanism = mechanisms()[name]()
    page = mechanism.page_sizes(X86_64)[0]
    where = placed(size * page, offset * page if page == 2 * MIB else offset * 4 * KIB)
    extents = mechanism.extents(where, page, X86_64)
    at = 0
    for extent in extents:
        assert extent.start == at
        assert extent.length > 0
        assert extent.window >= extent.page
        at += extent.length
    assert at == where.region.size


def test_options_are_checked_and_shown():
    assert mechanisms()["hugetlb"].of({"pmd_sharing": False}).variant == "pmd_sharing=false"
    assert mechanisms()["hugetlb"].of({"pmd_sharing": True}).variant == ""
    for name, options, said in (
        ("hugetlb", {"pmd_sharing": "maybe"}, "mechanism.pmd_sharing=maybe"),
        ("shmem", {"kind": "thread"}, "mechanism.kind=thread"),
        ("mshare", {"interface": "syscall"}, "msharefs, flag, ideal"),
        ("mshare", {"mapping": "private"}, "msharefs refuses MAP_PRIVATE"),
        ("inherit", {"memory": "shared", "tables": "shared"}, "mechanism.tables=shared"),
    ):
        with pytest.raises(ConfigError, match=said):
            mechanisms()[name].of(options)


def test_pages_that_a_mechanism_does_not_have():
    with pytest.raises(ConfigError, match="page=4KiB: hugetlb has 2MiB, 1GiB"):
        mechanisms()["hugetlb"]().resolve_page(4096, X86_64)
    assert mechanisms()["hugetlb"]().resolve_page(None, X86_64) == 2 * MIB
    assert mechanisms()["shmem"]().resolve_page(None, X86_64) == 4096


def test_colours_are_distinct():
    colours = [one.color for one in mechanisms().values()]
    assert len(set(colours)) == len(colours)


def test_a_backing_tells_what_it_holds_and_gives_it_back():
    backing = memfd(MIB, "test")
    assert backing.held_bytes() == 0
    backing.close()
    backing.close()
    assert backing.held_bytes() is None
