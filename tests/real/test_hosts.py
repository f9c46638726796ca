"""Cells go to the engine of the host that they name."""

from collections.abc import Iterator, Sequence

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.real.hosts import Hosts
from mshare_bench.workloads.registry import workloads


class _Engine:
    def __init__(self, name: str) -> None:
        self.name, self.calls = name, []

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        self.calls.append([cell.host for cell in cells])
        yield {"ran": self.name}

    def estimate(self, cell: Cell) -> Estimate:
        return Estimate(float(len(self.name)), 0, 0)

    def prepare(self) -> None:
        self.calls.append(["prepare"])

    def close(self) -> None:
        self.calls.append(["close"])


def test_each_cell_goes_where_it_belongs_in_order() -> None:
    here, guest = _Engine("here"), _Engine("guest")
    hosts = Hosts(here, guest)  # type: ignore[arg-type]
    point = Point(workloads()["region"].resolve(processes=1), "shmem", "", X86_64.page)
    cells = [Cell(point, "real", host) for host in ("here", "guest", "here")]
    assert [tables["ran"] for tables in hosts.run(cells)] == ["here", "guest", "here"]
    assert [hosts.estimate(cell).seconds for cell in cells] == [4.0, 5.0, 4.0]
    hosts.prepare()
    hosts.close()
    assert here.calls == [["here"], ["here"]]
    assert guest.calls == [["guest"], ["prepare"], ["close"]]
