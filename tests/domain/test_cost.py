import pytest

from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.errors import ConfigError

ROW = {"name": "pte_zap", "value": 100, "low": 90, "high": 120, "unit": "ns", "source": "a paper"}


def model(*rows, **keys):
    return CostModel.of({"name": "some", "costs": list(rows), **keys})


def test_a_profile_survives_being_written_and_read():
    one = model(ROW, {"name": "fork", "value": None, "unit": "ns"}, machine="m", basis="calibrated", description="d")
    again = CostModel.of(one.values())
    assert again == one
    assert again.digest == one.digest
    assert one.get("fork") is None and one.get("pte_copy") is None
    assert (one.get("pte_zap").low, one.get("pte_zap").value, one.get("pte_zap").high) == (90, 100, 120)


def test_the_digest_follows_the_numbers_and_nothing_else():
    assert model(ROW).digest == model({**ROW, "source": "another"}).digest
    assert model(ROW).digest != model({**ROW, "value": 101}).digest
    assert model(ROW).digest != model({**ROW, "high": 130}).digest


def test_cycles_become_nanoseconds_by_the_clock():
    row = {"name": "pte_zap", "value": 220, "unit": "cycles", "source": "a paper"}
    assert model(row, clock_ghz=2.2).get("pte_zap").value == pytest.approx(100)
    with pytest.raises(ConfigError, match=r"cost.pte_zap.unit=cycles: needs cost.clock_ghz"):
        model(row)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "pte_zapp"}, "cost.pte_zapp=100: no such unit cost"),
        ({"value": -1, "low": None, "high": None}, "cost.pte_zap.value=-1: must not be negative"),
        ({"low": -1}, "cost.pte_zap.low=-1: must not be negative"),
        ({"unit": None}, "cost.pte_zap=100: has no unit; it is in ns"),
        ({"unit": "B"}, "cost.pte_zap.unit=B: it is in ns"),
        ({"value": "many"}, "cost.pte_zap.value=many: not a number"),
        ({"value": float("nan")}, "cost.pte_zap.value=nan: not a number"),
        ({"low": 101}, r"cost.pte_zap=100(.0)?: lies outside its interval"),
        ({"source": ""}, "cost.pte_zap=100(.0)?: has no source"),
        ({"basis": "guessed"}, "cost.pte_zap.basis=guessed: not one of"),
        ({"colour": "red"}, "cost.pte_zap.colour=red: a unit cost has"),
    ],
)
def test_a_wrong_number_is_named(change, said):
    row = {key: value for key, value in {**ROW, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=said):
        model(row)


def test_a_wrong_profile_is_named():
    with pytest.raises(ConfigError, match="given twice"):
        model(ROW, ROW)
    with pytest.raises(ConfigError, match="must be a list"):
        CostModel.of({"name": "x", "costs": {"pte_zap": 3}})
    with pytest.raises(ConfigError, match="needs a name"):
        CostModel.of({"costs": []})
    with pytest.raises(ConfigError, match=r"cost.clock_ghz=-1"):
        model(clock_ghz=-1)
    with pytest.raises(ConfigError, match="no such unit cost"):
        model(ROW).get("pte_zapp")


def test_every_unit_cost_can_be_given():
    rows = [{"name": name, "value": 1, "unit": kind.unit, "source": "test"} for name, kind in UNIT_COSTS.items()]
    assert set(model(*rows).costs) == set(UNIT_COSTS)
