"""Overrides to points: what changes a point, what does not, and that leaves set without a compose equal composed ones."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.config.composer import Composer
from mshare_bench.config.overrides import spell
from mshare_bench.config.parts import CellContext
from mshare_bench.config.request import PointSet, Request, candidates, read_request, read_where
from mshare_bench.domain.cell import Cell
from mshare_bench.errors import ConfigError
from mshare_bench.sweep.axes import Assignments, join_axes


def cells(*overrides: str, multirun: bool = False) -> list[Cell]:
    request = read_request(overrides, multirun=multirun)
    found = []
    for points in request.point_sets:
        context = CellContext(mechanism_named=points.mechanism_named)
        found += candidates(request, points, Assignments.of_axes(join_axes(points.axes)), context).cells
    return found


def point(**values: Any) -> str:
    (cell,) = cells(*(spell(key.replace("__", "."), value) for key, value in values.items()))
    return cell.point.digest


BASE: dict[str, Any] = {
    "workload": "vm_hosts", "mechanism": "mshare", "mechanism__interface": "flag", "processes": 8, "region": "64MiB",
    "offset": "2MiB", "access": "fraction", "access__fraction": 0.5, "write_fraction": 0.5, "populate": "controller",
    "topology": "xeon_2s", "placement": "first_touch", "workload__peers": 1,
}  # fmt: skip
OTHER: dict[str, Any] = {
    "workload": "region", "mechanism": "shmem", "mechanism__interface": "msharefs", "processes": 16, "region": "128MiB",
    "offset": "4MiB", "access": "dense", "access__fraction": 0.25, "write_fraction": 0.0, "populate": "first_touch",
    "topology": "xeon_4s", "placement": "interleave", "workload__peers": 3,
}  # fmt: skip
NEEDS = {"workload": ["workload__peers"], "mechanism": ["mechanism__interface"], "access": ["access__fraction"]}


@pytest.mark.parametrize("key", sorted(OTHER))
def test_every_coordinate_changes_the_point(key: str) -> None:
    base = dict(BASE)
    if key == "mechanism__interface":  # msharefs maps aligned windows only
        base["offset"] = 0
    changed = {**base, key: OTHER[key]}
    for gone in NEEDS.get(key, []):
        del changed[gone]
    assert point(**base) != point(**changed)


@given(
    first=st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(0, 50), st.floats(0, 1), st.sampled_from("ab")),
    second=st.tuples(
        st.integers(1, 50), st.integers(1, 50), st.integers(0, 50), st.floats(0, 1), st.sampled_from("ab")
    ),
)
@settings(max_examples=60, deadline=None)
def test_points_are_equal_exactly_where_coordinates_are(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    request, points = _request()

    def digest(values: tuple[Any, ...]) -> str:
        processes, pages, offset, writes, populate = values
        row = {
            "processes": processes, "region": pages * 4096, "offset": offset * 4096, "write_fraction": writes,
            "populate": {"a": "controller", "b": "first_touch"}[populate],
        }  # fmt: skip
        (found,) = candidates(request, points, Assignments.of_rows([row]), CellContext()).cells
        return found.point.digest

    assert (digest(first) == digest(second)) == (first == second)


_shared: list[tuple[Request, PointSet]] = []


def _request() -> tuple[Request, PointSet]:
    if not _shared:
        request = read_request(["mechanism=shmem"])
        _shared.append((request, request.point_sets[0]))
    return _shared[0]


WHERE_AND_HOW = {
    "out": st.sampled_from(["a", "b/c"]), "tracking": st.sampled_from(["none", "mlflow"]), "seed": st.integers(0, 99),
    "executor": st.sampled_from(["inline", "ray", "auto"]), "repeats": st.integers(1, 9), "guard.reserve": st.just("1GiB"),
    "real.processes": st.integers(1, 99), "real.timeout": st.just("9s"), "cluster.silence": st.just("5s"),
    "name": st.just("x"), "warmups": st.integers(0, 3), "samples": st.sampled_from(["all", "none"]),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=WHERE_AND_HOW))
@settings(max_examples=10, deadline=None)
def test_where_and_how_does_not_change_the_point(keys: dict[str, Any]) -> None:
    overrides = [spell(key, value) for key, value in keys.items()]
    assert [cell.point.digest for cell in cells("mechanism=shmem", *overrides)] == [
        cell.point.digest for cell in cells("mechanism=shmem")
    ]


def test_defaults_are_the_workloads() -> None:
    (cell,) = cells("mechanism=shmem")
    workload = cell.point.workload
    assert (workload.name, workload.processes, workload.region_bytes) == ("region", 64, 1 << 30)
    assert (cell.point.access.kind, cell.point.write_fraction, cell.engine) == ("dense", 0.0, "sim")


def test_a_size_may_be_written_in_any_way() -> None:
    assert len({point(mechanism="shmem", region=size) for size in ("1GiB", "1024MiB", 1 << 30, "1G")}) == 1


def test_cells_without_a_compose_equal_composed_ones() -> None:
    axes = {
        "workload": ["region", "vm_hosts", "db_buffer_pool"], "mechanism": ["shmem", "mshare", "thp"],
        "processes": [4, 40, 400], "region": ["512MiB", "2GiB"], "access": ["sparse", "dense"], "write_fraction": [0.0, 0.25],
    }  # fmt: skip
    derived = cells(*(spell(key, values) for key, values in axes.items()), multirun=True)
    assert len(derived) == 3 * 3 * 3 * 2 * 2 * 2
    rows = list(Assignments.of_axes(join_axes([(key, tuple(values)) for key, values in axes.items()])))
    for index in random.Random(1).sample(range(len(rows)), 20):
        (composed,) = cells(*(spell(key, value) for key, value in rows[index].items()))
        assert composed == derived[index]


def test_group_choices_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[tuple[str, ...]] = []
    compose = Composer._compose
    monkeypatch.setattr(Composer, "_compose", lambda self, key: composed.append(key) or compose(self, key))
    cells(
        "workload=region,hpc_ranks",
        "mechanism=shmem,thp",
        f"processes={','.join(map(str, range(1, 200)))}",
        multirun=True,
    )
    assert len(composed) == len(set(composed)) <= 5


def test_option_goes_to_those_that_have_it() -> None:
    variants = {
        cell.point.mechanism: cell.point.variant for cell in cells("mechanism=all", "mechanism.pmd_sharing=false")
    }
    assert variants["hugetlb"] == "pmd_sharing=false"
    assert variants["shmem"] == ""
    pages = {cell.point.mechanism: cell.point.page for cell in cells("mechanism=all", "page=1GiB")}
    assert (pages["hugetlb"], pages["shmem"]) == (1 << 30, 4096)


def test_parameters_alone_change_the_workloads_own_pattern() -> None:
    (cell,) = cells("workload=db_buffer_pool", "mechanism=shmem", "access.skew=1.5")
    assert (cell.point.access.kind, cell.point.access.skew) == ("zipf", 1.5)
    with pytest.raises(ConfigError, match=r"access\.step"):
        cells("workload=db_buffer_pool", "mechanism=shmem", "access.step=4096")


def test_engine_both() -> None:
    both = cells("mechanism=shmem", "engine=both")
    assert [cell.engine for cell in both] == ["sim", "real"]
    assert both[0].point.digest == both[1].point.digest
    assert both[0].digest != both[1].digest


def test_the_users_word_counts_in_an_experiment_of_point_sets() -> None:
    found = cells("experiment=headline", "mechanism=shmem", "engine=sim", "processes=7")
    assert [(cell.point.mechanism, cell.point.workload.processes) for cell in found] == [("shmem", 7), ("shmem", 7)]
    assert [cell.point.access.kind for cell in found] == ["dense", "sparse"]
    assert [cell.extrapolated for cell in found] == [True, False]


def test_axes_of_a_configuration_need_no_multirun(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text(
        "defaults: [grid, _self_]\n"
        "axes: {processes: 1..100*10, mechanism.interface: [msharefs, flag], mechanism: mshare}\n"
        "zip: []\nwhere: processes > 1\n"
    )
    request = read_request(["sweep=mine"], config_dir=str(tmp_path))
    (points,) = request.point_sets
    assert dict(points.axes) == {
        "processes": (1, 10, 100), "mechanism.interface": ("msharefs", "flag"), "mechanism": ("mshare",),
    }  # fmt: skip
    assert request.shape.where == "processes > 1"
    context = CellContext()
    found = candidates(request, points, Assignments.of_axes(join_axes(points.axes)), context).cells
    assert {(one.point.workload.processes, one.point.variant) for one in found} == {
        (processes, variant) for processes in (1, 10, 100) for variant in ("", "interface=flag")
    }
    (fewer,) = read_request(["sweep=mine", "processes=7"], config_dir=str(tmp_path)).point_sets
    assert "processes" not in dict(fewer.axes)


@pytest.mark.parametrize(
    "override",
    [
        "sweep.zip=processes",
        "sweep.zip=[processes]",
        "sweep.order=up",
        "+sweep.axes.out=[a,b]",
        "+sweep.axes.region=[]",
    ],
)
def test_shapes_that_are_none(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_request(["mechanism=shmem", override])
    assert override.lstrip("+").partition("=")[0] in str(caught.value) or "region=[]" in str(caught.value)


def test_conditions_are_written_as_they_are() -> None:
    request = read_request(["mechanism=shmem", "sweep.where=processes*region<=64GiB and mechanism != 'thp'"])
    assert request.shape.where == "processes*region<=64GiB and mechanism != 'thp'"


@pytest.mark.parametrize(
    ("points", "named"),
    [
        ("points: []", "points=[]"),
        ("points: 3", "points=3"),
        ("points: [{}]", "points="),
        ("points: [{proceses: 3}]", "did you mean processes?"),
        ("points: [{processes: 3, out: x}]", "out=x"),
        ("points: [{processes: [], mechanism: shmem}]", "processes=[]"),
        ("points: [{processes: many, fit: true}]", "real.processes=many"),
    ],
)
def test_points_that_are_none(tmp_path: Path, points: str, named: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{points}\n")
    with pytest.raises(ConfigError) as caught:
        read_request(["experiment=mine"], config_dir=str(tmp_path))
    assert named in str(caught.value)


def test_a_verb_that_chooses_what_runs_takes_where_and_how() -> None:
    request = read_where(["real.scale=small", "out=x", "tracking=none"], "validate")
    assert (request.settings.real.scale, request.settings.out, request.settings.tracking) == ("small", "x", "none")
    assert not request.values.get("cost.name") and not request.point_sets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processes=5", "processes=5: validate chooses by itself"),
        ("mechanism.interface=flag", "validate chooses by itself"),
        ("experiment=headline", "validate chooses by itself"),
        ("real.scale=small,full", "one value of each key"),
        ("real.scale=tiny", "real.scale=tiny"),
        ("cost=nowhere", "cost=nowhere"),
        ("out", "not an override"),
    ],
)
def test_such_a_verb_refuses_coordinates_and_lists(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_where([text], "validate")


def test_a_group_set_to_null_is_one_line() -> None:
    with pytest.raises(ConfigError, match="Config group override"):
        Composer().compose(["access=null"])


def test_what_was_calibrated_prices_simulated_cells_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mshare-bench" / "conf" / "cost").mkdir(parents=True)
    profile = "name: here\ncosts: [{name: timer, value: 1, unit: ns, source: test}]\n"
    (tmp_path / "mshare-bench" / "conf" / "cost" / "here.yaml").write_text(profile)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    assert cells("mechanism=shmem")[0].cost == ""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cells("mechanism=shmem")[0].cost == "here"
    assert cells("mechanism=shmem", "cost=none")[0].cost == ""
