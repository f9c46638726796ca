import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.calibration.experiments import EXPERIMENTS, work_rows
from mshare_bench.calibration.fit import Row, fit
from mshare_bench.sim.time import time_of

KNOWN = {"timer": 150.0, "frame_zero": 120.0, "page_copy": 250.0, "cache_last_bytes": 32.0 * (1 << 20)}
CACHE = 1 << 20


def rows(costs, noise=0.0, seed=0):
    """Rows as a machine with these costs would show them."""
    generator = np.random.default_rng(seed)
    prices = {name: (value, value, value) for name, value in {**KNOWN, **costs}.items()}
    made = []
    for experiment in EXPERIMENTS:
        works, processes, _ = work_rows(experiment)
        for phase, work in works.items():
            time = time_of(work, prices, processes)
            assert time is not None, (experiment.name, phase)
            made.append(
                Row(experiment.name, phase, work, processes, time.value * np.exp(generator.normal(0, noise)), noise)
            )
    return made


def names():
    found = {}
    for experiment in EXPERIMENTS:
        for work in work_rows(experiment)[0].values():
            found |= dict.fromkeys(name for name, _ in work.counts)
            found |= dict.fromkeys(far.cost for far in work.far)
    found |= dict.fromkeys(("protect_beyond", "unmap_beyond", "exit_beyond"))
    return [name for name in found if name not in KNOWN]


TYPICAL = {
    "access": 6, "access_far": 10, "access_old": 40, "access_old_far": 200, "vma_map": 2800, "vma_advise": 600,
    "vma_split": 3000, "segment_attach": 4000, "ksm_advise": 900, "vma_protect": 1000, "vma_unmap": 2700, "fault_read": 1300,
    "fault_page": 1100, "fault_write": 1000, "fault_hole": 2500, "fault_anonymous": 1400, "fault_ksm": 1400,
    "fault_copy": 2000, "fault_copy_file": 1800, "fault_read_file": 2000, "fault_write_file": 1400, "fault_huge": 1700,
    "fault_huge_hole": 90_000, "fault_huge_anonymous": 100_000, "fault_hugetlb": 900, "fault_hugetlb_hole": 90_000,
    "fault_link": 2000, "pte_fill": 60, "fault_far": 120, "table_allocate": 650, "table_free": 550, "table_scan": 950,
    "pte_protect": 56, "pte_protect_anonymous": 60, "pte_protect_copy": 60, "pte_protect_ksm": 55, "huge_protect": 100,
    "hugetlb_protect": 90, "protect_far": 60, "pte_zap": 88, "pte_zap_file": 64, "pte_zap_anonymous": 210,
    "pte_zap_copy": 55, "pte_zap_ksm": 55, "huge_zap": 160, "huge_zap_anonymous": 4200, "hugetlb_zap": 145,
    "hugetlb_unshare": 450, "unmap_far": 70, "fork": 27_000, "vma_copy": 400, "pte_copy": 54, "huge_copy": 900,
    "table_copy": 1500, "fork_far": 30, "process_exit": 27_000, "exit_far": 25_000, "task_exit": 11_000,
    "protect_beyond": 90, "unmap_beyond": 110, "exit_beyond": 20_000,
}  # fmt: skip
"""About what a virtual machine showed."""


def machine(seed):
    """A machine whose costs are up to a third above or below the typical ones."""
    generator = np.random.default_rng(seed)
    assert set(TYPICAL) == set(names())
    return {
        **{name: value * generator.uniform(0.7, 1.3) for name, value in TYPICAL.items()},
        "cache_bytes": float(CACHE),
    }


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000))
def test_the_experiments_tell_every_cost_from_every_other(seed):
    """A machine that follows the model exactly is found again, number by number."""
    truth = machine(seed)
    found = fit(rows(truth), KNOWN).costs
    assert set(found) == set(truth)
    for name, value in truth.items():
        assert found[name][0] == pytest.approx(value, rel=0.01), name


def test_noise_widens_the_intervals_and_they_hold_the_truth():
    truth = machine(3)
    calm, loud = fit(rows(truth, 0.002), KNOWN).costs, fit(rows(truth, 0.05), KNOWN).costs
    width = {name: (calm[name][2] - calm[name][1], loud[name][2] - loud[name][1]) for name in truth}
    assert np.mean([wide > narrow for narrow, wide in width.values()]) > 0.9
    held = [loud[name][1] <= value <= loud[name][2] for name, value in truth.items()]
    assert np.mean(held) > 0.8


def test_no_cost_is_negative_whatever_the_times():
    generator = np.random.default_rng(5)
    wild = [Row(r.label, r.phase, r.work, r.processes, float(generator.uniform(1, 1e7)), 0.5) for r in rows(machine(1))]
    found = fit(wild, KNOWN)
    assert all(0 <= low <= value <= high for value, low, high in found.costs.values())
    assert len(found.residuals) == len(wild)
