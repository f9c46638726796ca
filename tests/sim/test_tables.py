import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain import pages
from mshare_bench.domain.workload import Touch
from mshare_bench.sim.tables import Tables, per_process


def test_tables_add():
    assert Tables(1, 2, 3) + Tables(10, 20, 30) == Tables(11, 22, 33)
    assert Tables(1, 2, 3).pages == 6


@given(st.integers(1, 700), st.integers(1, 3000), st.integers(0, 2000), st.integers(1, 40))
def test_slices_of_a_cohort_are_counted_each_at_its_place(count, stride, origin, processes):
    touched = pages.dense(0, count)
    touch = Touch("r", touched, touched, pages.EMPTY, stride)
    each = [len(np.unique((np.arange(count) + i * stride + origin) // 512)) for i in range(processes)]
    assert per_process(touch, touched, origin, 512, processes) == sum(each)
