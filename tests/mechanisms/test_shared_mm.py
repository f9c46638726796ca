"""One address space for all: one set of tables, each fault taken once."""

from pathlib import Path

import pytest

from mshare_bench.domain.units import KIB, MIB
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.shared_mm import SharedMm
from mshare_bench.real.counters.vmpte import kcmp_unavailable, same_mm
from mshare_bench.real.programs import Backed
from mshare_bench.sim.accounting import account
from mshare_bench.sim.points import make_point
from tests.mechanisms.observed import observe
from tests.requirements import require


def seen_of(pids: list[int], one: Backed) -> tuple[bool, set[str]]:
    """Whether all are on one mm, and the thread groups that they are in."""
    groups = {line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Tgid" in line}
    return all(same_mm(pids[0], pid) for pid in pids), groups


@pytest.mark.kernel
@pytest.mark.parametrize(("kind", "thread_groups"), [("process", 3), ("thread", 1)])
def test_one_set_of_tables_whose_faults_are_taken_once(kind: str, thread_groups: int) -> None:
    require("kernel", kcmp_unavailable() is None, f"kcmp: {kcmp_unavailable()}")
    point = make_point("shared_mm", 3, 8 * MIB, options={"kind": kind})
    found, expected = observe(point, seen_of), account(point)
    one_mm, groups = found.seen
    assert one_mm and len(groups) == thread_groups
    # /proc shows the one set under every pid.
    assert found.tables == [(4 + 1 + 1) * 4 * KIB] * 3
    assert expected.page_table_bytes == found.tables[0]
    assert found.faults == [128, 0, 0]
    assert expected.total("minor_faults") == 128


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_tables_do_not_grow_with_the_processes(kind: str) -> None:
    few, many = (account(make_point("shared_mm", count, 8 * MIB, options={"kind": kind})) for count in (1, 10_000))
    assert few.page_table_bytes == many.page_table_bytes
    assert many.total("data_bytes") == 8 * MIB


def test_a_kind_that_is_none_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="mechanism.kind=fiber: shared_mm has process, thread"):
        SharedMm.of({"kind": "fiber"})
