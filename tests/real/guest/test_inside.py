"""The guest's side, spoken to without a guest."""

import io

from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.geometry import X86_64
from mshare_bench.domain.units import MIB
from mshare_bench.real.engine import RealEngine
from mshare_bench.real.guest.inside import answer, serve
from mshare_bench.real.guest.wire import cell_to_mapping, decode, encode
from mshare_bench.results.rows import Rows
from mshare_bench.workloads.registry import workloads


def _message() -> dict[str, object]:
    point = Point(workloads()["region"].resolve(processes=2, region=MIB), "shmem", "", X86_64.page)
    return cell_to_mapping(Cell(point, engine="real", host="guest", machine="m"))


class _Engine(RealEngine):
    def gather(self, cell: Cell) -> Rows:
        rows = Rows()
        rows.add("cells", cell=cell.digest, status="ok", data_bytes=self._options.reserve)
        return rows


class _Broken(RealEngine):
    def gather(self, cell: Cell) -> Rows:
        raise ZeroDivisionError("in the guest")


def test_a_cell_is_answered_with_its_rows() -> None:
    columns = answer({"cell": _message()}, _Engine())["tables"]["cells"]
    assert columns["cell"] == [_message()["digest"]]
    assert columns["status"] == ["ok"]


def test_whatever_is_raised_becomes_a_row() -> None:
    columns = answer({"cell": _message()}, _Broken())["tables"]["cells"]
    assert columns["status"] == ["failed"]
    assert columns["error"] == ["ZeroDivisionError: in the guest"]


def test_a_cell_that_is_not_the_same_is_refused() -> None:
    assert "another cell" in answer({"cell": {**_message(), "page": 5}}, _Engine())["refused"]


def test_the_line_is_served_until_it_ends() -> None:
    requests = io.BytesIO(encode({"options": {"reserve": 5}}) + encode({"cell": _message()}))
    answers = io.BytesIO()
    serve(requests, answers)
    first, second = (decode(line) for line in answers.getvalue().splitlines())
    assert first["environment"]["architecture"]
    assert second["tables"]["cells"]["cell"] == [_message()["digest"]]
