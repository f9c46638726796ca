"""Whether shared memory (memfd, SysV, shared anonymous) may be backed by huge pages of the PMD size.

``/sys/kernel/mm/transparent_hugepage/shmem_enabled``: ``never`` (the usual default), ``advise`` (after
``MADV_HUGEPAGE``), ``within_size``, ``always``; ``deny`` and ``force`` are for testing. ``advise`` touches nobody who
does not ask, so it is what the ``thp`` mechanism sets.

The knob is for the kernel's internal mount; a tmpfs that is mounted has its own ``huge=`` option. Sizes below the PMD's
have their own files (``hugepages-64kB/shmem_enabled``, ...), which are left alone.
"""

from pathlib import Path

from mshare_bench.real.knobs.knob import Knob, register

__all__ = ["SHMEM_ENABLED"]

SHMEM_ENABLED = Knob("shmem_enabled", Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))

register(SHMEM_ENABLED.name, SHMEM_ENABLED)
