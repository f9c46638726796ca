import pytest

from mshare_bench.advice.recommendation import price_of


def test_the_price_of_hugetlb_has_its_numbers():
    assert "512 pages of 2 MiB (1 GiB)" in price_of("hugetlb", 2 << 20, 1 << 30)
    assert "32 pages of 32 MiB (1 GiB)" in price_of("hugetlb", 32 << 20, 1 << 30)


def test_every_way_has_a_price_of_its_own_and_no_other_has():
    ways = ("hugetlb", "thp", "one_process", "mshare", "mshare_flag", "nothing")
    assert len({price_of(way, 2 << 20) for way in ways}) == len(ways)
    with pytest.raises(KeyError):
        price_of("magic", 2 << 20)
