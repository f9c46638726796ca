from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu import Scenario, Sequential, load_traces, simulate, simulate_plainly, trace_from_addresses
from tests.sim.mmu.configurations import MIB
from tests.sim.mmu.geometries import named_geometry

BASE = 0x7F00_0000_0000


def write(path: Path, form: str, **columns: Any) -> Path:
    table = pa.table(columns)
    if form == "parquet":
        parquet.write_table(table, path)
        return path
    opener = ipc.new_file if form == "file" else ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, opener(sink, table.schema) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("form", ["file", "stream", "parquet"])
def test_reads_every_form(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "trace", form, address=pa.array([BASE, BASE + 4096, BASE + 64], pa.uint64()))
    (trace,) = load_traces(path, MIB, BASE)
    assert trace.addresses.tolist() == [0, 4096, 64]


def test_splits_by_process(tmp_path: Path) -> None:
    path = write(tmp_path / "trace", "file", address=pa.array([1, 2, 3, 4]), process=pa.array([7, 5, 7, 5]))
    assert [trace.addresses.tolist() for trace in load_traces(path, MIB)] == [[2, 4], [1, 3]]


def test_addresses_of_the_upper_half_do_not_wrap() -> None:
    base = 0xFFFF_8000_0000_0000
    trace = trace_from_addresses(np.array([base, base + 8], np.uint64), MIB, base)
    assert trace.addresses.tolist() == [0, 8]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"addr": [1]}, "no column 'address', only addr"),
        ({"address": [1.5]}, "column 'address' holds double, not whole numbers"),
        ({"address": [1, None]}, "column 'address' has 1 nulls"),
        ({"address": [0, 1 << 20]}, "address 0x100000 in row 1 is outside the region 0x0 to 0xfffff"),
        ({"address": [-1]}, "address -0x1 in row 0 is outside"),
        ({"address": pa.array([], pa.int64())}, "no addresses"),
        ({"address": pa.array([], pa.int64()), "process": pa.array([], pa.int64())}, "no addresses"),
        ({"address": [0, 1], "process": ["a", "b"]}, "column 'process' holds string"),
    ],
)
def test_bad_traces_are_one_clear_line(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "trace.arrow", "file", **columns)
    with pytest.raises(ConfigError) as error:
        load_traces(path, MIB)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_traces(tmp_path / "nowhere", MIB)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("12345 is not an address\n" * 10)
    with pytest.raises(ConfigError, match="neither an Arrow IPC nor a Parquet file"):
        load_traces(foreign, MIB)
    foreign.write_bytes(b"PAR1 but nothing after it")
    with pytest.raises(ConfigError, match="neither an Arrow IPC nor a Parquet file"):
        load_traces(foreign, MIB)
    foreign.write_bytes(b"ARROW1 but nothing after it")
    with pytest.raises(ConfigError, match="neither an Arrow IPC nor a Parquet file"):
        load_traces(foreign, MIB)


def test_a_recorded_stream_counts_as_the_stream_does() -> None:
    mmu = named_geometry("skylake_sp")
    generated = Scenario(region=16 * MIB, processes=2, accesses=5000, streams=(Sequential(step=192),), quantum=500)
    recorded = trace_from_addresses(np.arange(5000) * 192 % (16 * MIB), 16 * MIB)
    replayed = Scenario(region=16 * MIB, processes=2, accesses=5000, streams=(recorded,), quantum=500)
    assert simulate(replayed, mmu) == simulate(generated, mmu) == simulate_plainly(replayed, mmu)
