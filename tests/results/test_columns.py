import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mshare_bench.results.columns import codes, column, holds, indices, known, numbers, positions, strings, texts

_KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(),
}


@pytest.mark.parametrize("kind", _KINDS, ids=str)
@settings(deadline=None)
@given(data=st.data())
def test_columns_equal_those_of_arrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | _KINDS[kind]))
    made = column(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))
    start = data.draw(st.integers(0, len(values)))
    pieces = pa.chunked_array([made[:start], made[start:]], kind)
    assert known(pieces).tolist() == [value is not None for value in values]
    if kind in (pa.int64(), pa.float64()):
        assert [a for a, ok in zip(numbers(pieces).tolist(), known(pieces), strict=True) if ok] == [
            value for value in values if value is not None
        ]
    if kind == pa.string():
        code, distinct = codes(pieces)
        assert [distinct[one] if one >= 0 else None for one in code] == values == strings(pieces)


def test_indices_with_nulls() -> None:
    assert indices(np.arange(3), np.array([True, False, True])).to_pylist() == [0, None, 2]


def test_pandas_is_left_alone() -> None:
    program = (
        "import sys, tempfile; from mshare_bench.results.store import Store; import mshare_bench.results.merge;"
        "from mshare_bench.results.columns import column; import pyarrow as pa;"
        "from mshare_bench.results.schema import schema;"
        "empty = {f.name: [None] for f in schema('cells')} | {'cell': ['a'], 'repeat': [0], 'page_table_bytes': [1]};"
        "t = pa.Table.from_arrays([column(empty[f.name], f.type) for f in schema('cells')], schema=schema('cells'));"
        "s = Store.create(tempfile.mkdtemp(), 'x'); s.append({'cells': t}); s.finished(); s.compact(); s.table('cells');"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@settings(deadline=None)
@given(data=st.data())
def test_texts_are_those_of_every_part(data: st.DataObject) -> None:
    words = st.none() | st.sampled_from(["", "a", "b", "ä"]) | st.text()
    lists = data.draw(st.lists(st.lists(words, max_size=5), min_size=1, max_size=3))
    parts, counts, expected = [], [], []
    for _ in range(data.draw(st.integers(0, 8))):
        if data.draw(st.booleans()):
            part = data.draw(st.sampled_from(lists))  # the same list more than once
            parts.append(part)
            counts.append(len(part))
            expected += part
        else:
            word, count = data.draw(words), data.draw(st.integers(0, 4))
            parts.append(word)
            counts.append(count)
            expected += [word] * count
    made = texts(counts, parts)
    made.validate(full=True)
    assert made.equals(pa.array(expected, pa.string()))


def test_positions_of_what_is_there_and_of_what_is_not() -> None:
    among = pa.array(["b", "a"])
    found = positions(pa.chunked_array([pa.array(["a", None]), pa.array([], pa.string()), pa.array(["c", "b"])]), among)
    assert found.tolist() == [1, -1, -1, 0]
    assert positions(pa.chunked_array([pa.array([], pa.string())]), among).tolist() == []


def test_rows_that_hold_a_word() -> None:
    table = pa.table({"a": pa.chunked_array([pa.array(["x", None]), pa.array(["y", "x"])])})
    assert holds(table, "a", "x").tolist() == [True, False, False, True]
    assert not holds(table, "a", "z").any(), "null is no word"
