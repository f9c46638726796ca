"""What a live host duplicates in page tables, and what each way to share them would save.

    from mshare_bench.audit import audit_host
    audit = audit_host()            # or audit_host(pids=["postgres"]), audit_host(cgroup="/system.slice")
    audit.objects_table()           # pyarrow.Table: object, kind, mappers, ..., saved_mshare_bytes, saved_hugetlb_bytes
    audit.processes_table()         # pyarrow.Table: pid, comm, vmpte_bytes, attributed_bytes, unattributed_bytes

:mod:`.screen` prints it with a recommendation in plain words.
"""

from mshare_bench.audit.host import audit_host
from mshare_bench.audit.result import Audit

__all__ = ["Audit", "audit_host"]
