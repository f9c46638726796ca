"""The sweeper that Hydra gets from us."""

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from mshare_bench.config.sweeper import PlanSweeper, register_plugins


def test_registered_once_however_often() -> None:
    register_plugins()
    register_plugins()
    assert [one for one in Plugins.instance().discover(Sweeper) if one is PlanSweeper] == [PlanSweeper]


def test_hands_the_whole_list_on(monkeypatch: object) -> None:
    received: list[list[str]] = []
    PlanSweeper.receive = received.append
    try:
        PlanSweeper().sweep(["a=1,2", "b=3"])
    finally:
        PlanSweeper.receive = None
    assert received == [["a=1,2", "b=3"]]
