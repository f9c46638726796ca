"""Compositions: every group, the user's own folder, interpolations."""

from pathlib import Path

import pytest

from mshare_bench.config.composer import Composer, flatten, user_config_folder
from mshare_bench.config.overrides import parse_overrides
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.registry import mechanisms
from mshare_bench.workloads.registry import workloads

CONF = Path(__file__).parents[2] / "conf"


def test_every_mechanism_has_a_configuration_with_its_options_and_defaults() -> None:
    composer = Composer()
    assert set(composer.options("mechanism")) == {*mechanisms(), "all"}
    values = composer.compose([]).values
    for name, cls in mechanisms().items():
        prefix = f"mechanism_options.{name}."
        written = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
        assert written.pop("name") == name
        assert cls.of(written) == cls()
        assert set(written) == {key for key in cls.__dataclass_fields__ if not key.startswith("_")} - {
            "name", "summary", "color",
        }  # fmt: skip


def test_every_workload_has_a_configuration_with_its_parameters_and_regions() -> None:
    composer = Composer()
    assert set(composer.options("workload")) == set(workloads())
    for name, spec in workloads().items():
        values = composer.compose([f"workload={name}"]).values
        written = {key.removeprefix("workload."): value for key, value in values.items() if key.startswith("workload.")}
        assert written.pop("name") == name
        regions = {key for key in written if key.startswith("regions.")}
        assert regions == {f"regions.{region.name}.size" for region in spec.regions}
        assert {key: value for key, value in written.items() if key not in regions} == dict(spec.params)


def test_nothing_is_instantiated_from_configurations() -> None:
    assert [path for path in CONF.rglob("*.yaml") if "_target_" in path.read_text()] == []


def test_the_users_folder_and_config_dir_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for folder, name in ((user_config_folder(), "mine"), (tmp_path / "more", "more")):
        (folder / "experiment").mkdir(parents=True)
        (folder / "experiment" / f"{name}.yaml").write_text("# @package _global_\nprocesses: 77\n")
    composer = Composer(config_dir=str(tmp_path / "more"))
    assert composer.compose(["experiment=mine"]).values["processes"] == 77
    assert composer.compose(["experiment=more"]).values["processes"] == 77
    composer.check(parse_overrides(["experiment=mine"]))
    with pytest.raises(ConfigError, match="no such folder"):
        Composer(config_dir=str(tmp_path / "none"))


def test_interpolations_follow_leaves_that_are_set_later(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "linked.yaml").write_text("# @package _global_\nprocesses: 3\nregion: ${processes}GiB\n")
    composition = Composer(config_dir=str(tmp_path)).compose(["experiment=linked"])
    assert composition.interpolated
    assert composition.with_values({})["region"] == "3GiB"
    assert composition.with_values({"processes": 5})["region"] == "5GiB"
    assert not Composer().compose([]).interpolated


def test_a_broken_interpolation_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "broken.yaml").write_text("# @package _global_\nregion: ${nowhere}\n")
    composition = Composer(config_dir=str(tmp_path)).compose(["experiment=broken"])
    with pytest.raises(ConfigError, match="nowhere"):
        composition.with_values({})


def test_flatten() -> None:
    assert dict(flatten({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]})) == {"a.b": 1, "a.c": {}, "d": [1, {"e": 2}]}
