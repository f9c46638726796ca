"""Predicted beside measured: the whole of it on the running kernel, integers equal to integers."""

import csv
import datetime
import itertools
import os
import random
import time
from pathlib import Path

import pytest

from mshare_bench.domain.access import PATTERNS, AccessPattern
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.counters import tlb
from mshare_bench.real.counters.interrupts import tlb_shootdowns
from mshare_bench.real.counters.perf import event_unavailable
from mshare_bench.real.engine import RealEngine, RealOptions, resized
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine
from tests.requirements import require
from tests.sim.points import point

pytestmark = pytest.mark.kernel

SIZES = (4 * KIB, 2 * MIB - 4 * KIB, 64 * MIB, GIB, GIB + 2 * MIB, 2 * GIB + 512 * MIB)
OFFSETS = (0, 4 * KIB, 2 * MIB - 4 * KIB, 2 * MIB, GIB - 4 * KIB)
COUNTS = (1, 2, 100, 1000)
MECHANISMS = (
    ("shmem", {}),
    ("thp", {}),
    ("hugetlb", {}),
    ("hugetlb", {"pmd_sharing": False}),
    ("shared_mm", {}),
    ("shared_mm", {"kind": "thread"}),
)
DENSE_PAGES = 1 << 19
"""Above so many touches over all processes a dense pattern is too slow here, and one page per 2 MiB is touched instead."""


@pytest.fixture(scope="module", autouse=True)
def _agent():
    try:
        agent_path()
    except CapabilityError as error:
        require("kernel", False, str(error))


@pytest.fixture(scope="module")
def engine():
    return RealEngine()


def both(engine, one):
    sim = Rows.merge(list(SimEngine().run([Cell(one)])))["cells"].to_pylist()[0]
    real = Rows.merge(list(engine.run([Cell(one, "real")])))["cells"].to_pylist()[0]
    return sim, real


TRIES = 3
"""A kernel that reclaims pages by itself (DAMON, kswapd) may unmap one in the middle of a run: a few faults more in 256,000.

Beside other runs 2 faults less of 114,840 were seen. Not traced: a fault that is taken again, since its page was locked, would be
counted as a major one.
"""


def compare(engine, one):
    """Run both engines; tables and faults must be equal, or within the noise where only the whole machine can be read."""
    for _ in range(TRIES):
        sim, real = both(engine, one)
        if real["status"] == "skipped":
            return sim, real
        assert real["status"] == "ok", real["error"]
        if real["minor_faults"] == sim["minor_faults"]:
            break
    assert real["minor_faults"] == sim["minor_faults"], (sim, real)
    noise = real["page_table_noise_bytes"]
    if real["page_table_source"] == "VmPTE":
        assert real["page_table_bytes"] == sim["page_table_bytes"]
    elif noise is not None and sim["page_table_bytes"] >= 20 * max(noise, 4 * MIB):
        assert abs(real["page_table_bytes"] - sim["page_table_bytes"]) <= max(0.005 * sim["page_table_bytes"], noise)
    return sim, real


FULL = bool(os.environ.get("MSHARE_BENCH_FULL"))
"""Every cell of the matrix (hours would be too long for CI: about 20 minutes), and 200 random cells."""


@pytest.fixture(scope="module")
def ratios(artefacts):
    """Rows of the table of ratios; each test of the matrix adds its own."""
    rows = []
    yield rows
    if rows:
        with Path(artefacts, "predicted_beside_measured.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.timeout(3600 if FULL else 300)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size >> 10}KiB")
@pytest.mark.parametrize(
    ("name", "options"), MECHANISMS, ids=lambda one: one if isinstance(one, str) else ",".join(one)
)
def test_every_size_offset_and_count_of_the_matrix(engine, ratios, name, options, size):
    cells = list(itertools.product(OFFSETS, (0.0, 1.0), COUNTS))
    if not FULL:
        cells = random.Random(f"{name}{options}{size}").sample(cells, 1)
    for offset, write_fraction, count in cells:
        access = "dense" if size // 4096 * count <= DENSE_PAGES else "sparse"
        one = point(name, count, size, offset=offset, access=access, write_fraction=write_fraction, **options)
        sim, real = compare(engine, one)
        predicted, measured = sim["page_table_bytes"], real["page_table_bytes"]
        ratios.append(
            {
                "mechanism": name,
                "variant": one.variant,
                "processes": count,
                "region_bytes": size,
                "offset_bytes": offset,
                "access": access,
                "write_fraction": write_fraction,
                "predicted_page_table_bytes": predicted,
                "measured_page_table_bytes": measured,
                "ratio": measured / predicted if measured is not None and predicted else None,
                "source": real["page_table_source"],
                "noise": real["page_table_noise_bytes"],
                "predicted_minor_faults": sim["minor_faults"],
                "measured_minor_faults": real["minor_faults"],
                "skipped": real["error"],
            }
        )


def test_most_cells_of_the_matrix_have_run(ratios):
    assert sum(row["measured_page_table_bytes"] is not None for row in ratios) >= len(ratios) // 2


@pytest.mark.parametrize("workload", ["hpc_ranks", "db_buffer_pool", "container_libs", "vm_hosts"])
@pytest.mark.parametrize("populate", ["controller", "first_touch"])
@pytest.mark.parametrize("mechanism", ["shmem", "thp"])
def test_workloads_with_several_regions_and_groups(engine, workload, populate, mechanism):
    one = point(mechanism, 9, 256 * MIB, workload=workload, populate=populate)
    sim, real = compare(engine, one)
    assert real["status"] == "ok"
    assert real["data_bytes"] == sim["data_bytes"]


@pytest.mark.parametrize("access", ["fraction", "zipf", "hotset", AccessPattern.of("stride", step="52KiB")])
@pytest.mark.parametrize("write_fraction", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("populate", ["controller", "first_touch"])
def test_every_pattern(engine, access, write_fraction, populate):
    one = point("shmem", 3, 37 * MIB, offset=12 * KIB, access=access, write_fraction=write_fraction, populate=populate)
    _, real = compare(engine, one)
    assert real["status"] == "ok"


def test_shared_pmd_tables_show_in_the_faults(engine):
    sim, real = compare(engine, point("hugetlb", 50, GIB, access="sparse"))
    require("kernel", real["status"] == "ok", f"hugetlb: {real['error']}")
    assert real["minor_faults"] == sim["minor_faults"] == 512 + 49
    assert real["page_table_source"] == "PageTables"


STOCK = (
    *MECHANISMS,
    ("sysv", {}),
    ("file", {}),
    ("private_file", {}),
    ("ksm", {}),
    ("anon_thp", {}),
    ("inherit", {}),
    ("inherit", {"memory": "shared"}),
)
RANDOM_TOUCHES = (3 if FULL else 1) << 20
"""Touches of a random cell over all processes, at most; and what its private copies may take in pages."""


def random_point(rng):
    """A cell of any stock mechanism: size log-uniform, any page-aligned offset below 1 GiB, any pattern."""
    name, options = rng.choice(STOCK)
    page = 2 * MIB if name == "hugetlb" else 4 * KIB
    size = max(page, round(2 ** rng.uniform(12, 32)) // page * page)
    kind = rng.choice(PATTERNS)
    access = (
        AccessPattern.of("stride", step=4096 * rng.randint(1, 1024))
        if kind == "stride"
        else AccessPattern(kind, seed=rng.randint(0, 3))
    )
    touched = access.pages(size, 4096).count
    held = size // 4096 if name == "anon_thp" else touched
    most = max(
        1,
        min(300, RANDOM_TOUCHES // max(1, held if name in ("ksm", "anon_thp", "inherit", "private_file") else touched)),
    )
    return point(
        name,
        rng.randint(2 if name == "inherit" else 1, max(2, most)),
        size,
        offset=rng.randrange(0, GIB, page),
        access=access,
        write_fraction=rng.choice((0.0, 1.0, round(rng.random(), 2))),
        populate=rng.choice(("controller", "first_touch")),
        **options,
    )


@pytest.mark.timeout(3600 if FULL else 300)
def test_random_cells_of_every_stock_mechanism(engine, artefacts):
    """Fresh cells every day: the seed is the date, printed and kept, so that a failure can be run again."""
    seed = os.environ.get("MSHARE_BENCH_SEED") or datetime.date.today().isoformat()
    print("seed", seed)
    rng, ran, rows = random.Random(seed), 0, []
    wanted = 200 if FULL else 30
    for _ in range(4 * wanted):
        one = random_point(rng)
        sim, real = compare(engine, one)
        if real["status"] == "skipped":
            continue
        ran += 1
        for side in (sim, real):
            assert side["data_bytes"] is not None
        rows.append(
            (
                seed,
                one.mechanism,
                one.variant,
                sim["processes"],
                sim["region_bytes"],
                sim["page_table_bytes"],
                real["page_table_bytes"],
            )
        )
        # Proportional set sizes are rounded down to KiB, per process and mapping.
        assert real["data_bytes"] == pytest.approx(sim["data_bytes"], rel=0.01, abs=1024 * (sim["processes"] + 1)), one
        if ran == wanted:
            break
    with Path(artefacts, "random_cells.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert ran == wanted


def test_rows_of_the_long_tables_add_up(engine):
    tables = Rows.merge(list(engine.run([Cell(point("shmem", 5, 64 * MIB, workload="hpc_ranks"), "real")])))
    (row,) = tables["cells"].to_pylist()
    phases = tables["phases"].to_pylist()
    assert {"launch", "attach", "touch", "fork", "protect", "unmap", "exit"} == {phase["phase"] for phase in phases}
    touch = [phase for phase in phases if phase["phase"] == "touch"]
    assert sum(phase["minor_faults"] for phase in touch) == row["minor_faults"]
    assert sum(group["processes"] for group in tables["groups"].to_pylist()) == row["processes"]
    assert row["touch_ns_lo"] <= row["touch_ns"] <= row["touch_ns_hi"]


def test_a_row_says_whether_memory_had_been_in_use_before(engine, monkeypatch, tmp_path):
    monkeypatch.setattr("mshare_bench.real.warmth.state_folder", lambda: tmp_path)
    sizes = (64 * MIB, 64 * MIB, 128 * MIB, 64 * MIB)
    rows = [both(engine, point("shmem", 2, size, access="sparse")) for size in sizes]
    assert [real["memory"] for _, real in rows] == ["cold", "warm", "cold", "warm"]
    assert {sim["memory"] for sim, _ in rows} == {None}


def test_a_row_says_when_it_began(engine):
    before = float(time.time_ns())
    rows = [both(engine, point("shmem", 2, MIB)) for _ in range(2)]
    began = [real["started_ns"] for _, real in rows]
    assert before <= began[0] < began[1] <= float(time.time_ns())
    assert {sim["started_ns"] for sim, _ in rows} == {None}


def test_what_does_not_fit_is_skipped_and_names_the_largest_count():
    tight = RealEngine(RealOptions(reserve=1 << 60))
    (row,) = Rows.merge(list(tight.run([Cell(point("shmem", 100, GIB), "real")])))["cells"].to_pylist()
    assert row["status"] == "skipped"
    assert "processes=100" in row["error"]


def test_resized_keeps_everything_but_the_processes():
    one = point("shmem", 10, 640 * MIB, workload="hpc_ranks", access="sparse")
    assert resized(one, 10) == one
    assert resized(one, 20).workload.processes == 20
    assert resized(one, 20).workload.regions == one.workload.regions


def test_a_mechanism_that_no_kernel_here_has_is_skipped_with_what_it_needs(engine):
    _, real = both(engine, point("mshare", 2, 64 * MIB))
    require("kernel", real["status"] == "skipped", "this kernel has mshare")
    assert "CONFIG_MSHARE" in real["error"]


def test_processor_events_are_those_of_the_touch_phase(engine, monkeypatch):
    """With software events in their place: each page is one fault while it is touched, and none of the other phases' counts."""
    reason = event_unavailable("page-faults")
    require("kernel", reason is None, str(reason))
    monkeypatch.setattr(tlb, "miss_events", lambda: ("page-faults",))
    monkeypatch.setattr(tlb, "walk_events", lambda: ("minor-faults", "page-faults"))
    for name, options in (("shmem", {}), ("shared_mm", {"kind": "thread"})):
        _, row = both(engine, point(name, 5, 4 * MIB, write_fraction=1.0, **options))
        assert row["minor_faults"] <= row["tlb_misses"] <= row["minor_faults"] + 50, (name, row)
        assert row["walk_cycles"] == 2 * row["tlb_misses"]
        assert row["basis"] == "measured"


def test_without_a_pmu_misses_are_null_and_shootdowns_are_what_the_machine_counts(engine, monkeypatch):
    monkeypatch.setattr(tlb, "event_unavailable", lambda _: "no PMU")
    _, row = both(engine, point("shared_mm", 4, 4 * MIB, kind="thread"))
    assert (row["tlb_misses"], row["walk_cycles"]) == (None, None)
    counted = tlb_shootdowns() is not None
    assert (row["shootdowns"] is not None) == counted
    assert not counted or row["shootdowns"] >= 0
