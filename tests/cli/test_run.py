"""`mshare-bench run`: the command contract, bad input, exit codes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mshare_bench.cli import main
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.study import load
from tests.cli.printed import json_rows

pytestmark = pytest.mark.usefixtures("own_folder")


def test_contract_named_mechanism(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = json_rows(
        capsys,
        "run",
        "mechanism=hugetlb",
        "processes=500",
        "region=8000MiB",
        "engine=sim",
        f"out={tmp_path}/o",
        "tracking=none",
    )
    (row,) = rows
    assert (row["mechanism"], row["processes"], row["region_bytes"]) == ("hugetlb", 500, 8000 << 20)
    assert (tmp_path / "o" / "cells.arrow").is_file()


def test_contract_multirun_is_one_plan_and_one_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = json_rows(
        capsys, "run", "-m", "mechanism=shmem,hugetlb,mshare", "processes=10,100", "region=64MiB,1GiB", "engine=sim",
        "executor=inline", f"out={tmp_path}/o", "tracking=none",
    )  # fmt: skip
    seen = {(row["mechanism"], row["processes"], row["region_bytes"]) for row in rows}
    assert seen == {(m, p, r) for m in ("shmem", "hugetlb", "mshare") for p in (10, 100) for r in (64 << 20, 1 << 30)}
    assert len({row["sweep"] for row in rows}) == 1
    assert [path.name for path in tmp_path.glob("**/cells.arrow")] == ["cells.arrow"]


def test_contract_option_of_a_mechanism(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json_rows(
        capsys, "run", "mechanism=mshare", "mechanism.interface=flag", "processes=100", "region=1GiB", "tracking=none"
    )
    assert [row["variant"] for row in rows] == ["interface=flag"]
    assert len(list(Path("mshare-runs").iterdir())) == 1


def test_contract_all_mechanisms_with_a_pattern(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(
        ["run", "mechanism=all", "workload=hpc_ranks", "processes=64", "region=2GiB", "access=fraction", "access.fraction=0.25",
         f"out={tmp_path}/o", "tracking=none", "--json"]
    )  # fmt: skip
    rows = json.loads(capsys.readouterr().out)
    assert {row["mechanism"] for row in rows} == set(mechanisms())
    assert {(row["access"], json.loads(row["access_params"])["fraction"]) for row in rows} == {("fraction", 0.25)}


def test_contract_experiment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = json_rows(capsys, "run", "experiment=oracle_sga", "mechanism=shmem", "tracking=none", f"out={tmp_path}/o")
    assert [(row["processes"], row["region_bytes"]) for row in rows] == [(1500, 300 << 30)]
    assert rows[0]["pte_table_bytes"] / (1 << 30) == pytest.approx(878.906, abs=0.001)


@pytest.mark.parametrize(
    ("mechanism", "table_bytes"),
    [("shmem", 21_053_440_000), ("mshare", 2_105_344), ("hugetlb", 4096 + 10_000 * 4096)],
)
def test_figures_of_the_article(capsys: pytest.CaptureFixture[str], mechanism: str, table_bytes: int) -> None:
    (row,) = json_rows(capsys, "run", f"mechanism={mechanism}", "processes=10000", "region=1GiB", "tracking=none")
    assert row["page_table_bytes"] == table_bytes


def test_a_point_that_one_of_all_cannot_do_is_a_skipped_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json_rows(capsys, "run", "mechanism=all", "offset=4096", "processes=2", "region=64MiB", "tracking=none")
    skipped = {row["mechanism"]: row["error"] for row in rows if row["status"] == "skipped"}
    assert "mshare" in skipped and "offset=4096" in skipped["mshare"]
    assert {row["status"] for row in rows if row["mechanism"] == "shmem"} == {"ok"}


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "mechanism=shmem", "processes=2", "tracking=none", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_interrupt_keeps_what_finished(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mshare_bench.cluster import batch, inline

    run_batch, calls = batch.run_batch, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_batch(*arguments)

    monkeypatch.setattr(inline, "run_batch", interrupted)
    monkeypatch.setattr(inline, "batches", lambda cells: batch.batches(cells, simulated=1))
    command = [
        "run",
        "-m",
        "mechanism=shmem,mshare",
        "processes=1,2",
        "executor=inline",
        "tracking=none",
        f"out={tmp_path}/o",
    ]
    assert main(command) == 130
    assert load(tmp_path / "o").cells.num_rows == 1
    monkeypatch.undo()
    assert main(command) == 0
    assert load(tmp_path / "o").statuses == {"ok": 4}


def test_refused_by_the_guard(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "mechanism=shmem", "processes=4000000", "region=1GiB", "tracking=none", "--json"]
    assert main([*command, "engine=real"]) == 3
    (row,) = json.loads(capsys.readouterr().out)
    assert row["status"] == "skipped" and "would fit" in row["error"]
    assert main([*command, "engine=both"]) == 1  # the prediction ran


# Bad input: one line that names the key and the value, no traceback, nothing half-written.

BAD = [
    (["mechanism=hugetbl"], ("mechanism=hugetbl", "hugetlb")),
    (["workload=hpc_rank"], ("workload=hpc_rank", "hpc_ranks")),
    (["workload=no_such_thing_at_all"], ("workload=no_such_thing_at_all", "region")),
    (["experiment=headlin"], ("experiment=headlin", "headline")),
    (["topology=xeon_3s"], ("topology=xeon_3s", "xeon_2s")),
    (["access=dens"], ("access=dens", "dense")),
    (["proceses=3"], ("proceses", "processes")),
    (["processes=3", "reserve=1GiB"], ("reserve", "guard.reserve")),
    (["mechanism=mshare", "mechanism.interfce=flag"], ("mechanism.interfce", "mechanism.interface")),
    (["mechanism=mshare", "mechanism.interface=flg"], ("mechanism.interface=flg", "flag")),
    (["mechanism=shmem", "mechanism.interface=flag"], ("mechanism.interface=flag", "shmem")),
    (["region=12quux"], ("region=12quux",)),
    (["region=-1GiB"], ("region=-1GiB",)),
    (["region=5000"], ("region=5000", "4096")),
    (["mechanism=hugetlb", "region=5MiB"], ("region=5242880", "2MiB")),
    (["mechanism=shmem", "page=2MiB"], ("page=2MiB", "shmem")),
    (["page=3MiB"], ("page=3145728", "2MiB")),
    (["region=1PiB"], ("region=1 PiB", "address space")),
    (["processes=-3"], ("processes=-3",)),
    (["processes=0"], ("processes=0",)),
    (["processes=many"], ("processes=many",)),
    (["offset=-4096"], ("offset=-4096",)),
    (["offset=100"], ("offset=100",)),
    (["offset=600GiB"], ("offset=",)),
    (["engine=simm"], ("engine=simm", "sim")),
    (["executor=rayy", "processes=1"], ("executor=rayy", "ray")),
    (["populate=later"], ("populate=later", "first_touch")),
    (["write_fraction=1.5"], ("write_fraction=1.5",)),
    (["write_fraction=some"], ("write_fraction=some",)),
    (["access=fraction", "access.fraction=2"], ("access.fraction=2",)),
    (["access=dense", "access.fraction=0.5"], ("access.fraction=0.5", "dense")),
    (["access=stride", "access.step=3KiB"], ("access.step=3072",)),
    (["repeats=0", "processes=1"], ("repeats=0",)),
    (["guard.reserve=lots", "processes=1"], ("guard.reserve=lots",)),
    (["mechanism=mshare", "offset=4096"], ("offset=4096", "512 GiB")),
    (["mechanism=hugetlb", "offset=4096"], ("offset=4096", "2MiB")),
    (["mechanism=mshare", "mechanism.mapping=private"], ("mechanism.mapping=private", "MAP_PRIVATE", "interface=ideal")),
    (["mechanism=mshare", "mechanism.interface=flag", "region=3MiB"], ("region=3145728", "2 MiB units")),
    (["mechanism=mshare", "mechanism.flush=some"], ("mechanism.flush=some", "cpumask")),
    (["mechanism=mshare", "mechanism.strict_permissions=maybe"], ("mechanism.strict_permissions=maybe", "bool")),
    (["mechanism=shmem", "mechanism.flush=list"], ("mechanism.flush=list", "shmem")),
    (["processes=10,100"], ("processes=10,100", "run -m ")),
    (["-m", "seed=1,2", "processes=1"], ("seed=1,2", "repeats")),
    (["-m", "out=a,b", "processes=1"], ("out=a,b",)),
    (["-m", "processes=glob(x*)"], ("processes=glob(x*)",)),
    (["processes"], ("processes",)),
    (["processes=[1"], ("processes=[1",)),
    (["--no-such-flag"], ("--no-such-flag",)),
    (["tracking.uri=ftp://x", "processes=1"], ("ftp://x",)),
    (["workload.regions.regoin.size=1GiB"], ("workload.regions.regoin.size", "workload.regions.region.size")),
    (["workload.regions.region.size=1000"], ("workload.regions.region.size=1000",)),
    (["sweep=sizzes"], ("sweep=sizzes", "sizes")),
    (["processes=1..10*2"], ("processes=1..10*2", "run -m ")),
    (["-m", "processes=10..1*2"], ("processes=10..1*2",)),
    (["sweep=sizes", "sweep.where=procs<3"], ("sweep.where=procs<3", "processes")),
    (["sweep=sizes", "sweep.where=processes<0"], ("sweep.where=processes<0", "no cell")),
    (["-m", "processes=1,2", "region=1MiB,2MiB,3MiB", "sweep.zip=[processes,region]"], ("processes has 2", "region has 3")),
    (["name=a/b", "processes=1"], ("name=a/b",)),
    (["+nothing.like.this=1", "processes=1"], ("nothing.like.this",)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "named"), BAD, ids=[" ".join(one[0]) for one in BAD])
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], named: tuple[str, ...]) -> None:
    assert main(["run", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 1, lines
    assert all(part in lines[0] for part in named), lines[0]
    assert list(Path().iterdir()) == []


def test_unwritable_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main(["run", "processes=1", "tracking=none", f"out={tmp_path}/file"]) == 2
    assert f"out={tmp_path}/file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "not a folder"


def test_out_that_holds_something_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("years of work")
    assert main(["run", "processes=1", "tracking=none", f"out={tmp_path}/kept"]) == 2
    assert "thesis.tex" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{name: fault_reed, value: 1, unit: ns, source: s}", "cost.fault_reed=1: no such unit cost"),
        ("{name: fault_read, value: -1, unit: ns, source: s}", "cost.fault_read.value=-1: must not be negative"),
        ("{name: fault_read, value: 1, source: s}", "cost.fault_read=1: has no unit"),
        ("{name: fault_read, value: 1, unit: parsec, source: s}", "cost.fault_read.unit=parsec"),
        ("{name: fault_read, value: 1, unit: ns}", "cost.fault_read=1.0: has no source"),
    ],
)
def test_a_wrong_cost_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str, said: str
) -> None:
    folder = tmp_path / "mshare-bench" / "conf" / "cost"
    folder.mkdir(parents=True)
    (folder / "box.yaml").write_text(f"name: box\ncosts: [{row}]\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for given in (
        ["run", "mechanism=shmem", "cost=box", f"out={tmp_path}/r"],
        ["validate", "cost=box", f"out={tmp_path}/v"],
    ):
        assert main([*given, "tracking=none"]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"adress": [1]}, "no column 'address', only adress"),
        ({"address": [0, 1 << 30]}, "address 0x40000000 in row 1 is outside the region 0x0 to 0xfffff"),
    ],
)
def test_a_wrong_trace_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, columns: dict[str, list[int]], said: str
) -> None:
    with pa.ipc.new_file(tmp_path / "trace.arrow", (table := pa.table(columns)).schema) as writer:
        writer.write_table(table)
    trace = tmp_path / "trace.arrow"
    command = [
        "run",
        "mechanism=shmem",
        "processes=2",
        "region=1MiB",
        "mmu=zen2",
        f"mmu.trace={trace}",
        "tracking=none",
    ]
    assert main(command) == 2
    assert capsys.readouterr().err == f"mshare-bench: mmu.trace={trace}: {said}\n"
