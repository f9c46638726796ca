from pathlib import Path

import pyarrow as pa
import pytest

from mshare_bench.errors import StoreError
from mshare_bench.results.files import write_arrow


def test_arrow_files_are_whole_or_not_there(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]})
    write_arrow(tmp_path / "x.arrow", table)
    with pa.ipc.open_file(tmp_path / "x.arrow") as reader:
        assert reader.read_all().equals(table)
    with pytest.raises(StoreError, match="nowhere"):
        write_arrow(tmp_path / "nowhere" / "x.arrow", table)
