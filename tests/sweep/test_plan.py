"""Plans: every cell once, repeats, what is missing."""

from dataclasses import replace

import pytest

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.errors import ConfigError
from mshare_bench.sweep.plan import Refusal, finished_on, make_plan
from mshare_bench.workloads.registry import workloads


def cell(processes: int, engine: str = "sim") -> Cell:
    workload = workloads()["region"].resolve(processes=processes)
    return Cell(Point(workload, "shmem", "", 4096), engine=engine)  # type: ignore[arg-type]


def test_a_cell_that_comes_twice_runs_once() -> None:
    plan = make_plan([cell(1), cell(2), cell(1)], {})
    assert list(plan.cells) == [cell(1), cell(2)]


def test_repeats_by_engine() -> None:
    plan = make_plan([cell(1), cell(1, "real")], {"real": 3})
    assert [(one.engine, one.repeat) for one in plan.cells] == [("sim", 0), ("real", 0), ("real", 1), ("real", 2)]


def test_refusals_do_not_run() -> None:
    plan = make_plan([cell(1), cell(2)], {}, refused=["no", None])
    assert plan.refusals == (Refusal(cell(1), "no"),)
    assert list(plan.cells) == [cell(2)]


def test_missing_is_what_is_not_finished() -> None:
    plan = make_plan([cell(1, "real")], {"real": 3})
    finished = {plan.cells.keys[0], plan.cells.keys[2], ("something else", 0)}
    assert [one.repeat for one in plan.missing(finished)] == [1]


def test_the_digest_is_of_what_runs_in_whatever_order() -> None:
    one, other = (make_plan([cell(n) for n in order], {}) for order in ((1, 2), (2, 1)))
    assert one.digest == other.digest
    assert one.digest != make_plan([cell(1)], {}).digest


def test_no_cell_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no cell"):
        make_plan([], {})


def test_orders() -> None:
    candidates = [cell(n, "real") for n in range(1, 9)]

    def order(name: str, seed: int = 0) -> list[tuple[int, int]]:
        plan = make_plan(candidates, {"real": 2}, name, seed)
        return [(one.point.workload.processes, one.repeat) for one in plan.cells]

    assert order("grouped") == [(n, repeat) for n in range(1, 9) for repeat in (0, 1)]
    assert order("interleaved") == [(n, repeat) for repeat in (0, 1) for n in range(1, 9)]
    assert sorted(order("random")) == sorted(order("grouped"))
    assert order("random") == order("random") != order("random", seed=1) != order("grouped")


def test_a_real_cell_is_done_once_any_of_several_machines_has_run_it() -> None:
    here, there = cell(1), cell(2)
    real = [replace(one, engine="real", machine="a") for one in (here, there)]
    plan = make_plan([*real, here], {})
    done = {(replace(real[0], machine="b").digest, 0)}
    assert list(plan.missing(finished_on(plan, done, ["a", "b"]))) == [real[1], here]
    assert list(plan.missing(finished_on(plan, done, ["a"]))) == [*real, here]
