"""Where rows come from."""

from mshare_bench.cluster.stamp import Where, named, stamped
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from tests.cluster.engines import cell, here


def test_the_digest_is_of_the_facts() -> None:
    assert Where("a", {"x": "1"}).env == Where("b", {"x": "1"}).env != Where("a", {"x": "2"}).env


def test_what_an_engine_has_stamped_stays() -> None:
    rows = Rows()
    rows.add("cells", **cell_columns(cell(1)), env="elsewhere")
    assert stamped(rows.tables(), here())["cells"]["env"].to_pylist() == ["elsewhere"]


def test_tables_without_cells_stay() -> None:
    assert stamped({}, here()) == {}


def test_a_machine_is_named_in_the_long_tables_only() -> None:
    rows = Rows()
    rows.add("cells", **cell_columns(cell(1, "real")))
    rows.add("groups", cell="c", group="g", machine="kind")
    tables = named(rows.tables(), "10.0.0.2")
    assert tables["groups"]["machine"].to_pylist() == ["10.0.0.2"]
    assert tables["cells"].equals(rows.tables()["cells"])
