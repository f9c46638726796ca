"""The engines that cells name, and why this machine can't start the others."""

from dataclasses import replace

import pytest

from mshare_bench.config.request import read_request
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.cells import Cells
from mshare_bench.errors import CapabilityError
from mshare_bench.real import engine as real
from mshare_bench.real.environment import machine_digest, read_environment
from mshare_bench.sim.points import make_point
from mshare_bench.study.engines import engines_of, hosts_of, model_of, where_here

POINT = make_point("shmem", 2, 1 << 20)


def test_only_what_cells_name_is_started() -> None:
    request = read_request([])
    for names in ((), ("sim",), ("real",), ("sim", "real")):
        engines, lacking = engines_of(Cells.of([Cell(POINT, name) for name in names]), request, {})
        assert (set(engines), lacking) == (set(names), {})
        assert hosts_of(engines) is None  # nobody is to be prepared where no guest is named


def test_the_settings_reach_the_real_engine() -> None:
    request = read_request(["guard.reserve=3GiB", "real.timeout=7s", "real.parallel=1", "samples=none"])
    engines, _ = engines_of(Cells.of([Cell(POINT, "real")]), request, {})
    made = engines["real"]
    assert isinstance(made, real.RealEngine)
    assert made._options == real.RealOptions(reserve=3 << 30, parallel=1, timeout=7.0, samples="none")


def test_an_engine_that_can_not_be_started_is_a_reason_and_the_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: object) -> None:
        raise CapabilityError("no kernel here")

    monkeypatch.setattr(real, "RealEngine", lacks)
    engines, lacking = engines_of(Cells.of([Cell(POINT), Cell(POINT, "real")]), read_request([]), {})
    assert set(engines) == {"sim"}
    assert lacking == {"real": "no kernel here"}


@pytest.mark.parametrize("name", ["sim", "real"])
def test_the_version_that_a_cells_digest_holds_is_that_of_the_engine_that_runs_it(name: str) -> None:
    cell = Cell(POINT, name)  # type: ignore[arg-type]
    engines, _ = engines_of(Cells.of([cell]), read_request([]), {})
    assert model_of(name) == engines[name].model
    assert replace(cell, model=model_of(name)).digest != replace(cell, model=model_of(name) + "x").digest
    assert len({model_of(one) for one in ("sim", "real", "application")}) == 3


def test_rows_say_which_machine_this_is() -> None:
    here = where_here()
    assert here.machine == machine_digest()
    assert here.facts == read_environment()
