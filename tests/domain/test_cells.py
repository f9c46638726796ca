"""Cells as columns: the same cells come out, whatever was done with them meanwhile."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.config.parts import CellContext
from mshare_bench.config.request import candidates, read_request
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.cells import Cells
from mshare_bench.sweep.axes import Assignments, join_axes
from mshare_bench.workloads.registry import workloads


def cell(processes: int, mechanism: str = "shmem", engine: str = "sim", repeat: int = 0, **own: object) -> Cell:
    workload = workloads()["region"].resolve(processes=processes)
    point = replace(Point(workload, mechanism, "", 4096), **own)  # type: ignore[arg-type]
    return Cell(point, engine=engine, machine="m" if engine == "real" else "", repeat=repeat)  # type: ignore[arg-type]


SEVERAL = [
    cell(1), cell(2, "mshare"), cell(1), cell(2, "thp", "real", 3), cell(3, offset=4096, topology="xeon_2s"),
    cell(3, write_fraction=0.5, populate="first_touch"), cell(2, "mshare", repeat=1),
]  # fmt: skip
SOME = st.lists(st.sampled_from(SEVERAL), max_size=12)


def digests(cells: Cells) -> list[tuple[str, str, str, int]]:
    return [(one.digest, one.point.digest, one.point.baseline_digest, one.repeat) for one in cells]


@given(SOME)
def test_cells_are_what_went_in(given_: list[Cell]) -> None:
    cells = Cells.of(given_)
    assert list(cells) == given_ == [cells[at] for at in range(len(cells))] and len(cells) == len(given_)
    found = [(one.digest, one.point.digest, one.point.baseline_digest) for one in given_]
    assert [tuple(row) for row in cells.digests.astype(str)] == found
    assert cells.keys == [(one.digest, one.repeat) for one in given_]
    assert Cells.of(cells) is cells


@given(SOME, SOME, st.data())
def test_what_is_taken_joined_or_sent_is_what_it_was(
    first: list[Cell], second: list[Cell], data: st.DataObject
) -> None:
    known = data.draw(st.booleans(), "digests were asked for before")
    parts = [Cells.of(first), Cells.of(second)]
    if known:
        assert all(part.digests is not None for part in parts)
    both = Cells.joined(parts)
    assert list(both) == first + second
    places = data.draw(st.lists(st.sampled_from(range(len(both))), max_size=9)) if both else []
    some = both.take(np.array(places, np.int64))
    assert list(some) == [(first + second)[place] for place in places]
    again = pickle.loads(pickle.dumps(some))
    assert again == some == list(some) and digests(again) == digests(some)
    assert list(both[1:3]) == (first + second)[1:3]


def test_only_what_cells_are_made_of_is_sent() -> None:
    many = Cells.of([cell(n) for n in range(1, 400)])
    sent = pickle.loads(pickle.dumps(many.take(np.array([7, 3]))))
    assert [task.workload.processes for task in sent.tasks] == [4, 8]
    assert [one.point.workload.processes for one in sent] == [8, 4]


def test_conditions_are_asked_of_parts() -> None:
    cells = Cells.of(SEVERAL)
    asked: list[int] = []

    def large(task: object) -> bool:
        asked.append(1)
        return task.workload.processes > 1  # type: ignore[attr-defined]

    mask = cells.whose(task=large, runner=lambda one: one.engine == "sim", place=lambda one: one.topology == "here")
    assert mask.tolist() == [False, True, False, False, False, True, True]
    assert len(asked) == len(cells.tasks) <= len(SEVERAL)
    assert {runner.engine for runner in cells.runners} == {"sim", "real"}
    assert {runner.engine for runner in cells.take(~cells.whose(runner=lambda one: one.engine == "real")).runners} == {
        "sim"
    }


def test_repeats_keep_the_digests() -> None:
    cells = Cells.of([cell(1, repeat=5), cell(2)])
    found = cells.repeated([2, 3])
    assert (found.repeats.tolist(), found.digests.tolist()) == ([2, 3], cells.digests.tolist())
    assert list(cells.repeated(9)) == [cell(1, repeat=9), cell(2, repeat=9)]


def test_unequal_where_a_cell_is() -> None:
    assert Cells.of([cell(1)]) != [cell(2)] and Cells.of([cell(1)]) != [cell(1), cell(1)]
    assert Cells.of([cell(1)]) != 1
    with pytest.raises(IndexError):
        Cells.of([cell(1)])[1]


def test_a_plan_of_many_gives_the_cells_that_one_by_one_gives() -> None:
    overrides = [
        "workload=region,container_libs,vm_hosts,hpc_ranks",
        "mechanism=shmem,mshare,hugetlb",
        "processes=8,33",
    ]
    overrides += ["region=256MiB,1GiB", "cost=zen3_2s,none", "access=fraction,dense"]
    request = read_request(overrides, multirun=True)
    (points,) = request.point_sets
    axes = Assignments.of_axes(join_axes(points.axes))
    together = candidates(request, points, axes, CellContext()).cells
    alone = [
        one for row in axes for one in candidates(request, points, Assignments.of_rows([row]), CellContext()).cells
    ]
    assert len(together) == 4 * 3 * 2 * 2 * 2 * 2
    assert list(together) == alone and digests(together) == digests(Cells.of(alone))
