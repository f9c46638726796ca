import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1, "100 %"),
        (0, "0 %"),
        (0.99999, "99.99 %"),
        (0.5, "50.00 %"),
        (1e-6, "<0.01 %"),
        (-0.25, "-25.00 %"),
        (None, "–"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert words.percent(share) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_percent_says_all_or_nothing_only_when_it_is(share: float) -> None:
    assert words.percent(share) not in ("100 %", "0 %", "100.00 %", "0.00 %")


def test_sizes_have_four_digits_at_most() -> None:
    assert [words.size(one) for one in (0, 4096, 21_053_440_000, 2_105_344, 943_718_400_000, 1 << 40)] == [
        "0 B", "4 KiB", "19.61 GiB", "2.01 MiB", "878.9 GiB", "1 TiB",
    ]  # fmt: skip


def test_counts_durations_and_what_nobody_knows() -> None:
    assert [words.count(one) for one in (0, 4096, 163_840_000, 2_500_000_000)] == ["0", "4,096", "163.8 M", "2.5 G"]
    assert words.duration(31_200) == "31.2 µs"
    assert words.duration(None) == words.count(None) == words.size(None) == words.ratio(None) == words.DASH
    assert words.share_saved(None, 3) is words.share_saved(0, 0) is None
    assert words.share_saved(3, 1) == 0.75
