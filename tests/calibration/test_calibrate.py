import numpy as np
import pytest
import yaml

from mshare_bench.calibration import calibrate as module
from mshare_bench.calibration.calibrate import QUIET, calibrate, write_profile
from mshare_bench.calibration.experiments import EXPERIMENTS, Experiment, work_rows
from mshare_bench.calibration.observe import Observed
from mshare_bench.calibration.probes import Probe
from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.units import MIB
from mshare_bench.errors import CapabilityError, ConfigError
from mshare_bench.sim.time import time_of
from tests.calibration.test_fit import KNOWN, machine


def probes(noise=0.0):
    def run():
        return {name: np.array([[value * (1 - noise)], [value * (1 + noise)]]) for name, value in KNOWN.items()}

    return (Probe(tuple(KNOWN), "test", run),)


@pytest.fixture
def simulated(monkeypatch):
    """A machine with known costs in place of this one; `noise` is the scatter between passes."""

    def make(noise, lacking=()):
        generator = np.random.default_rng(1)
        truth = machine(7)
        prices = {name: (value, value, value) for name, value in {**KNOWN, **truth}.items()}
        known = {one.point.digest: one for one in (*EXPERIMENTS, LARGE)}

        def observe(point, rounds, skip_first=False):
            if point.mechanism in lacking:
                raise CapabilityError(f"no {point.mechanism} here")
            works, processes, _ = work_rows(known[point.digest])
            factor = np.exp(generator.normal(0, noise))
            times = {phase: time_of(work, prices, processes).value * factor for phase, work in works.items()}
            return Observed({phase: np.full((1, 1, 1), time) for phase, time in times.items()}, True)

        monkeypatch.setattr(module, "observe", observe)
        monkeypatch.setattr(module, "PROBES", probes())
        return truth

    return make


LARGE = Experiment("shmem, read, large", "shmem", 512 * MIB, 3, 2)


def test_a_quiet_machine_is_found_again_and_predicts_what_is_larger(simulated):
    truth = simulated(0.001)
    found = calibrate(0.001, "box", checks=(LARGE,))
    assert found.quiet and found.drift < QUIET and found.passes >= 2
    for name, value in truth.items():
        assert found.model.get(name).value == pytest.approx(value, rel=0.1), name
    assert found.checks
    assert all(abs(one.error) < 0.02 for one in found.checks)
    assert found.model.basis == "calibrated"
    assert found.model.environment["passes"] == found.passes
    assert found.model.get("network_byte") is None


def test_a_noisy_machine_has_nulls_instead_of_wide_numbers(simulated):
    simulated(0.4)
    found = calibrate(0.001, "box", checks=())
    assert not found.quiet
    rows = {row["name"]: row for row in found.costs()}
    assert any(row["value"] is None for name, row in rows.items() if name.startswith("fault"))
    for name, row in rows.items():
        if row["value"] is not None and not name.endswith(("_far", "_beyond", "_bytes")):
            assert row["high"] - row["value"] <= 0.5 * row["value"], name
            assert row["value"] - row["low"] <= 0.5 * row["value"], name


def test_what_the_machine_lacks_is_null_and_said(simulated):
    simulated(0.001, lacking=("hugetlb",))
    found = calibrate(0.001, "box", checks=())
    assert found.model.get("fault_hugetlb") is None
    assert found.lacking["hugetlb, split"] == "no hugetlb here"
    assert found.model.get("fault_read") is not None


def test_a_machine_that_shows_nothing_is_an_error(simulated):
    simulated(0.001, lacking=tuple({one.mechanism for one in EXPERIMENTS}))
    with pytest.raises(CapabilityError, match="nothing can be measured here: no"):
        calibrate(0.001)


@pytest.mark.parametrize(("keys", "said"), [({"budget_s": 0}, "budget=0"), ({"name": "a/b"}, "name=a/b")])
def test_wrong_arguments_are_named(keys, said):
    with pytest.raises(ConfigError, match=said):
        calibrate(**keys)


def test_a_profile_is_written_whole_and_read_back(simulated, tmp_path):
    simulated(0.001)
    model = calibrate(0.001, "box", checks=()).model
    path = write_profile(model, tmp_path / "conf" / "cost")
    assert path.name == "box.yaml"
    assert list(path.parent.iterdir()) == [path]
    assert CostModel.of(yaml.safe_load(path.read_text())).digest == model.digest
