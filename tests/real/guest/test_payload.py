"""What goes along into a guest is enough and no more."""

import sys

import pytest

from mshare_bench.real.agent.locate import agent_path
from mshare_bench.real.guest.payload import Payload, find_payload
from mshare_bench.workloads.registry import workloads


@pytest.fixture(scope="module")
def payload() -> Payload:
    return find_payload()


def test_engine_agent_and_interpreter_go_along(payload: Payload) -> None:
    names = {str(one) for one in payload.files}
    assert str(agent_path()) in names
    assert payload.command[0] in names
    for part in (
        "real/engine.py",
        "real/guest/inside.py",
        "real/placed.py",
        "agent/zygote.c",
        "placement/policies/bind.py",
    ):
        assert any(name.endswith(part) for name in names), part
    for spec in workloads().values():
        assert sys.modules[spec.build.__module__].__file__ in names, spec.name


def test_every_module_comes_compiled(payload: Payload) -> None:
    compiled = {one.name.split(".")[0] for one in payload.files if one.suffix == ".pyc"}
    ours = [one for one in payload.files if one.suffix == ".py" and {"mshare_bench", "numpy"} & set(one.parts)]
    assert len(ours) > 100
    # What is run by its name is never read from the cache.
    assert {one.stem for one in ours} - compiled <= {"inside"}


def test_nothing_heavy_goes_along(payload: Payload) -> None:
    parts = {part for one in payload.files for part in one.parts}
    assert not parts & {"pyarrow", "scipy", "numba", "pandas", "ray", "mlflow", "hydra", "matplotlib"}


def test_the_loader_is_found_under_the_name_that_programs_have(payload: Payload) -> None:
    assert any("/ld-linux" in link or "/ld-musl" in link for link in [*payload.links, *map(str, payload.files)])
    folders = payload.environment["LD_LIBRARY_PATH"].split(":")
    assert all(folder.startswith("/") for folder in folders)
