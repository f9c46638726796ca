import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.units import (
    GIB,
    KIB,
    MIB,
    format_duration,
    format_size,
    parse_count,
    parse_duration,
    parse_size,
)
from mshare_bench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", GIB),
        ("512MiB", 512 * MIB),
        ("4096", 4096),
        (4096, 4096),
        ("2.5GiB", 2684354560),
        ("1 kib", KIB),
        ("1GB", 10**9),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1XB", "1.0.0MiB", "-1GiB", "0.3B", None, True, "nan"])
def test_bad_sizes_name_key_and_value(text):
    with pytest.raises(ConfigError, match="region="):
        parse_size(text, "region")


@given(st.integers(0, 1 << 50))
def test_a_count_of_kibibytes_reads_back(count):
    assert parse_size(f"{count}KiB") == count * KIB


def test_durations():
    assert parse_duration("30us") == 30_000
    assert parse_duration("1.5ms") == 1_500_000
    assert parse_duration("10") == parse_duration(10) == 10 * 10**9
    with pytest.raises(ConfigError, match="cluster.silence=-1s"):
        parse_duration("-1s", "cluster.silence")


def test_counts():
    assert parse_count("10_000") == parse_count(1e4) == 10_000
    for bad in ("1.5", "many", -1, True):
        with pytest.raises(ConfigError, match="processes="):
            parse_count(bad, "processes")


def test_people_read_it():
    assert format_size(GIB) == "1 GiB"
    assert format_size(21053440000) == "19.6 GiB"
    assert format_size(0) == "0 B"
    assert format_duration(6_500_000) == "6.5 ms"
