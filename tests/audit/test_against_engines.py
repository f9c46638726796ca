"""What the audit says that mshare would save is what the engines find: `shmem` measured, less what `mshare` needs."""

import os

import pytest

from mshare_bench.audit import audit_host
from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import GIB, MIB
from mshare_bench.real.engine import RealEngine
from mshare_bench.results.rows import Rows
from mshare_bench.sim.engine import SimEngine
from tests.audit.scene import agents, found, memfd_of, sharing
from tests.requirements import require
from tests.sim.points import point

pytestmark = pytest.mark.kernel


def page_tables(engine, one, name):
    (row,) = Rows.merge(list(engine.run([Cell(one, name)])))["cells"].to_pylist()
    assert row["status"] == "ok", row["error"]
    return row["page_table_bytes"]


@pytest.mark.parametrize(("processes", "size"), [(2, 2 * MIB), (20, 64 * MIB), (5, GIB)])
def test_saved_bytes_are_those_of_the_engines(processes, size):
    require("kernel", os.geteuid() == 0, "reading another process's pagemap takes root")
    shmem = page_tables(RealEngine(), point("shmem", processes=processes, region=size), "real")
    mshare = page_tables(SimEngine(), point("mshare", processes=processes, region=size), "sim")
    with memfd_of(size) as fd, agents(sharing(fd, size), count=processes, fds=[fd]) as pids:
        audit = audit_host(pids)
    assert found(audit, "memfd:audited").saved_mshare_bytes == shmem - mshare
