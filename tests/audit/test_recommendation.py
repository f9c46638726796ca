import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.audit.objects import Kind
from mshare_bench.audit.recommendation import SMALL, recommend
from tests.audit.made_up import GIB, MIB, audit_of, buffers, library


def actions(audit):
    return [way.action for way in recommend(audit)]


def test_little_is_left_alone():
    first, *others = recommend(audit_of(buffers(each=4096 * 3, mappers=10)))
    assert first.action == "nothing"
    assert first.saves_bytes is None
    assert "Leave it as it is" in first.text
    assert {way.action for way in others} >= {"mshare", "one_process"}


def test_the_border_is_a_share_of_the_memory():
    one = buffers()
    most = one.saved_hugetlb_bytes
    assert actions(audit_of(one, memory_bytes=int(most / SMALL) + 10**6))[0] == "nothing"
    assert actions(audit_of(one, memory_bytes=int(most / SMALL) - 10**6))[0] == "hugetlb"


def test_huge_pages_that_save_as_much_can_be_had_today():
    first, *others = recommend(audit_of(buffers()))
    assert first.action == "hugetlb"
    assert "memfd:buffers" in first.text
    assert "199.2 MiB" in first.text
    assert "512 pages of 2 MiB (1 GiB)" in first.price
    assert others[-1].action == "one_process", "a rewrite comes last"


def test_where_the_pages_cannot_be_set_aside_it_is_thp():
    first, *_ = recommend(audit_of(buffers(reserve_bytes=80 * GIB)))
    assert first.action == "thp"


def test_files_are_for_mshare():
    file = buffers(
        name="/data/table", kind=Kind.FILE, saved_hugetlb_bytes=None, saved_thp_bytes=None, reserve_bytes=None
    )
    first, *_ = recommend(audit_of(file))
    assert first.action == "mshare"
    assert not first.available
    assert "no released one does" in first.text
    assert "one protection for all" in first.price


def test_a_kernel_that_has_it():
    file = buffers(
        name="/data/table", kind=Kind.FILE, saved_hugetlb_bytes=None, saved_thp_bytes=None, reserve_bytes=None
    )
    first, *_ = recommend(audit_of(file, has_mshare=True))
    assert (first.action, first.available) == ("mshare", True)
    assert "this kernel has it" in first.text


def test_libraries_alone_are_left_alone_with_the_reason():
    audit = audit_of(library(each=4 * MIB))
    first, second = recommend(audit)
    assert first.action == "nothing"
    assert "396 MiB are duplicated by private mappings" in first.text
    assert (second.action, second.saves_bytes) == ("one_process", audit.duplicated_bytes)


def test_an_address_for_the_flag_is_worth_more():
    moved = buffers(saved_flag_bytes=0)
    (flag,) = [way for way in recommend(audit_of(moved)) if way.action == "mshare_flag"]
    assert "saves 0 B of page tables as it is mapped now" in flag.text
    assert "if all mapped it at one multiple of 2 MiB" in flag.text


@given(
    st.lists(
        st.tuples(st.integers(2, 300), st.integers(1, 600), st.sampled_from([Kind.MEMFD, Kind.SYSV, Kind.TMPFS])),
        min_size=1,
        max_size=5,
    ),
    st.integers(28, 40),
    st.booleans(),
)
def test_every_number_is_the_audits_own(objects, memory, has_mshare):
    found = [
        buffers(name=f"object {at}", kind=kind, mappers=mappers, each=4096 * (2 + tables))
        for at, (mappers, tables, kind) in enumerate(objects)
    ]
    audit = audit_of(*found, memory_bytes=1 << memory, has_mshare=has_mshare)
    ways = {way.action: way for way in recommend(audit)}
    assert ways["mshare"].saves_bytes == sum(one.saved_mshare_bytes for one in found)
    assert ways["hugetlb"].saves_bytes == sum(one.saved_hugetlb_bytes for one in found)
    assert ways["one_process"].saves_bytes == audit.duplicated_bytes
    assert ways["mshare"].available == has_mshare
    first = next(iter(ways.values()))
    assert first.action != "one_process"
    if not first.available:
        today = [way.saves_bytes for way in ways.values() if way.available and way.action != "one_process"]
        assert max(today) < 0.8 * first.saves_bytes, "what can be had today saves much less"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_names_are_kept_short(count):
    first, *_ = recommend(audit_of(*(buffers(name=f"memfd:{at}") for at in range(count))))
    assert first.text.count("memfd:") == min(count, 2)
    assert (f"and {count - 2} more" in first.text) == (count > 2)
