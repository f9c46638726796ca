"""Audits made up for tests of what is said about them."""

from mshare_bench.audit.objects import Kind
from mshare_bench.audit.result import Audit, AuditedProcess, CgroupShare, Cost, SharedObject, Unread

__all__ = ["GIB", "MIB", "audit_of", "buffers", "library"]

MIB, GIB = 1 << 20, 1 << 30


def buffers(name="memfd:buffers (inode 5)", kind=Kind.MEMFD, mappers=100, each=2 * MIB, **other):
    """Shared memory of `mappers` processes, `each` bytes of tables in every one."""
    table, once = mappers * each, each
    fields = {
        "kernel_shared_bytes": 0,
        "saved_mshare_bytes": table - once,
        "saved_flag_bytes": table - once - 8192 * mappers,
        "saved_flag_aligned_bytes": table - once - 8192 * mappers,
        "saved_hugetlb_bytes": table - 8192 * mappers,
        "saved_thp_bytes": table - 8192 * mappers,
        "reserve_bytes": GIB,
        **other,
    }
    return SharedObject(name, kind, mappers, mappers * GIB, table, once, table - once, **fields)


def library(name="/usr/lib/libbig.so", mappers=100, each=64 << 10):
    """A library: duplicated, and nothing shares it."""
    return SharedObject(name, Kind.PRIVATE_FILE, mappers, mappers * MIB, mappers * each, each, (mappers - 1) * each)


def audit_of(*objects, memory_bytes=64 * GIB, has_mshare=False, **other):
    """An audit that found those objects, in 100 processes that have nothing else but one private table each."""
    private = SharedObject("(private memory)", Kind.PRIVATE, 100, 100 * MIB, 100 * 4096, 100 * 4096, 0)
    each = (sum(one.table_bytes for one in objects) + private.table_bytes) // 100
    processes = tuple(
        AuditedProcess(
            1000 + at, "worker", each + 4096 * (at == 0), each, 4096 * (at == 0), 4096, 0, 0, (1000 + at,), "/web"
        )
        for at in range(100)
    )
    values = {
        "cgroups": (CgroupShare("/web", 100, 100 * each, 100 * each, 4096, 0, 0),),
        "unread": (),
        "missed": (),
        "page_tables_bytes": 101 * each,
        "own_bytes": 4096,
        "top_bytes": 0,
        "without": 50,
        "method": "PAGEMAP_SCAN",
        "selection": "all processes",
        "top": 5,
        "table_page_bytes": 4096,
        "huge_page_bytes": 2 * MIB,
        "cost": Cost(0.25, 0.2, 3 * MIB, 0),
        **other,
    }
    return Audit(
        objects=tuple(objects),
        private=private,
        processes=processes,
        memory_bytes=memory_bytes,
        has_mshare=has_mshare,
        **values,
    )


def unread(pid=4, comm="init", reason="Permission denied", vmpte_bytes=8192):
    """A process that could not be read."""
    return Unread(pid, comm, reason, vmpte_bytes)
