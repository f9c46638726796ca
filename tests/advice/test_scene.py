from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.advice.scene import SMALL, Option, advise

GIB, MIB = 1 << 30, 1 << 20


def options(**saved):
    baseline = Option("shmem", "", 200 * MIB, 0, True)
    return [baseline, *(Option(name, "", 200 * MIB - one, one, name == "hugetlb") for name, one in saved.items())]


def test_what_can_be_had_today_and_saves_nearly_as_much_comes_first():
    first, *others = advise(options(mshare=198 * MIB, hugetlb=199 * MIB, shared_mm=199 * MIB), GIB)
    assert first.action == "hugetlb"
    assert first.available
    assert "199 MiB" in first.text and "leaves 1 MiB" in first.text and "measured" in first.text
    assert "512 pages of 2 MiB" in first.price
    assert [way.action for way in others] == ["mshare", "one_process"]
    assert "predicted" in others[0].text


def test_without_anything_else_it_is_mshare_and_it_says_that_no_kernel_has_it():
    first, *_ = advise(options(mshare=198 * MIB), GIB)
    assert (first.action, first.available) == ("mshare", False)
    assert "no released one does" in first.text


def test_little_is_left_alone():
    first, *others = advise(options(mshare=5 * MIB), GIB)
    assert first.action == "nothing"
    assert "5 MiB of page tables, 0.49% of the data" in first.text
    assert [way.action for way in others] == ["mshare"]


def test_of_two_interfaces_each_is_a_way_and_the_better_variant_counts():
    flag = Option("mshare", "interface=flag", 50 * MIB, 150 * MIB, False)
    worse = Option("hugetlb", "pmd_sharing=False", 20 * MIB, 180 * MIB, True)
    ways = {way.action: way for way in advise([*options(mshare=190 * MIB, hugetlb=199 * MIB), flag, worse], GIB)}
    assert ways["mshare_flag"].saves_bytes == 150 * MIB
    assert ways["hugetlb"].saves_bytes == 199 * MIB


def test_nothing_saved_of_nothing_is_left_alone():
    (first,) = advise(options(mshare=0, hugetlb=0), 0)
    assert first.action == "nothing"


def test_nothing_to_compare_is_nothing_to_say():
    assert advise([], GIB) == ()


@given(st.dictionaries(st.sampled_from(["mshare", "hugetlb", "thp", "shared_mm"]), st.integers(-MIB, 200 * MIB)))
def test_it_never_recommends_what_saves_nothing(saved):
    first, *others = advise(options(**saved), GIB)
    assert first.action == "nothing" or first.saves_bytes >= 0.8 * SMALL * GIB or not first.available
    assert all(way.saves_bytes > 0 for way in others if way.saves_bytes is not None)
    assert first.action != "one_process"
