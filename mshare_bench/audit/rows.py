"""An audit as rows of the results contract, so that it can be kept, tracked, compared and reported like any run.

One scene: the processes that were read. Measured is the kernel's own count of their tables (``VmPTE``), as they are (mechanism
`shmem`); predicted beside it is what the audit puts down to mappings (basis `conditioned`: from the places that are populated),
and what would be left with each way to share. Every shared object is a row of `regions`.
"""

from mshare_bench.audit.result import Audit
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, Workload
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows

__all__ = ["AUDIT_MODEL", "audit_rows"]

AUDIT_MODEL = "audit-1"

_MOST_OBJECTS = 1000
_FIELDS = {"mshare": "saved_mshare_bytes", "hugetlb": "saved_hugetlb_bytes", "thp": "saved_thp_bytes"}


def audit_rows(audit: Audit, machine: str, at: str) -> Rows:
    """Make the rows.

    Parameters
    ----------
    audit
        What was found.
    machine
        Digest of this machine's hardware.
    at
        When, ISO 8601: two audits of one host are two scenes.
    """
    rows = Rows()
    page = audit.table_page_bytes
    attributed = audit.vmpte_bytes - audit.unattributed_bytes

    def cell(mechanism: str, engine: str) -> Cell:
        size = audit.huge_page_bytes if mechanism in ("hugetlb", "thp") else page
        return Cell(
            Point(_workload(audit, at), mechanism, "", size),
            "real" if engine == "real" else "sim",
            machine=machine if engine == "real" else "",
            model=AUDIT_MODEL,
        )

    measured = cell("shmem", "real")
    rows.add(
        "cells",
        **cell_columns(measured),
        page_table_bytes=audit.vmpte_bytes,
        page_table_source="VmPTE",
        page_table_noise_bytes=0,
        basis="measured",
    )
    left = {"shmem": attributed}
    for mechanism, field in _FIELDS.items():
        left[mechanism] = attributed - sum(getattr(one, field) or 0 for one in audit.objects)
    for mechanism, found in left.items():
        rows.add(
            "cells",
            **cell_columns(cell(mechanism, "sim")),
            page_table_bytes=found,
            page_table_source="model",
            basis="conditioned",
        )
    key = {"cell": measured.digest, "repeat": 0}
    for one in audit.objects[:_MOST_OBJECTS]:
        rows.add(
            "regions",
            **key,
            region=one.object,
            backing=one.kind,
            region_bytes=one.mapped_bytes // max(one.mappers, 1),
            mappers=one.mappers,
            page_table_bytes=one.table_bytes,
        )
    for share in audit.cgroups:
        rows.add("groups", **key, group=share.cgroup, role="cgroup", processes=share.address_spaces, machine=machine)
    figures = (
        ("duplicated", float(audit.duplicated_bytes), "B", "lower"),
        ("unattributed", float(audit.unattributed_bytes), "B", "lower"),
        ("audit_time", audit.cost.seconds, "s", "lower"),
    )
    for name, value, unit, better in figures:
        rows.add("figures", **key, figure=name, value=value, unit=unit, better=better)
    return rows


def _workload(audit: Audit, at: str) -> Workload:
    """The processes of an audit as a workload: how many, and how much is mapped by more than one of them."""
    shared = sum(one.mapped_bytes // max(one.mappers, 1) for one in audit.objects if one.mappers > 1)
    groups = (ProcessGroup("processes", "process", (Cohort(len(audit.processes), ()),)),)
    params = {"selection": audit.selection, "at": at}
    return Workload("audit", (Region("objects", shared),), groups, "objects", params)
