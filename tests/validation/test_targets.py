import importlib.resources
import json

import jsonschema
import pytest
import yaml

from mshare_bench.errors import ConfigError
from mshare_bench.validation.models import MODELS
from mshare_bench.validation.targets import packaged_targets, read_targets

FOLDER = importlib.resources.files("mshare_bench.validation") / "published"
SCHEMA = json.loads((FOLDER / "schema.json").read_text())
GOOD = {
    "id": "mine", "model": "fork", "source": "my own table", "unit": {"x": "GiB", "y": "ms"}, "fit": [1, 4],
    "rows": {1: 10, 2: 19, 4: 40}, "tolerance": 0.2,
}  # fmt: skip


def written(tmp_path, *targets, version=1):
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump({"schema_version": version, "targets": list(targets)}))
    return path


def valid(target):
    plain = json.loads(json.dumps({"schema_version": 1, "targets": [target]}))  # keys of JSON are texts
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(plain)


def test_every_packaged_target_has_a_model_a_source_and_a_tolerance():
    targets = packaged_targets()
    assert {one.id for one in targets} == {
        "seed_article", "oracle_sga", "cow_pte_vmpte", "percona_postgresql", "ksm_instagram", "fork_series",
        "mitosis_vma_ops", "mitosis_composition", "mitosis_remote_tables", "mitosis_gups_from_first_principles", "move_pages",
        "fault_scaling",
    }  # fmt: skip
    assert {one.model for one in targets} == set(MODELS)
    assert all(one.source for one in targets)
    assert [one.id for one in targets if one.tolerance is None] == ["mitosis_gups_from_first_principles"]


def test_packaged_files_meet_the_schema():
    files = [one for one in FOLDER.iterdir() if one.name.endswith(".yaml")]
    assert files
    for file in files:
        for target in yaml.safe_load(file.read_text())["targets"]:
            assert valid(target), target["id"]


def test_the_schema_names_the_models():
    assert SCHEMA["$defs"]["target"]["properties"]["model"]["enum"] == sorted(MODELS)


def test_what_stands_for_reference_is_kept_with_its_reason():
    kept = {one.id: one.not_predicted for one in packaged_targets() if one.not_predicted}
    assert set(kept) == {"mitosis_vma_ops", "move_pages", "percona_postgresql"}
    assert all(one.reason and one.rows for rows in kept.values() for one in rows)


def test_a_file_of_the_user_is_read(tmp_path):
    (target,) = read_targets(written(tmp_path, GOOD))
    assert target.rows == {1: 10, 2: 19, 4: 40}
    assert target.tolerance_of("fork") == 0.2
    assert valid(GOOD)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": None}, "mine: source is missing"),
        ({"tolerance": None}, "mine: tolerance is missing"),
        ({"tolerance": -1}, "mine: tolerance=-1"),
        ({"tolerance": "loose"}, "mine: tolerance=loose"),
        ({"tolerance": {"a": "b"}}, "mine: tolerance.a=b"),
        ({"colour": "red"}, "mine: colour=red: no such key"),
        ({"rows": [1, 2]}, "mine: rows="),
        ({"rows": None, "expect": None}, "mine: has neither expect nor rows"),
        ({"fit": 3}, "mine: fit=3: must be a list"),
        ({"expect": [{"quantity": "q"}]}, "expect q: has one of value and at_least"),
        ({"expect": [{"quantity": "q", "value": "many"}]}, "expect q: value=many: not a number"),
        ({"expect": [{"value": 3}]}, "must be a mapping with a quantity"),
        ({"not_predicted": [{"quantity": "q", "rows": {1: 2}}]}, "not_predicted="),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
def test_what_is_wrong_is_named_in_one_line_and_the_schema_agrees(tmp_path, change, said):
    target = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(ConfigError) as error:
        read_targets(written(tmp_path, target))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not valid(target)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets: [", "no YAML"),
        ("- 1", "must be a mapping with schema_version"),
        ("{schema_version: 2, targets: []}", "schema_version=2"),
        ("{schema_version: 1, targets: [3]}", "3: a target must be a mapping"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml") as error:
        read_targets(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_an_id_given_twice(tmp_path):
    with pytest.raises(ConfigError, match=r"--targets=.*nowhere"):
        read_targets(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="mine: there are two"):
        read_targets(written(tmp_path, GOOD, GOOD))
