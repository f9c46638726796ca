"""Kernel settings that a mechanism needs: one module per knob, and the journal that puts every one of them back.

========================  ======================================================================================
module                    what it sets
========================  ======================================================================================
:mod:`.hugepages`         how many hugepages of a size the kernel holds ready (``nr_hugepages``)
:mod:`.shmem_enabled`     whether shared memory may be backed by huge pages (THP)
:mod:`.transparent_hugepage`  whether anonymous memory may be
:mod:`.ksm`               whether KSM runs, how many pages per round, and how long it sleeps in between
:mod:`.knob`              what a knob is
:mod:`.journal`           what was set by whom, on disk, before it is set
========================  ======================================================================================

A knob is never written except through :func:`knobs_set`::

    with knobs_set({nr_hugepages(2 << 20): More(512), SHMEM_ENABLED: "advise"}):
        ...

which writes it down first, and puts it back at the end. What a killed run left is put back by :func:`restore_stale`.
"""

from mshare_bench.real.knobs.hugepages import nr_hugepages
from mshare_bench.real.knobs.journal import Restored, knobs_set, restore_stale
from mshare_bench.real.knobs.knob import Knob, More, knobs
from mshare_bench.real.knobs.ksm import KSM_PAGES_TO_SCAN, KSM_RUN, KSM_SLEEP_MILLISECS
from mshare_bench.real.knobs.shmem_enabled import SHMEM_ENABLED
from mshare_bench.real.knobs.transparent_hugepage import TRANSPARENT_HUGEPAGE

__all__ = [
    "KSM_PAGES_TO_SCAN",
    "KSM_RUN",
    "KSM_SLEEP_MILLISECS",
    "SHMEM_ENABLED",
    "TRANSPARENT_HUGEPAGE",
    "Knob",
    "More",
    "Restored",
    "knobs",
    "knobs_set",
    "nr_hugepages",
    "restore_stale",
]
