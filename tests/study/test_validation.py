"""A validation as a run, with two predicted cells in place of those of the kernel (`tests/cli/test_validate.py` has them)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mshare_bench.domain.cell import Cell
from mshare_bench.errors import ConfigError
from mshare_bench.sim.points import make_point
from mshare_bench.study.validation import validate
from mshare_bench.validation import kernel

pytestmark = pytest.mark.usefixtures("own_folder")

MINE = """schema_version: 1
targets:
  - {id: mine, model: fork, source: mine, unit: {x: GiB, y: ms}, fit: [1, 2], rows: {1: 10, 2: 20, 4: %s}, tolerance: 0.1}
"""


@pytest.fixture
def two_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    def cells(small: bool, cost: str, machine: str, model_of: Callable[[str], str]) -> list[Cell]:
        return [Cell(make_point(name, 2, 1 << 20), model=model_of("sim")) for name in ("shmem", "thp")]

    monkeypatch.setattr(kernel, "kernel_cells", cells)


@pytest.mark.usefixtures("two_cells")
@pytest.mark.parametrize(("last", "code"), [("40", 0), ("80", 4)])
def test_a_target_that_is_missed_is_the_exit_code_and_stays_in_the_table(tmp_path: Path, last: str, code: int) -> None:
    """A fork that takes 10 ms at 1 GiB and 20 at 2 takes 40 at 4: within a tenth that is met, 80 is not."""
    (tmp_path / "mine.yaml").write_text(MINE % last)
    found = validate("tracking=none", f"out={tmp_path}/v", targets=tmp_path / "mine.yaml")
    assert found.exit_code == code
    assert found.link is None
    rows: list[dict[str, Any]] = [row for row in found.table.to_pylist() if row["target"] == "mine"]
    passed = {row["coordinates"]: row["passed"] for row in rows if row["block"] == "published"}
    assert passed["4 GiB"] is (code == 0)
    with pa.ipc.open_file(found.path / "validation.arrow") as reader:
        assert reader.read_all().equals(found.table)
    assert (found.path / "figures" / "validation.png").stat().st_size > 1000


@pytest.mark.parametrize("given", ["processes=3", "mechanism=shmem", "experiment=headline", "sweep.order=random"])
def test_what_runs_is_not_to_be_chosen(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=f"{given}: validate chooses by itself what runs"):
        validate(given, "tracking=none", f"out={tmp_path}/v")
    assert not (tmp_path / "v").exists()
