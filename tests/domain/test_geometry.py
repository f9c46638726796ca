import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.geometry import GEOMETRIES, X86_64, Level, geometry
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import ConfigError


def test_x86_64_spans():
    assert X86_64.spans == (2 * MIB, GIB, 512 * GIB)
    assert X86_64.pages == (4096, 2 * MIB, GIB)


def test_arm64_with_64k_pages_counts_two_levels():
    # Documentation/arch/arm64/memory.rst: 64 KiB pages, 48 bits: three levels, a PTE table covers 512 MiB.
    assert geometry("arm64_64k").spans == (512 * MIB, 4 << 40)
    assert geometry("arm64_16k").spans[0] == 32 * MIB


@given(st.integers(0, 1 << 46), st.integers(1, 1 << 40), st.sampled_from(list(GEOMETRIES.values())))
def test_tables_are_the_distinct_spans(address, length, shape):
    for level in shape.counted_levels:
        span = shape.span(level)
        count = shape.tables(address, length, level)
        assert (count - 1) * span < length + span
        assert count * span >= length
        assert shape.tables(address, 0, level) == 0


def test_one_byte_more_across_a_border_needs_one_more():
    assert X86_64.tables(0, 2 * MIB, Level.PTE) == 1
    assert X86_64.tables(4096, 2 * MIB, Level.PTE) == 2


def test_unknown_names_and_pages():
    with pytest.raises(ConfigError, match="geometry=vax"):
        geometry("vax")
    with pytest.raises(ConfigError, match="page=8KiB"):
        X86_64.leaf_level(8192)
