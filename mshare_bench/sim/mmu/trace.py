"""Recorded access streams: a trace of addresses from an Arrow IPC or Parquet file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import ConfigError
from mshare_bench.sim.mmu.streams import Trace

__all__ = ["load_traces", "trace_from_addresses"]


def trace_from_addresses(addresses: NDArray[Any], region: int, base: int = 0, name: str = "trace") -> Trace:
    """A trace of absolute addresses of a region that starts at `base` and is `region` bytes long.

    Raises
    ------
    ConfigError
        Not a one-dimensional array of whole numbers, empty, or an address outside the region: the first one is named.
    """
    if addresses.ndim != 1 or addresses.dtype.kind not in "iu":
        raise ConfigError(f"{name}: addresses are a column of whole numbers, not {addresses.ndim}-d {addresses.dtype}")
    if addresses.size == 0:
        raise ConfigError(f"{name}: no addresses")
    # Compared as they are: an offset taken first could wrap around, for addresses use all 64 bits.
    outside = (addresses < base) | (addresses >= base + region)
    if outside.any():
        row = int(np.argmax(outside))
        address = int(addresses[row])
        raise ConfigError(
            f"{name}: address {address:#x} in row {row} is outside the region {base:#x} to {base + region - 1:#x}"
        )
    offsets = addresses - addresses.dtype.type(base)
    return Trace(np.ascontiguousarray(offsets, dtype=np.int64))


def load_traces(path: Path, region: int, base: int = 0) -> tuple[Trace, ...]:
    """Read the accesses of one or several processes from a file.

    The file is Arrow IPC (file or stream) or Parquet with a column ``address`` of whole numbers, in the order of the
    accesses, and where there are several processes a column ``process`` of whole numbers.

    Returns
    -------
    tuple of Trace
        One per value of ``process``, in ascending order; a single one without that column.

    Raises
    ------
    ConfigError
        No such file, neither format, a missing column, a column with nulls or with other than whole numbers, no rows, an
        address outside the region.
    """
    table = _read(path)
    if "address" not in table.column_names:
        raise ConfigError(f"mmu.trace={path}: no column 'address', only {', '.join(table.column_names) or 'none'}")
    addresses = _column(table, "address", path)
    name = f"mmu.trace={path}"
    if "process" not in table.column_names:
        return (trace_from_addresses(addresses, region, base, name),)
    processes = _column(table, "process", path)
    if addresses.size == 0:
        raise ConfigError(f"{name}: no addresses")
    trace_from_addresses(addresses, region, base, name)  # so that an error names the row of the file
    return tuple(
        trace_from_addresses(addresses[processes == process], region, base, name) for process in np.unique(processes)
    )


def _read(path: Path) -> Any:
    import pyarrow
    from pyarrow import ipc, parquet

    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic[:4] == b"PAR1":
            return parquet.read_table(path)
        source = pyarrow.memory_map(str(path))
        return (ipc.open_file(source) if magic == b"ARROW1" else ipc.open_stream(source)).read_all()
    except OSError as error:
        raise ConfigError(f"mmu.trace={path}: {error.strerror or 'cannot be read'}") from error
    except pyarrow.ArrowInvalid as error:
        raise ConfigError(f"mmu.trace={path}: neither an Arrow IPC nor a Parquet file") from error


def _column(table: Any, name: str, path: Path) -> NDArray[Any]:
    import pyarrow

    column = table.column(name)
    if not pyarrow.types.is_integer(column.type):
        raise ConfigError(f"mmu.trace={path}: column '{name}' holds {column.type}, not whole numbers")
    if column.null_count:
        raise ConfigError(f"mmu.trace={path}: column '{name}' has {column.null_count} nulls")
    values: NDArray[Any] = column.to_numpy()
    return values
