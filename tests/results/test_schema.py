"""The contract, as other tools read it: documented to the last field, and every past version still readable."""

from pathlib import Path

import pyarrow as pa
import pytest

from mshare_bench.results.schema import (
    PHASES,
    SCHEMA_VERSION,
    STATUSES,
    TABLES,
    TIMED_PHASES,
    field_names,
    schema,
    unit_of,
)

STORES = Path(__file__).parents[1] / "data" / "stores"
UNITS = {"", "B", "ns", "ns/s", "count", "1", "h", "cycles"}


@pytest.mark.parametrize("table", TABLES)
def test_every_field_says_what_it_is_in_which_unit_and_which_way_is_better(table: str) -> None:
    fields = schema(table)
    assert tuple(fields.names) == field_names(table)
    assert len(set(fields.names)) == len(fields.names)
    for field in fields:
        assert set(field.metadata) == {b"unit", b"better", b"description"}, field.name
        assert field.metadata[b"unit"].decode() in UNITS, field.name
        assert field.metadata[b"better"] in (b"lower", b"higher", b"none"), field.name
        assert field.metadata[b"description"], field.name
        assert field.nullable, field.name
        # Bytes and faults are counted, times are medians; and the name ends in the unit.
        if field.metadata[b"unit"] == b"B" or field.name.endswith("_bytes"):
            assert (field.metadata[b"unit"], field.type) == (b"B", pa.int64()), field.name
        if field.name.endswith(("_ns", "_ns_lo", "_ns_hi")):
            assert field.metadata[b"unit"] in (b"ns", b"ns/s"), field.name
            assert field.type == pa.float64(), field.name
        if pa.types.is_string(field.type):
            assert (field.metadata[b"unit"], field.metadata[b"better"]) == (b"", b"none"), field.name


def test_long_tables_are_keyed_by_cell_and_repeat_and_times_have_an_interval() -> None:
    assert all(
        field_names(table)[:2] == ("cell", "repeat") for table in TABLES if table not in ("cells", "environments")
    )
    assert {"cell", "repeat", "point", "baseline_point", "status", "env"} <= set(field_names("cells"))
    for phase in TIMED_PHASES:
        assert {f"{phase}_ns", f"{phase}_ns_lo", f"{phase}_ns_hi"} <= set(field_names("cells"))
    assert set(TIMED_PHASES) == set(PHASES) - {"launch"}
    described = schema("cells").field("status").metadata[b"description"].decode()
    assert all(status in described for status in STATUSES)


@pytest.mark.parametrize("version", sorted(path.name for path in STORES.iterdir()))
def test_no_column_of_a_past_version_is_gone_or_of_another_type(version: str) -> None:
    """A minor step adds nullable columns, no more."""
    assert version.split(".")[0] == SCHEMA_VERSION.split(".")[0]
    assert [int(part) for part in version.split(".")] <= [int(part) for part in SCHEMA_VERSION.split(".")]
    tables = sorted((STORES / version).glob("*.arrow"))
    assert tables
    for path in tables:
        with pa.ipc.open_file(path) as reader:
            then = reader.schema
        now = schema(path.stem)
        assert then.metadata[b"schema_version"].decode() == version
        for field in then:
            assert now.field(field.name).type == field.type, f"{path.stem}.{field.name}"
            assert now.field(field.name).metadata[b"unit"] == field.metadata[b"unit"], f"{path.stem}.{field.name}"


def test_units_by_name() -> None:
    assert unit_of("cells", "page_table_bytes") == "B"
    assert unit_of("cells", "touch_ns") == "ns"
    assert unit_of("fleet", "hour") == "h"
    assert unit_of("cells", "mechanism") == ""


@pytest.mark.parametrize("call", [schema, field_names])
def test_a_table_that_is_none_is_a_key_error(call: object) -> None:
    with pytest.raises(KeyError, match="profits"):
        call("profits")  # type: ignore[operator]
