import pytest
import yaml

from mshare_bench.config.composer import Composer
from mshare_bench.config.costs import profile, profiles
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import parse_size
from mshare_bench.errors import ConfigError
from mshare_bench.sim.engine import SimEngine
from mshare_bench.sim.operations import fit_operation
from mshare_bench.sim.points import make_point
from mshare_bench.study import run
from mshare_bench.validation.targets import packaged_targets


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A profile of the user's own, called `mine`."""
    folder = tmp_path / "mshare-bench" / "conf" / "cost"
    folder.mkdir(parents=True)

    def write(**row):
        row = {"name": "process_exit", "value": 50_000, "unit": "ns", "source": "test", **row}
        costs = [{"name": "timer", "value": 50, "unit": "ns", "source": "test"}, row]
        folder.joinpath("mine.yaml").write_text(yaml.safe_dump({"name": "mine", "machine": "box", "costs": costs}))

    write()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return write


def rows(tmp_path, **keys):
    return run(mechanism="shmem", processes=2, tracking="none", out=tmp_path / "out", **keys).cells.to_pylist()


def test_a_profile_of_the_user_gives_times(own, tmp_path):
    (row,) = rows(tmp_path, cost="mine")
    assert (row["cost"], row["machine"], row["basis"]) == ("mine", "box", "published")
    assert row["exit_ns"] == 50_050
    assert row["touch_ns"] is None  # the profile does not have what that needs


def test_none_gives_no_times_and_is_an_axis_with_others(own, tmp_path):
    found = {row["cost"]: row for row in rows(tmp_path, cost=["none", "mine"])}
    assert set(found) == {None, "mine"}
    assert found[None]["exit_ns"] is None
    assert found[None]["basis"] == "exact"
    assert found[None]["point"] == found["mine"]["point"]
    assert found[None]["cell"] != found["mine"]["cell"]


def test_other_numbers_run_the_cell_again(own, tmp_path):
    (before,) = rows(tmp_path, cost="mine")
    own(value=60_000)
    after = rows(tmp_path, cost="mine")
    assert {row["exit_ns"] for row in after} == {50_050, 60_050}
    assert before["cell"] in {row["cell"] for row in after}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"name": "proces_exit"}, "cost.proces_exit=50000: no such unit cost"),
        ({"value": -3}, "cost.process_exit.value=-3: must not be negative"),
        ({"unit": None}, "cost.process_exit=50000: has no unit"),
    ],
)
def test_a_wrong_number_is_one_clear_line(own, tmp_path, row, said):
    own(**row)
    with pytest.raises(ConfigError, match=said):
        rows(tmp_path, cost="mine")


def test_profiles_are_found_by_name(own):
    composer = Composer()
    assert set(profiles(["mine", "", "mine"], composer)) == {"mine"}
    with pytest.raises(ConfigError, match="cost=none: holds no unit costs"):
        profile("none", composer)


BUNDLED = ("haswell_4s", "icelake_2s", "raptor_lake_1s", "skylake_2s", "zen3_2s")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_profiles_hold_published_numbers_with_their_source(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    model = profile(name)
    assert model.basis == "published"
    assert model.description
    for cost, one in model.costs.items():
        assert one is not None and one.basis == "published"
        assert one.low <= one.value <= one.high
        assert any(letter.isdigit() for letter in one.source) or "published" in one.source, cost


def test_bundled_numbers_are_those_that_follow_from_the_published_tables():
    targets = {one.id: one for one in packaged_targets()}
    operations, mitosis = targets["mitosis_vma_ops"], profile("haswell_4s")
    for operation in ("map_shared_populate", "protect_shared", "unmap_shared", "unmap_anonymous"):
        rows = {pages: pages * cycles for pages, cycles in operations.rows[operation].items()}
        near, far = (fit_operation(operation, rows, on) for on in ((1, 2048), (1, 1048576)))
        for name, cycles in near.items():
            if operation == "unmap_anonymous" and name == "vma_unmap":
                continue  # the profile has that of shared memory; this one is the upper end
            cost = mitosis.get(name)
            assert cost.value * 2.2 == pytest.approx(cycles, rel=0.001)
            assert cost.low * 2.2 - 0.1 <= far[name] <= max(cost.high * 2.2, cycles) + 0.1
    moves = targets["move_pages"]
    sizes = {parse_size(text, "folio"): parse_size(text, "folio") / rate for text, rate in moves.rows.items()}
    rate = (sizes[1 << 20] - sizes[4096]) / ((1 << 20) - 4096)
    assert profile("zen3_2s").get("byte_copy").value == pytest.approx(rate, rel=1e-4)
    assert profile("zen3_2s").get("folio_move").value == pytest.approx(sizes[4096] - 4096 * rate, rel=1e-4)


def test_what_no_profile_tells_is_null_and_no_zero():
    cell = Cell(make_point("shmem", 10, 1 << 20), "sim", cost="haswell_4s")
    (tables,) = SimEngine(costs={"haswell_4s": profile("haswell_4s")}).run([cell])
    (row,) = tables["cells"].to_pylist()
    assert row["protect_ns"] > 0 and row["unmap_ns"] > 0 and row["attach_ns"] > 0
    assert row["touch_ns"] is row["fork_ns"] is row["exit_ns"] is None
    assert row["basis"] == "published"
