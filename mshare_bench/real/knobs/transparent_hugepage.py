"""Whether anonymous memory may be backed by huge pages: ``/sys/kernel/mm/transparent_hugepage/enabled``.

``always``, ``madvise`` (after ``MADV_HUGEPAGE``) or ``never``. Mappings that exist keep what they have. An anonymous huge
page saves no page-table bytes: the kernel deposits a PTE page with each, for the day when it has to be split.
"""

from pathlib import Path

from mshare_bench.real.knobs.knob import Knob, register

__all__ = ["TRANSPARENT_HUGEPAGE"]

TRANSPARENT_HUGEPAGE = Knob("transparent_hugepage", Path("/sys/kernel/mm/transparent_hugepage/enabled"))

register(TRANSPARENT_HUGEPAGE.name, TRANSPARENT_HUGEPAGE)
