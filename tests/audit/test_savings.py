"""What each mechanism would leave, against counts made by hand in the geometry with tables of 4, 16 and 64 pages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.audit.objects import PRIVATE, Kind
from mshare_bench.audit.savings import Savings, private_memory
from tests.audit.test_pieces import address_spaces
from tests.audit.test_tally import tallied
from tests.audit.toys import PAGE, Mapping

_DENSE = frozenset(range(128, 160))  # 8 PTE tables, 2 PMD tables, 1 PUD table


def rows(spaces, weights=None, kinds=(Kind.MEMFD,), same=None, kernel_shared=None):
    tally, _ = tallied(spaces, weights, kinds=kinds)
    size = len(kinds) + 1
    same = np.arange(size) if same is None else np.array(same)
    shared = np.zeros(size, np.int64) if kernel_shared is None else np.array(kernel_shared)
    return {one.object: one for one in Savings(tally, same, shared).objects(np.ones(size, np.bool_))}


def tables(value):
    assert value % PAGE == 0
    return value // PAGE


def test_aligned_and_dense():
    one = rows([[Mapping(128, 32, 1, 0, _DENSE)]], [10])["object 1"]
    assert (one.mappers, tables(one.table_bytes), tables(one.once_bytes)) == (10, 110, 11)
    assert tables(one.duplicated_bytes) == tables(one.saved_mshare_bytes) == 99
    assert tables(one.saved_flag_bytes) == tables(one.saved_flag_aligned_bytes) == 72
    # 80 PTE tables go with huge pages; and of 20 PMD tables, whole slots at one place, 18.
    assert tables(one.saved_hugetlb_bytes) == 98
    assert tables(one.saved_thp_bytes) == 80
    assert one.reserve_bytes == 8 * 4 * PAGE
    assert one.advice == ()


def test_one_mapper_has_nothing_to_share():
    one = rows([[Mapping(129, 31, 1, 0, _DENSE - {128})]])["object 1"]
    assert (one.duplicated_bytes, one.saved_mshare_bytes, one.saved_flag_bytes, one.saved_flag_aligned_bytes) == (
        0,
        0,
        0,
        0,
    )
    assert one.once_bytes == one.table_bytes


def test_at_different_addresses_the_flag_shares_nothing():
    here, there = Mapping(128, 32, 1, 0, _DENSE), Mapping(192, 32, 1, 0, frozenset(range(192, 224)))
    one = rows([[here], [there]])["object 1"]
    assert tables(one.duplicated_bytes) == tables(one.saved_mshare_bytes) == 11
    assert (one.saved_flag_bytes, tables(one.saved_flag_aligned_bytes)) == (0, 8)
    assert any("2 different addresses" in line for line in one.advice)


def test_at_different_distances_from_a_table():
    shifted = Mapping(129, 32, 1, 0, frozenset(range(129, 161)))
    one = rows([[Mapping(128, 32, 1, 0, _DENSE)], [shifted]])["object 1"]
    assert tables(one.table_bytes) == (8 + 2 + 1) + (9 + 3 + 1)
    assert tables(one.once_bytes) == 11
    assert one.saved_flag_bytes == 0
    assert tables(one.saved_thp_bytes) == 8
    assert "2 different distances" in one.advice[0]


def test_off_by_the_same_everywhere():
    one = rows([[Mapping(129, 31, 1, 0, _DENSE - {128})]], [2])["object 1"]
    assert one.saved_thp_bytes == 0
    assert tables(one.saved_flag_bytes) == 7, "the first table is shared with what lies below"
    assert "off a multiple" in one.advice[0]


def test_tables_shared_with_a_neighbour_do_not_go():
    # The neighbour lies lower in the first PTE table, the PMD and the PUD table: it owns them and keeps them.
    space = [Mapping(128, 2, PRIVATE, 0, frozenset({128})), Mapping(130, 30, 1, 2, _DENSE - {128, 129})]
    one = rows([space], [10])["object 1"]
    assert tables(one.table_bytes) == 10 * (7 + 1)
    # Its own: seven PTE tables and the second PMD table. A window needs all of eleven, once.
    assert tables(one.saved_mshare_bytes) == 10 * 8 - 11
    assert tables(one.saved_hugetlb_bytes) == 10 * 7 + 9


def test_protections_are_told():
    space = [
        Mapping(128, 16, 1, 0, frozenset(range(128, 144)), protection=11),
        Mapping(144, 16, 1, 16, frozenset({150}), protection=9),
    ]
    assert "one for all" in rows([space], [2])["object 1"].advice[-1]


@pytest.mark.parametrize(
    ("kind", "cannot"),
    [
        (Kind.SYSV, {"flag"}),
        (Kind.ANONYMOUS, {"flag"}),
        (Kind.FILE, {"hugetlb", "thp"}),
        (Kind.TMPFS, set()),
        (Kind.PRIVATE_FILE, {"mshare", "flag", "hugetlb", "thp"}),
        (Kind.DEVICE, {"mshare", "flag", "hugetlb", "thp"}),
    ],
)
def test_what_a_mechanism_cannot_hold_is_null_not_zero(kind, cannot):
    one = rows([[Mapping(128, 32, 1, 0, _DENSE)]], [4], kinds=(kind,))["object 1"]
    for way in ("mshare", "flag", "hugetlb", "thp"):
        assert (getattr(one, f"saved_{way}_bytes") is None) == (way in cannot), way
    assert one.duplicated_bytes > 0


def test_objects_that_are_one():
    spaces = [[Mapping(128, 32, number, 0, _DENSE)] for number in (1, 2, 2)]
    apart = rows(spaces, kinds=(Kind.FILE, Kind.FILE))
    assert tables(apart["object 1"].duplicated_bytes) == 0
    (one,) = rows(spaces, kinds=(Kind.FILE, Kind.FILE), same=[0, 1, 1]).values()
    assert (one.names, one.mappers, tables(one.duplicated_bytes)) == (2, 3, 22)


def test_hugetlb_that_the_kernel_shares():
    space = [[Mapping(128, 32, 1, 0, _DENSE, leaf=1, huge=True)]]
    one = rows(space, [10], kinds=(Kind.HUGETLB,), kernel_shared=[0, 18])["object 1"]
    assert (tables(one.table_bytes), tables(one.once_bytes), tables(one.kernel_shared_bytes)) == (30, 3, 18)
    assert tables(one.duplicated_bytes) == 9
    assert tables(one.saved_mshare_bytes) == 9
    assert one.kernel_shared_basis == "measured"
    unshared = rows(space, [10], kinds=(Kind.HUGETLB,))["object 1"]
    assert any("whole slots" in line for line in unshared.advice)


@settings(max_examples=100, deadline=None)
@given(st.lists(address_spaces(), min_size=1, max_size=4), st.integers(1, 50))
def test_bounds_that_always_hold(spaces, weight):
    kinds = (Kind.MEMFD, Kind.FILE, Kind.ANONYMOUS)
    tally, _ = tallied(spaces, [weight] * len(spaces), kinds=kinds)
    same, none = np.arange(4), np.zeros(4, np.int64)
    private = private_memory(tally)
    objects = Savings(tally, same, none).objects(np.ones(4, np.bool_))
    total = sum(one.table_bytes for one in objects) + private.table_bytes
    assert total == int(tally.tables.sum()) * PAGE
    for one in objects:
        assert 0 <= one.once_bytes <= one.table_bytes
        assert one.duplicated_bytes == one.table_bytes - one.once_bytes
        for name in ("saved_mshare_bytes", "saved_flag_bytes", "saved_hugetlb_bytes", "saved_thp_bytes"):
            assert 0 <= (getattr(one, name) or 0) <= one.table_bytes
        assert (one.saved_flag_bytes or 0) <= (one.saved_flag_aligned_bytes or 0)
        if one.mappers == 1:
            assert one.duplicated_bytes == 0
    fractions = Savings(tally, same, none).duplicated_fractions()
    assert fractions[PRIVATE] == 0
    assert ((fractions >= 0) & (fractions <= 1)).all()
    double = float((fractions * tally.tables.sum(axis=0)).sum()) * PAGE
    assert double == pytest.approx(sum(one.duplicated_bytes for one in objects))


@settings(max_examples=60, deadline=None)
@given(address_spaces(), st.integers(1, 20), st.integers(1, 20))
def test_more_processes_never_save_less(mappings, few, more):
    kinds = (Kind.MEMFD, Kind.FILE, Kind.ANONYMOUS)
    less, all_of_them = (rows([mappings], [count], kinds=kinds) for count in (few, few + more))
    for name, one in less.items():
        other = all_of_them[name]
        assert other.duplicated_bytes >= one.duplicated_bytes
        assert (other.saved_mshare_bytes or 0) >= (one.saved_mshare_bytes or 0)
