import pytest

from mshare_bench.calibration import scale as module
from mshare_bench.calibration.calibrate import Check
from mshare_bench.calibration.scale import at_scale, judge
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.real.guard import HostRoom


def _room(available: int) -> HostRoom:
    return HostRoom(available, "MemAvailable", 1 << 20, "pid_max")


def test_what_shares_its_data_runs_at_the_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_host", lambda: _room(20 * GIB))
    made = {one.name: one for one in at_scale()}
    shared = [one for one in made.values() if one.mechanism in ("shmem", "sysv", "file", "thp", "hugetlb", "shared_mm")]
    assert len(shared) == 7
    assert all((one.region, one.processes) == (GIB, 500) for one in shared)
    assert "shmem, write, 1 GiB x 500 processes" in made


@pytest.mark.parametrize(("available", "most"), [(20 * GIB, 15), (8 * GIB, 3)])
def test_what_copies_it_runs_as_large_as_the_guard_allows_and_says_so(
    monkeypatch: pytest.MonkeyPatch, available: int, most: int
) -> None:
    monkeypatch.setattr(module, "read_host", lambda: _room(available))
    copied = [one for one in at_scale() if one.mechanism in ("anon_thp", "inherit", "ksm")]
    assert len(copied) == 3
    for one in copied:
        assert 2 <= one.processes <= most
        assert f"1 GiB x {one.processes} processes" in one.name


def test_what_does_not_fit_at_all_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_host", lambda: _room(5 * GIB))
    assert {one.mechanism for one in at_scale(64 * MIB)} >= {"ksm", "inherit"}
    assert not {one.mechanism for one in at_scale()} & {"ksm", "inherit", "anon_thp"}


def test_errors_are_judged_by_their_median_and_the_worst() -> None:
    def checks(*errors: float) -> list[Check]:
        return [Check("x", "touch", 100 * (1 + error), 100) for error in errors]

    good = judge(checks(0.05, -0.1, 0.24))
    assert good is not None
    assert good.passed
    assert good.median == pytest.approx(0.1)
    for errors in ((0.05, -0.1, 0.26), (0.11, -0.12, 0.13), (0.0, 0.0, -0.3)):
        verdict = judge(checks(*errors))
        assert verdict is not None
        assert not verdict.passed
    assert judge([]) is None
