import pytest

from mshare_bench.advice.recommendation import Recommendation, in_order, price_of, saved_at_most, what_to_do


def test_the_price_of_hugetlb_has_its_numbers():
    assert "512 pages of 2 MiB (1 GiB)" in price_of("hugetlb", 2 << 20, 1 << 30)
    assert "32 pages of 32 MiB (1 GiB)" in price_of("hugetlb", 32 << 20, 1 << 30)


def test_every_way_has_a_price_of_its_own_and_no_other_has():
    ways = ("hugetlb", "thp", "one_process", "mshare", "mshare_flag", "nothing")
    assert len({price_of(way, 2 << 20) for way in ways}) == len(ways)
    with pytest.raises(KeyError):
        price_of("magic", 2 << 20)


def ways(**saves):
    return [Recommendation(name, one, name != "mshare", "", "") for name, one in saves.items()]


def names(found):
    return [way.action for way in found]


def test_what_can_be_had_today_comes_first_if_it_is_nearly_as_good():
    assert names(in_order(ways(mshare=100, thp=80, hugetlb=79), None)) == ["thp", "mshare", "hugetlb"]
    assert names(in_order(ways(mshare=100, thp=79, hugetlb=70), None)) == ["mshare", "thp", "hugetlb"]


def test_a_rewrite_is_never_first_unless_it_is_alone():
    found = ways(one_process=1000, thp=1)
    assert saved_at_most(found) == 1
    assert names(in_order(found, None)) == ["thp", "one_process"]
    assert names(in_order(ways(one_process=5), None)) == ["one_process"]


def test_nothing_comes_before_all():
    nothing = Recommendation("nothing", None, True, "", "")
    assert names(in_order(ways(mshare=5, thp=9), nothing)) == ["nothing", "thp", "mshare"]
    assert names(in_order([], nothing)) == ["nothing"]


def test_words_of_every_way():
    assert what_to_do("hugetlb", "buffers", "1 MiB") == "Put buffers in hugetlb pages: saves 1 MiB."
    assert what_to_do("mshare", "buffers", "1 MiB").endswith(
        "saves 1 MiB (once a kernel has it; no released one does)."
    )
    assert "this kernel has it" in what_to_do("mshare", "buffers", "1 MiB", here=True)
    with pytest.raises(KeyError):
        what_to_do("nothing", "buffers", "1 MiB")
