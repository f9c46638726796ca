import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.domain.cost import CostModel, UnitCost
from mshare_bench.domain.topology import Network
from mshare_bench.errors import ConfigError
from mshare_bench.placement.migration import (
    MigrationCosts,
    Move,
    MoveCost,
    advise,
    migration_costs,
    move_cost,
    replica_cost,
)

GIB = 1 << 30
MIB = 1 << 20
moves = st.builds(
    Move,
    size=st.integers(4096, GIB),
    folio=st.sampled_from([4096, 65536, 2 * MIB]),
    sharers=st.integers(1, 64),
    running_cpus=st.floats(1, 64),
    machine_cpus=st.just(64),
    reads_per_s=st.floats(0, 1e9),
)


def test_a_move_without_sharers_is_as_fast_as_published() -> None:
    for folio, rate in ((4096, 3.73), (MIB, 6.92)):
        cost = move_cost(Move(GIB, folio))
        assert GIB / cost.copy == pytest.approx(rate, rel=0.001)
        assert cost.entries == cost.shootdowns == cost.replicas == cost.network == cost.attach == 0


def test_every_set_of_tables_and_every_replica_adds_its_entries() -> None:
    costs = MigrationCosts()
    pages = 64 * MIB // 4096
    alone = move_cost(Move(64 * MIB))
    ten = move_cost(Move(64 * MIB, sharers=10, table_sets=10))
    assert ten.entries == pytest.approx(2 * pages * 9 * costs.entry)
    assert ten.copy == alone.copy
    copied = move_cost(Move(64 * MIB, sharers=10, table_sets=10, replicas=4))
    assert copied.replicas == pytest.approx(2 * pages * 10 * 3 * costs.replica_entry)


def test_sharing_tables_saves_entries_and_flushes_everybody() -> None:
    own = move_cost(Move(64 * MIB, sharers=32, table_sets=32, running_cpus=8, machine_cpus=64))
    common = move_cost(Move(64 * MIB, sharers=32, table_sets=1, running_cpus=8, machine_cpus=64, flush_all=True))
    assert common.entries == 0 < own.entries
    assert common.shootdowns == pytest.approx(own.shootdowns * 63 / 7)


def test_a_batch_is_512_pages() -> None:
    one = move_cost(Move(2 * MIB, sharers=2, running_cpus=2, machine_cpus=4))
    two = move_cost(Move(2 * MIB + 4096, sharers=2, running_cpus=2, machine_cpus=4))
    assert one.shootdowns == pytest.approx(911)
    assert two.shootdowns == pytest.approx(2 * 911)


@given(moves, st.integers(2, 8))
def test_costs_grow_with_everything_that_is_more(move: Move, times: int) -> None:
    def changed(**fields: object) -> MoveCost:
        values = {name: getattr(move, name) for name in Move.__slots__}
        return move_cost(Move(**(values | fields)))

    base = move_cost(move)
    assert base.total >= base.duration >= base.copy > 0
    assert changed(size=move.size * times).total > base.total
    assert changed(sharers=64 * times, table_sets=move.table_sets * times).total >= base.total
    assert changed(replicas=times).total > base.total
    assert changed(flush_all=True).total >= base.total - 1e-9 * base.total
    assert changed(reads_per_s=move.reads_per_s * times).stall >= base.stall - 1e-9 * base.stall


@given(moves)
def test_nobody_waits_longer_than_the_move_lasts(move: Move) -> None:
    cost = move_cost(move)
    rounds = math.ceil(math.ceil(move.size / move.folio) / max(1, 512 // (move.folio // 4096)))
    interrupts = max(move.running_cpus - 1, 0) * rounds * 1000.0
    assert cost.stall <= (move.running_cpus * cost.duration / 2 + interrupts) * (1 + 1e-9)


def test_between_machines_the_bytes_go_over_the_wire_and_tables_are_faulted_once_per_set() -> None:
    network = Network(1e9, 30_000)
    own = move_cost(Move(GIB, sharers=8, table_sets=8, running_cpus=4, network=network, processes=8))
    common = move_cost(Move(GIB, sharers=8, table_sets=1, running_cpus=4, network=network, processes=8))
    assert own.network == pytest.approx(GIB + 30_000)
    assert own.attach - common.attach == pytest.approx(7 * GIB / 65536 * 500)
    assert own.stall == pytest.approx(4 * own.duration)


def test_advice_moves_when_the_time_is_long_enough() -> None:
    cost = MoveCost(copy=1e9)
    short, long = advise(1e8, cost, 5.0), advise(1e8, cost, 60.0, what="g")
    assert (short.action, long.action) == ("stay", "move")
    # 1 s of copying, and half of 0.1 s per second lost meanwhile: 1.05 s, at 0.1 s per second.
    assert short.break_even_ns == long.break_even_ns == pytest.approx(10.5e9)
    assert long.net_ns == pytest.approx(60 * 1e8 - 1.05e9)
    assert (
        long.reason
        == "move: moving g costs 1.05 s with what stays remote meanwhile, and saves 100 ms a second, which pays after 10.5 s"
    )
    assert "pays after 10.5 s, beyond the 5 s at hand" in short.reason


def test_advice_stays_when_nothing_is_saved() -> None:
    advice = advise(-5.0, MoveCost(copy=1.0), 1e9)
    assert (advice.action, advice.break_even_ns, advice.net_ns) == ("stay", None, 0.0)


def test_advice_replicates_when_that_saves_more() -> None:
    move, copies = MoveCost(copy=1e10), replica_cost(64 * MIB, 3)
    advice = advise(1e8, move, 30.0, replica_saving=9e7, replica=copies)
    assert advice.action == "replicate"
    assert advice.break_even_ns == pytest.approx(copies.total / 9e7 * 1e9)
    assert advise(1e8, move, 1e4, replica_saving=9e7, replica=copies).action == "move"


@given(st.floats(-1e9, 1e9), st.floats(1, 1e12), st.floats(0.1, 1e6), st.floats(-1e9, 1e9))
def test_advice_never_loses(saving: float, cost: float, horizon: float, replica_saving: float) -> None:
    advice = advise(
        saving, MoveCost(copy=cost), horizon, replica_saving=replica_saving, replica=MoveCost(copy=cost / 10)
    )
    assert advice.net_ns >= 0
    if advice.action != "stay":
        assert advice.break_even_ns is not None
        assert advice.break_even_ns <= horizon * 1e9 * (1 + 1e-9)


def test_replicas_are_built_page_by_page() -> None:
    assert replica_cost(8192, 3).total == pytest.approx(6 * (508.2 + 4096 * 0.14402))
    assert replica_cost(0, 3).total == 0


def test_a_profiles_figures_come_before_published_ones() -> None:
    def cost(value: float) -> UnitCost:
        return UnitCost(value, value, value, "ns", "here", "calibrated")

    model = CostModel("mine", "mine", {"folio_move": cost(400.0), "ipi_per_cpu": None})
    costs = migration_costs(model)
    assert (costs.folio, costs.byte, costs.shootdown_per_cpu) == (400.0, 0.14402, 911.0)
    assert migration_costs(None) == MigrationCosts()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"size": -1}, "move.size=-1"),
        ({"size": 1, "folio": 0}, "move.folio=0"),
        ({"size": 1, "table_sets": 2}, "move.table_sets=2: more than the 1 sharers"),
    ],
)
def test_an_impossible_move_is_refused(fields: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Move(**fields)
