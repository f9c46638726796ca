"""Rows on their way: added one by one or in blocks, the same columns come out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import TABLES, schema
from tests.results.sample import cell_of, rows_of

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "cell": st.none() | st.text(max_size=4),
        "processes": st.none() | st.integers(0, 1 << 62),
        "touch_ns": st.none() | st.floats(allow_infinity=False),
    },
)


@settings(max_examples=15)
@given(st.lists(VALUES, max_size=8))
def test_what_is_left_out_or_no_number_is_null_and_the_rest_is_kept(given_rows: list[dict[str, Any]]) -> None:
    rows = Rows()
    for values in given_rows:
        rows.add("cells", **values)
    assert rows.count("cells") == len(given_rows)
    found = rows.tables().get("cells", schema("cells").empty_table()).to_pylist()
    for row, values in zip(found, given_rows, strict=True):
        known = {k: v for k, v in values.items() if v is not None and not (isinstance(v, float) and math.isnan(v))}
        assert {k: v for k, v in row.items() if v is not None} == known


@settings(max_examples=15)
@given(
    counts=st.lists(st.integers(0, 4), max_size=5),
    data=st.data(),
)
def test_a_block_is_so_many_rows(counts: list[int], data: st.DataObject) -> None:
    blocks, singles = Rows(), Rows()
    for count in counts:
        names = data.draw(st.lists(st.text(max_size=3), min_size=count, max_size=count))
        numbers = data.draw(st.lists(st.integers(0, 99), min_size=count, max_size=count))
        status = data.draw(st.sampled_from(["ok", "failed"]))
        blocks.extend("cells", count, cell=names, processes=np.array(numbers, np.int64), status=status)
        for name, number in zip(names, numbers, strict=True):
            singles.add("cells", cell=name, processes=number, status=status)
    if sum(counts):
        assert blocks.tables()["cells"].equals(singles.tables()["cells"])
        assert blocks.columns() == singles.columns()
    assert blocks.count("cells") == singles.count("cells") == sum(counts)


def test_a_column_can_be_set_afterwards_for_all_rows() -> None:
    rows = rows_of([cell_of("shmem"), cell_of("thp")])
    rows.fill("cells", env="here")
    rows.fill("migrations", reason="there are none")
    assert rows.tables()["cells"]["env"].to_pylist() == ["here", "here"]
    assert "migrations" not in rows.tables()


def test_plain_lists_say_what_tables_say_without_arrow() -> None:
    rows = rows_of([cell_of("shmem"), cell_of("thp", engine="real")])
    assert rows.columns() == {name: table.to_pydict() for name, table in rows.tables().items()}


def test_what_is_not_in_the_contract_is_named() -> None:
    with pytest.raises(KeyError, match="cells.profit is not in the results contract"):
        Rows().add("cells", profit=1)
    with pytest.raises(KeyError, match="profits"):
        Rows().add("profits", cell="a")


def test_parts_are_put_together_in_the_contracts_order_of_tables() -> None:
    parts = [rows_of([cell_of(name, engine="real")]).tables() for name in ("shmem", "thp")]
    whole = Rows.merge([dict(reversed(part.items())) for part in parts])
    assert list(whole) == [name for name in TABLES if name in whole]
    for name, table in whole.items():
        assert table.num_rows == sum(part[name].num_rows for part in parts)
        assert table.schema.equals(schema(name), check_metadata=True)
