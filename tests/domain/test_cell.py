"""Digests of points and cells: by them stores that are there are resumed, so they must stay what they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mshare_bench.config.parts import CellContext
from mshare_bench.config.request import candidates, read_request
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.digest import digest
from mshare_bench.sweep.axes import Assignments, join_axes

# Taken when stores of this schema were first written. `cell` is null where it follows from a topology's figures.
RECORDED = json.loads((Path(__file__).parents[1] / "data" / "digests.json").read_text())


def cells(overrides: list[str], multirun: bool) -> list[Cell]:
    request = read_request(overrides, multirun=multirun)
    context = CellContext(lambda engine: f"{engine}-1", "m-1")
    found = []
    for points in request.point_sets:
        found += candidates(request, points, Assignments.of_axes(join_axes(points.axes)), context).cells
    return found


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda one: " ".join(one["overrides"]))
def test_digests_are_those_that_stores_hold(recorded: dict[str, Any]) -> None:
    found = cells(recorded["overrides"], recorded["multirun"])
    assert len(found) == len(recorded["digests"])
    for one, (point, baseline, cell) in zip(found, recorded["digests"], strict=True):
        assert (one.point.digest, one.point.baseline_digest) == (point, baseline)
        assert cell in (None, one.digest)


@pytest.mark.parametrize(
    "overrides",
    [
        ["workload=container_libs,vm_hosts", "mechanism=shmem,hugetlb", "cost=zen3_2s,none", "mmu=zen5,haswell_ex"],
        [
            "topology=xeon_2s",
            "placement=interleave,bind",
            "mechanism=mshare",
            "mechanism.interface=flag",
            "offset=2MiB",
        ],
    ],
    ids=str,
)
def test_a_digest_is_that_of_the_plain_values(overrides: list[str]) -> None:
    found = cells(overrides, multirun=True)
    for cell in found:
        values = cell.point.coordinates
        assert cell.point.digest == digest(values)
        common = {key: value for key, value in values.items() if key not in ("mechanism", "variant", "page")}
        assert cell.point.baseline_digest == digest(common)
        keys = ("engine", "host", "machine", "cost", "model")
        own = {"mmu": cell.mmu.digest} if cell.mmu else {}
        assert cell.digest == digest({"point": digest(values), **own, **{key: getattr(cell, key) for key in keys}})
    assert len({cell.digest for cell in found}) == len(found)


def test_a_copy_that_is_changed_has_a_digest_of_its_own() -> None:
    (cell,) = cells(["mechanism=shmem"], multirun=False)
    assert cell.digest and cell.point.digest and cell.point.baseline_digest
    point = replace(cell.point, offset=4096)
    assert point.digest == digest(point.coordinates) != cell.point.digest
    assert point.baseline_digest != cell.point.baseline_digest
    assert replace(cell, point=point).digest != cell.digest != replace(cell, machine="other").digest
    assert replace(cell, repeat=1).digest == cell.digest
