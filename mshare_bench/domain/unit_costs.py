"""The unit costs that the models know, each with its unit and what it stands for.

Paths of the kernel that differ have costs of their own: a mechanism says in `Traits.paths` which name its path has. `*_far` is
what a page takes more once pages and tables no longer fit into the caches (`cache_bytes`), `*_beyond` what it takes more than
that once they no longer fit into the last one either (`cache_last_bytes`).
"""

from dataclasses import dataclass

__all__ = ["UNIT_COSTS", "UnitCostKind"]


@dataclass(frozen=True, slots=True)
class UnitCostKind:
    """What a unit cost is: its unit, and in words per what."""

    unit: str
    description: str


_TEXT = """
timer ns - an empty phase: reading the clock and the fault counters
access ns - a page that is mapped already, touched once (a TLB miss and a cache line)
access_far ns - more, per page, where the touched lines do not fit into the caches
access_old ns - more, for the first access through an entry that fork copied: its accessed bit is set
access_old_far ns - more, where its entry and its line do not fit into the caches

vma_map ns - mmap of a region
vma_advise ns - madvise on a whole mapping
vma_split ns - madvise on a part of a mapping, which splits it
segment_attach ns - shmat of a System V segment
ksm_advise ns - madvise(MADV_MERGEABLE)
vma_protect ns - mprotect, without what it does per page
vma_unmap ns - munmap, without what it does per page

fault_read ns - read fault of page-cache data that is there, which maps the window around it
fault_page ns - read fault that maps one page
fault_write ns - write fault of a shared page that is there
fault_hole ns - fault of a page that the file does not have yet, without its zeroing
fault_anonymous ns - write fault of anonymous memory, without its zeroing
fault_ksm ns - the same in memory that may be merged
fault_copy ns - write fault of a page that is not one's own, without the copy
fault_copy_file ns - write fault of a private file mapping, without the copy
fault_read_file ns - read fault of a file's page cache
fault_write_file ns - write fault of a file's page cache, shared
fault_huge ns - fault that maps a 2 MiB page of the page cache
fault_huge_hole ns - fault of a 2 MiB page that the file does not have yet, without its zeroing
fault_huge_anonymous ns - fault of an anonymous 2 MiB page, without its zeroing
fault_hugetlb ns - fault of a preallocated huge page that is there
fault_hugetlb_hole ns - fault of a preallocated huge page that the file does not have yet, without its zeroing
fault_link ns - fault that only links a shared table
pte_fill ns - a further page that a read fault maps
fault_far ns - more, per page that a fault maps, where frames' descriptors do not fit into the caches
frame_zero ns - clearing a page of 4 KiB
page_copy ns - copying a page of 4 KiB
table_allocate ns - a page-table page, allocated, cleared and charged
table_free ns - a page-table page, scanned and freed
table_scan ns - a page-table page scanned by mprotect

pte_protect ns - a present PTE whose protection changes
pte_protect_anonymous ns - the same, of anonymous memory
pte_protect_copy ns - the same, of pages shared with a parent
pte_protect_ksm ns - the same, of merged pages
huge_protect ns - a present huge leaf whose protection changes
hugetlb_protect ns - a preallocated huge page whose protection changes
protect_far ns - more, per page, where tables do not fit into the caches
protect_beyond ns - more than that, where the tables of all processes do not fit into the last cache
pte_zap ns - a present PTE of a shared page, removed
pte_zap_file ns - the same, of a file's page cache
pte_zap_anonymous ns - a present PTE of anonymous memory, removed and its frame freed
pte_zap_copy ns - a present PTE of a page shared with a parent, removed
pte_zap_ksm ns - a present PTE of a merged page, removed
huge_zap ns - a huge leaf, removed
huge_zap_anonymous ns - an anonymous huge leaf, removed and its frame freed
hugetlb_zap ns - a preallocated huge leaf, removed
hugetlb_unshare ns - a shared PMD page, let go of
unmap_far ns - more, per page, where tables and frames' descriptors do not fit into the caches
unmap_beyond ns - more than that, where those of all processes do not fit into the last cache

fork ns - fork of a small process
vma_copy ns - a mapping copied at fork
pte_copy ns - a present PTE of private memory copied at fork, with its reference and its place in the counters
huge_copy ns - a huge leaf copied at fork
pte_store ns - the part of that which writes the child's entry
table_copy ns - a page-table page copied at fork, without its entries
table_share ns - a page-table page shared at fork instead of copied
fork_far ns - more, per page, where pages' descriptors do not fit into the caches
rss_account ns - a page taken up into a process's counters and references, without its entry
process_exit ns - exit of a small process, until it is reaped
exit_far ns - more, for a process whose own state was pushed out of the caches
exit_beyond ns - more than that, where it was pushed out of the last one
task_exit ns - exit of one that shares its address space

context_switch ns - handing over to a thread of the same address space on this CPU: its wake-up and the switch
context_switch_mm ns - handing over to a process with another address space on this CPU
futex_wake ns - handing over to a sleeper on another CPU
ipi ns - a shootdown interrupt to one other CPU, sent and acknowledged
ipi_per_cpu ns - each further CPU
tlb_flush_all ns - flushing every entry, here, with what it takes to fill again
ksm_compare ns - KSM: a page scanned
ksm_merge ns - KSM: a page merged
ksm_break ns - KSM: a merged page written, without the copy
latency_l1 ns - a dependent load that hits the L1
latency_l2 ns - one that hits the L2
latency_l3 ns - one that hits the L3
latency_memory ns - one that goes to memory on the own node
latency_remote ns - one that goes to memory one hop away
cache_bytes B - caches that a core has for tables, frames' descriptors and data lines together
cache_last_bytes B - the last cache, which cores share
folio_move ns - a folio moved to another node, without its copy
byte_copy ns - a byte of a folio copied to another node
network_message ns - a message to another machine, one way
network_byte ns - a byte of it
lock_hold ns - a page-table or mmap lock, taken and given back without a wait
lock_transfer ns - the cache line of a lock brought over from another CPU
"""


def _kinds() -> dict[str, UnitCostKind]:
    kinds = {}
    for line in filter(None, map(str.strip, _TEXT.splitlines())):
        key, description = line.split(" - ", 1)
        name, unit = key.split(" ")
        kinds[name] = UnitCostKind(unit, description)
    return kinds


UNIT_COSTS = _kinds()
"""Every unit cost by name."""
