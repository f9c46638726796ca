"""Many sources, one table: held against a dictionary that is filled source by source."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.results.merge import Merge, latest
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import TABLES
from tests.results.sample import cell_of, rows_of

CELLS = [
    cell_of(name, count, repeat=repeat, engine="real")
    for name in ("shmem", "thp", "hugetlb")
    for count in (1, 2)
    for repeat in (0, 1)
]


class Given:
    """A source in memory."""

    def __init__(self, rows: Rows) -> None:
        self._tables = rows.tables()

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        table = self._tables.get(name)
        return table if table is None or columns is None else table.select(columns)


def merged(sources: Sequence[Any]) -> dict[str, pa.Table]:
    """Every table that has rows."""
    merge = Merge(sources)
    return {name: table for name in TABLES if (table := merge.table(name)).num_rows}


def source_of(picks: Sequence[int], failing: bool) -> Rows:
    return rows_of([CELLS[pick] for pick in picks], failing=("thp",) if failing else ())


@given(st.lists(st.integers(-3, 3)))
def test_the_last_of_every_key_counts(keys: list[int]) -> None:
    expected = {key: position for position, key in enumerate(keys)}
    assert latest(np.array(keys, np.int64)).tolist() == [expected[key] for key in sorted(expected)]


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, len(CELLS) - 1), unique=True), st.booleans()), min_size=1, max_size=5)
)
def test_later_sources_replace_the_rows_of_a_cell_in_every_table(parts: list[tuple[list[int], bool]]) -> None:
    sources = [source_of(picks, failing) for picks, failing in parts]
    expected: dict[str, dict[Any, list[dict[str, Any]]]] = {"cells": {}, "phases": {}, "samples": {}}
    for rows in sources:
        tables = {name: table.to_pylist() for name, table in rows.tables().items()}
        for key in {(row["cell"], row["repeat"]) for row in tables.get("cells", [])}:
            for name, kept in expected.items():
                kept[key] = [row for row in tables.get(name, []) if (row["cell"], row["repeat"]) == key]
    found = {name: table.to_pylist() for name, table in merged([Given(rows) for rows in sources]).items()}
    order = [(row["cell"], row["repeat"]) for row in found.get("cells", [])]
    assert sorted(order) == sorted(expected["cells"])
    for name, kept in expected.items():
        wanted = [row for key in order for row in kept[key]]
        assert [
            {**row, "page_table_saved_bytes": None} if name == "cells" else row for row in found.get(name, [])
        ] == wanted


@settings(max_examples=10)
@given(order=st.permutations(range(len(CELLS))), cuts=st.lists(st.integers(0, len(CELLS)), max_size=4))
def test_the_order_of_rows_depends_on_the_rows_alone(order: list[int], cuts: list[int]) -> None:
    whole = merged([Given(source_of(range(len(CELLS)), False))])
    ends = [0, *sorted(cuts), len(CELLS)]
    pieces = [Given(source_of(order[start:end], False)) for start, end in pairwise(ends)]
    found = merged(pieces)
    assert set(found) == set(whole)
    for name, table in found.items():
        assert table.equals(whole[name]), name
    names = [(row["processes"], row["mechanism"], row["repeat"]) for row in whole["cells"].to_pylist()]
    assert names == sorted(names)


def test_savings_are_filled_from_rows_of_other_sources() -> None:
    shmem, thp = cell_of("shmem", 10), cell_of("thp", 10)
    cells = merged([Given(rows_of([thp])), Given(rows_of([shmem]))])["cells"].to_pylist()
    by_name = {row["mechanism"]: row for row in cells}
    saved = by_name["shmem"]["page_table_bytes"] - by_name["thp"]["page_table_bytes"]
    assert by_name["thp"]["page_table_saved_bytes"] == saved > 0


def test_a_fact_of_an_environment_is_there_once_with_its_latest_value() -> None:
    first, second = Rows(), Rows()
    first.add("environments", env="e", machine="m", key="kernel", value="6.1")
    second.add("environments", env="e", machine="m", key="kernel", value="6.2")
    second.add("environments", env="e", machine="m", key="cpu", value="two")
    table = Merge([Given(first), Given(second)]).table("environments")
    assert [(row["key"], row["value"]) for row in table.to_pylist()] == [("cpu", "two"), ("kernel", "6.2")]


def test_nothing_gives_no_rows_and_no_other_table_is_known() -> None:
    assert merged([Given(Rows())]) == {}
    with pytest.raises(KeyError):
        Merge([Given(rows_of([cell_of()]))]).table("profits")
    assert set(merged([Given(rows_of([cell_of()]))])) < set(TABLES)
