import pytest
import yaml

from mshare_bench.config.composer import Composer
from mshare_bench.config.costs import profile, profiles
from mshare_bench.errors import ConfigError
from mshare_bench.study import run


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
