"""Values to cells: what is refused, and for whom."""

from typing import Any

import pytest

from mshare_bench.config.cells import CellMaker
from mshare_bench.config.composer import Composer
from mshare_bench.config.parts import CellContext, Claims
from mshare_bench.domain.cell import Cell
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.sweep.axes import Assignments

COMPOSITION = Composer().compose([])


def made(context: CellContext | None = None, **leaves: Any) -> dict[str, tuple[Cell, str | None]]:
    claims = Claims()
    maker = CellMaker(COMPOSITION, context or CellContext(), claims)
    named = {key.replace("__", "."): value for key, value in leaves.items()}
    found = maker.cells(Assignments.of_rows([named]))
    claims.check()
    return {cell.point.mechanism: (cell, why) for cell, why in zip(found.cells, found.refused, strict=True)}


def test_all_is_every_registered_mechanism() -> None:
    assert set(made()) == set(mechanisms())


def test_what_one_of_all_cannot_do_is_refused_with_the_reason() -> None:
    found = made(offset="4KiB")
    assert "offset=4096" in (found["mshare"][1] or "")
    assert found["shmem"][1] is None


def test_what_a_named_one_cannot_do_is_an_error() -> None:
    with pytest.raises(ConfigError, match="offset=4096"):
        made(CellContext(mechanism_named=True), offset="4KiB", mechanism__name="mshare")


def test_an_option_that_none_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"mechanism\.colour=blue"):
        made(mechanism__colour="blue")
    with pytest.raises(ConfigError, match="page=8192"):
        made(page="8KiB")


def test_models_and_machine_go_into_the_cell() -> None:
    context = CellContext(model={"sim": "s-1", "real": "r-1"}.__getitem__, machine="m", seed=5)
    sim, real = (made(context, engine=engine)["shmem"][0] for engine in ("sim", "real"))
    assert (sim.model, sim.machine, sim.seed) == ("s-1", "", 5)
    assert (real.model, real.machine, real.cost) == ("r-1", "m", "")


def test_only_predictions_are_extrapolated() -> None:
    assert made(engine="sim", extrapolated=True)["shmem"][0].extrapolated
    assert not made(engine="real", extrapolated=True)["shmem"][0].extrapolated
