"""The simulating engine: rows of the results contract, without running anything."""

from collections.abc import Iterator, Sequence

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.geometry import X86_64, Geometry
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.errors import MshareBenchError
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.sim.accounting import Account, account, mechanism_of

__all__ = ["SimEngine"]

_BATCH = 512
_SECONDS_PER_CELL = 0.0003


class SimEngine:
    """Predicts: bytes and faults exactly."""

    name = "sim"
    model = "accounting-1"

    def __init__(self, geometry: Geometry = X86_64) -> None:
        self._geometry = geometry

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Predict every cell; tables come in batches. A cell that the mechanism can't do becomes a `skipped` row."""
        for start in range(0, len(cells), _BATCH):
            rows = Rows()
            for cell in cells[start : start + _BATCH]:
                self._cell(cell, rows)
            yield rows.tables()

    def estimate(self, cell: Cell) -> Estimate:
        """What a simulated cell takes: a moment; and the page tables that it will show."""
        try:
            return Estimate(_SECONDS_PER_CELL, 0, account(cell.point, self._geometry).page_table_bytes)
        except MshareBenchError:
            return Estimate(0.0, 0, 0)

    def _cell(self, cell: Cell, rows: Rows) -> None:
        try:
            result = account(cell.point, self._geometry)
        except MshareBenchError as error:
            rows.add("cells", **cell_columns(cell, "skipped", str(error)))
            return
        tables, page = result.tables, result.page
        basis = result.traits.basis + ("+extrapolated" if cell.extrapolated else "")
        rows.add(
            "cells",
            **cell_columns(cell),
            page_table_bytes=tables.pages * page,
            pte_table_bytes=tables.pte * page,
            pmd_table_bytes=tables.pmd * page,
            pud_table_bytes=tables.pud * page,
            page_table_source="model",
            data_bytes=result.total("data_bytes"),
            metadata_bytes=result.total("metadata_bytes"),
            minor_faults=result.total("minor_faults"),
            linking_faults=result.total("linking_faults"),
            basis=basis,
        )
        self._long_tables(cell, result, rows)

    def _long_tables(self, cell: Cell, result: Account, rows: Rows) -> None:
        key = {"cell": cell.digest, "repeat": cell.repeat}
        backing = mechanism_of(cell.point).name
        for one in result.regions:
            rows.add(
                "regions",
                **key,
                region=one.name,
                backing=backing,
                region_bytes=one.region_bytes,
                mappers=one.mappers,
                page_table_bytes=one.tables.pages * result.page,
                pte_table_bytes=one.tables.pte * result.page,
                pmd_table_bytes=one.tables.pmd * result.page,
                pud_table_bytes=one.tables.pud * result.page,
                data_bytes=one.data_bytes,
                minor_faults=one.minor_faults,
                linking_faults=one.linking_faults,
            )
        for group in cell.point.workload.groups:
            rows.add(
                "groups", **key, group=group.name, role=group.role, processes=group.processes, machine=cell.machine
            )
