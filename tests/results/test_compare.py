from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.compare import Comparison, compare
from mshare_bench.results.store import Store
from tests.results.sample import cell_of, headline, rows_of, sweep

TIMES = ("attach_ns", "touch_ns", "unmap_ns", "exit_ns")


def _store(path: Path, tables: dict[str, pa.Table]) -> Store:
    with Store.create(path, path.name) as store:
        store.append(tables)
    return Store.open(path)


def _set(table: pa.Table, name: str, values: object) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def _noisy(
    path: Path, tables: dict[str, pa.Table], seed: int, side: int, *, turns: bool = True, slow: float = 1.0
) -> Store:
    """Rows whose times are drawn anew on a machine that drifts: by 5 % from one repeat to the next.

    Repeats of side 0 and 1 take turns (0 1 1 0 0 1 ...), or those of side 0 come first. Touch is `slow` times what it was. Both
    sides of one `seed` meet the same drift.
    """
    generator = np.random.default_rng([seed, side])
    table = tables["cells"]
    repeats = np.array(table["repeat"].to_pylist())
    began = 2 * repeats + (repeats + side) % 2 if turns else repeats + side * (repeats.max() + 1)
    drift = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.05, 2 * (repeats.max() + 1))))[began]
    for name in TIMES:
        usual = np.array(table[name].to_pylist(), float) * (slow if name == "touch_ns" else 1)
        table = _set(table, name, usual * drift * generator.lognormal(0, 0.03, table.num_rows))
    table = _set(table, "started_ns", 1e18 + began * 1e9)
    return _store(path, {"cells": table, "environments": tables["environments"]})


def _repeated(processes: tuple[int, ...]) -> dict[str, pa.Table]:
    mechanisms = ("shmem", "thp", "hugetlb", "shared_mm")
    return rows_of(list(sweep(mechanisms, processes, engines=("real",), repeats=20))).tables()


def _verdicts(found: Comparison) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found.differences:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    return counts


def test_the_same_twice_is_the_same(tmp_path: Path) -> None:
    first = _store(tmp_path / "a", headline().tables())
    found = compare(first, _store(tmp_path / "b", headline().tables()))
    assert {one.cell["engine"] for one in found.differences} == {"sim", "real"}
    verdicts = _verdicts(found)
    assert set(verdicts) == {"same", "unclear"}
    assert found.worse() == ()
    assert (found.only_first, found.only_second, found.facts) == (0, 0, ())


def test_what_is_exact_needs_no_repeats(tmp_path: Path) -> None:
    first = _store(tmp_path / "a", rows_of([cell_of("shmem"), cell_of("mshare")]).tables())
    tables = rows_of([cell_of("shmem")]).tables()
    cells = tables["cells"]
    at = cells.schema.get_field_index("page_table_bytes")
    more = pa.array([cells["page_table_bytes"][0].as_py() * 11 // 10])
    second = _store(tmp_path / "b", {**tables, "cells": cells.set_column(at, cells.schema.field(at), more)})
    found = compare(first, second)
    (worse,) = found.worse(0.05)
    assert (worse.column, worse.better, worse.unit, worse.p) == ("page_table_bytes", "lower", "B", None)
    assert worse.change == pytest.approx(0.1, rel=1e-3)
    assert found.worse(0.2) == ()
    assert (found.only_first, found.only_second) == (1, 0)
    (better,) = [one for one in compare(second, first).differences if one.verdict == "better"]
    assert better.column == "page_table_bytes"


def test_less_than_the_counters_noise_is_nothing(tmp_path: Path) -> None:
    stores = []
    for number, (extra, noise) in enumerate(((0, 0), (4096, 0), (4096, 8192))):
        tables = rows_of([cell_of("shmem", engine="real")]).tables()
        cells = tables["cells"]
        for name, value in (
            ("page_table_bytes", cells["page_table_bytes"][0].as_py() + extra),
            ("page_table_noise_bytes", noise),
        ):
            at = cells.schema.get_field_index(name)
            cells = cells.set_column(at, cells.schema.field(at), pa.array([value]))
        stores.append(_store(tmp_path / str(number), {**tables, "cells": cells}))
    assert [one.column for one in compare(stores[0], stores[1]).worse()] == ["page_table_bytes"]
    assert compare(stores[0], stores[2]).worse() == ()


def test_a_single_measured_time_proves_nothing(tmp_path: Path) -> None:
    cell = [cell_of("shmem", engine="real")]
    found = compare(
        _store(tmp_path / "a", rows_of(cell).tables()), _store(tmp_path / "b", rows_of(cell, slow=3).tables())
    )
    assert {one.verdict for one in found.differences if one.unit == "ns"} == {"unclear"}
    assert found.worse() == ()


def test_of_equal_runs_at_most_one_in_twenty_shows_a_difference(tmp_path: Path) -> None:
    cells, wrong = _repeated((10,)), 0
    for seed in range(40):
        first, second = (_noisy(tmp_path / f"{side}-{seed}", cells, seed, side) for side in (0, 1))
        found = compare(first, second)
        assert found.tests == 48
        assert {one.blocks for one in found.differences if one.unit == "ns"} == {20}
        wrong += any(one.verdict in ("worse", "better") for one in found.differences)
    assert wrong <= 5  # 2 expected; more than 5 of 40 happen by chance once in a hundred times


def test_a_planted_slowdown_is_found(tmp_path: Path) -> None:
    cells = _repeated((10, 100))
    found = compare(_noisy(tmp_path / "a", cells, 1, 0), _noisy(tmp_path / "b", cells, 1, 1, slow=1.1))
    touch = [one for one in found.differences if one.column == "touch_ns"]
    assert len(touch) == 24
    assert sum(one.verdict == "worse" for one in touch) >= 0.9 * len(touch)
    assert sum((one.low or 0) <= 0.1 <= (one.high or 0) for one in touch) >= 0.8 * len(touch)  # 95 % nominal
    assert {one.column for one in found.worse(0.05)} == {"touch_ns"}


def test_times_of_runs_that_did_not_take_turns_are_unclear(tmp_path: Path) -> None:
    cells = _repeated((10,))
    first = _noisy(tmp_path / "a", cells, 5, 0, turns=False)
    second = _noisy(tmp_path / "b", cells, 5, 1, turns=False, slow=1.1)
    found = compare(first, second)
    times = [one for one in found.differences if one.unit == "ns"]
    assert {(one.verdict, one.blocks, one.p) for one in times} == {("unclear", 1, None)}
    assert all(one.low is not None and one.low <= one.change <= one.high for one in times if one.change is not None)
    assert {one.verdict for one in found.differences if one.unit == "B"} == {"same"}
    # The drift alone would have been taken for differences of everything:
    careless = compare(first, second, drift=0)
    assert len([one for one in careless.differences if one.verdict in ("worse", "better")]) > 24


def test_of_runs_apart_what_goes_beyond_the_drift_counts(tmp_path: Path) -> None:
    cells = _repeated((10,))
    first = _noisy(tmp_path / "a", cells, 5, 0, turns=False)
    second = _noisy(tmp_path / "b", cells, 5, 1, turns=False, slow=3)
    found = compare(first, second, drift=0.5)
    assert found.drift == 0.5
    verdicts = {(one.column, one.verdict) for one in found.differences if one.unit == "ns"}
    assert verdicts == {(name, "worse" if name == "touch_ns" else "same") for name in TIMES}


def test_the_direction_is_that_of_the_blocks(tmp_path: Path) -> None:
    """Each block is 10 % slower in the second; what is left over at the end of the first makes its median the larger."""
    tables = rows_of([cell_of("shmem", engine="real", repeat=repeat) for repeat in range(20)]).tables()
    faster = [100.0 + one for one in range(20)]
    first = _set(_set(tables["cells"], "touch_ns", [*faster[:9], *[900.0] * 11]), "started_ns", np.arange(0.0, 40, 2))
    second = tables["cells"].slice(0, 9)
    second = _set(_set(second, "touch_ns", [1.1 * one for one in faster[:9]]), "started_ns", np.arange(1.0, 19, 2))
    stores = (
        _store(tmp_path / str(number), {**tables, "cells": cells}) for number, cells in enumerate((first, second))
    )
    (touch,) = compare(*stores, columns=["touch_ns"]).differences
    assert (touch.verdict, touch.blocks, touch.first > touch.second) == ("worse", 9, True)
    assert touch.change == pytest.approx(0.1)


def _on(tables: dict[str, pa.Table], machine: str | None = None, **facts: str) -> dict[str, pa.Table]:
    rows = [row | {"value": facts.get(row["key"], row["value"])} for row in tables["environments"].to_pylist()]
    cells = tables["cells"]
    if machine:
        rows = [row | {"machine": machine} for row in rows]
        at = cells.schema.get_field_index("machine")
        moved = [
            machine if engine == "real" else own
            for engine, own in zip(cells["engine"].to_pylist(), cells["machine"].to_pylist(), strict=True)
        ]
        cells = cells.set_column(at, cells.schema.field(at), pa.array(moved))
    return {**tables, "cells": cells, "environments": pa.Table.from_pylist(rows, tables["environments"].schema)}


def test_machines_that_differ_are_refused_unless_named(tmp_path: Path) -> None:
    first = _store(tmp_path / "a", headline().tables())
    other = _store(tmp_path / "b", _on(headline().tables(), kernel="6.19.0"))
    with pytest.raises(StoreError, match=r"kernel: 6\.18\.5 / 6\.19\.0.*--across kernel"):
        compare(first, other)
    found = compare(first, other, across=["kernel"])
    assert [(fact.kind, fact.key, fact.second) for fact in found.facts] == [("kernel", "kernel", "6.19.0")]
    hardware = _store(tmp_path / "c", _on(headline().tables(), machine="another", cpu="64 cores", kernel="6.19.0"))
    with pytest.raises(StoreError, match=r"cpu: 2 vCPU / 64 cores; machine: .*--across hardware,kernel"):
        compare(first, hardware)
    with pytest.raises(StoreError, match="cpu"):
        compare(first, hardware, across=["kernel", "machine"])
    assert compare(first, hardware, across=["hardware", "kernel"]).differences
    with pytest.raises(StoreError, match="across=weather: neither a fact"):
        compare(first, other, across=["weather"])


def test_simulated_rows_do_not_care_where_they_were_made(tmp_path: Path) -> None:
    first = _store(tmp_path / "a", rows_of([cell_of("shmem")]).tables())
    other = _store(tmp_path / "b", _on(rows_of([cell_of("shmem")]).tables(), kernel="6.19.0"))
    assert compare(first, other).facts == ()


def test_what_can_not_be_compared_is_said(tmp_path: Path) -> None:
    first = _store(tmp_path / "a", rows_of([cell_of("shmem")]).tables())
    with pytest.raises(StoreError, match="no cell has a result in both"):
        compare(first, _store(tmp_path / "b", rows_of([cell_of("shmem", 11)]).tables()))
    with pytest.raises(StoreError, match="columns=mechanism: no figure"):
        compare(first, first, columns=["mechanism"])
    assert {one.column for one in compare(first, first, columns=["data_bytes"]).differences} == {"data_bytes"}
