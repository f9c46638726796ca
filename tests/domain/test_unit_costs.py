from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.mechanisms.registry import mechanisms


def test_every_cost_has_a_unit_and_a_meaning():
    for name, kind in UNIT_COSTS.items():
        assert kind.unit in ("ns", "B"), name
        assert len(kind.description) > 10, name


def test_mechanisms_name_costs_that_there_are():
    for name, cls in mechanisms().items():
        for usual, own in cls.of({}).traits.paths:
            assert usual in UNIT_COSTS and own in UNIT_COSTS, name
        assert set(cls.of({}).traits.advices) <= set(UNIT_COSTS), name
