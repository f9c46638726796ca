"""A history prints as a program, and the program does the same again."""

import dataclasses

import pytest

from mshare_bench.domain.geometry import GEOMETRIES
from mshare_bench.sim import semantics
from mshare_bench.sim.semantics import (
    Attach,
    Config,
    Create,
    Credentials,
    Flush,
    Interface,
    Machine,
    Op,
    Resize,
    Spawn,
    Touch,
    run,
    script,
)
from tests.sim.semantics.histories import stock_history
from tests.sim.semantics.stateful import TOY


@pytest.mark.parametrize(
    "config",
    [
        None,
        Config(),
        Config(interface=Interface.IDEAL, flush=Flush.LIST, strict_permissions=False, cpus=2),
        Config(geometry=GEOMETRIES["arm64_64k"], fork_tables="shared"),
        Config(geometry=TOY, fault_around=4096),
    ],
)
def test_a_script_replays_the_history(config: Config | None, capsys: pytest.CaptureFixture[str]) -> None:
    who = Credentials(uid=7, capabilities=frozenset({"CAP_SYS_NICE"}))
    history: list[Op] = [
        Spawn(1, who, 1),
        Create(1, "r"),
        Resize(1, "r", 1 << 39),
        Attach(1, "r", 1 << 39),
        Touch(1, 0),
    ]
    machine = Machine(config)
    outcomes = [f"{op} -> {machine.apply(op)}" for op in history]
    names: dict[str, object] = {}
    exec(script(history, config), names)
    assert names["history"] == history
    replayed = names["machine"]
    assert isinstance(replayed, Machine)
    assert replayed.config == machine.config
    assert capsys.readouterr().out.splitlines() == outcomes


def test_a_random_history_replays_to_the_same_state() -> None:
    history = stock_history(7)
    names: dict[str, object] = {}
    exec(script(history), names)
    replayed = names["machine"]
    assert isinstance(replayed, Machine)
    assert semantics.snapshot(replayed) == semantics.snapshot(run(history))


def test_operations_are_frozen_values() -> None:
    kinds = [getattr(semantics, name) for name in semantics.__all__]
    ops = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Op)]
    assert len(ops) > 20
    for kind in ops:
        for field in dataclasses.fields(kind):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(object.__new__(kind), field.name, None)
