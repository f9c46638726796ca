"""What KSM has merged and what it keeps for that, from ``/sys/kernel/mm/ksm`` and ``/proc/PID/ksm_stat``.

KSM merges page *frames* with equal contents, never page tables: after a full merge every process still has its own
tables. It keeps an rmap item of 64 bytes for each page that it watches; ``general_profit`` is
``(pages_sharing + ksm_zero_pages) * page size - rmap items * 64`` and can be negative.

``pages_shared`` frames are in use, ``pages_sharing`` more places use them: ``pages_sharing * page size`` bytes are saved.
``full_scans`` tells when everything has been looked at: a page merges at the second scan that finds it unchanged.

Limits: private anonymous memory only, after ``MADV_MERGEABLE`` or ``prctl(PR_SET_MEMORY_MERGE)``; shared mappings are
never merged. The figures of the system are everybody's. ``ksm_stat`` came with Linux 6.1 and grew since; reading it needs
the right to trace the process.
"""

from collections.abc import Sequence
from pathlib import Path

from mshare_bench.errors import CellFailed
from mshare_bench.real.counters.procfs import read_int, read_process_file
from mshare_bench.real.counters.registry import Counter, register

__all__ = ["RMAP_ITEM_BYTES", "ksm_state", "process_ksm_state", "unavailable"]

RMAP_ITEM_BYTES = 64
"""``sizeof(struct ksm_rmap_item)`` on 64-bit kernels."""

_FOLDER = Path("/sys/kernel/mm/ksm")


def unavailable() -> str | None:
    """Say why KSM can't be read here; None when it can."""
    return None if _FOLDER.is_dir() else f"this kernel has no KSM (no {_FOLDER})"


def ksm_state() -> dict[str, int]:
    """
    Read KSM's figures for the whole machine.

    Returns
    -------
    dict of str to int
        By file name: ``pages_shared``, ``pages_sharing``, ``full_scans``, ``general_profit``, ``run``, ...; empty
        without KSM. Files that hold no number (``advisor_mode``) are left out.
    """
    values = ((path.name, read_int(path)) for path in sorted(_FOLDER.glob("*")))
    return {name: value for name, value in values if value is not None}


def process_ksm_state(pid: int) -> dict[str, int | bool]:
    """
    Read KSM's figures for one process.

    Returns
    -------
    dict of str to (int or bool)
        ``ksm_rmap_items``, ``ksm_merging_pages``, ``ksm_process_profit``, ... as far as this kernel has them, and
        ``ksm_merge_any``, ``ksm_mergeable`` as True or False; empty before Linux 6.1.

    Raises
    ------
    CellFailed
        When the process has ended.
    CapabilityError
        When it may not be read.
    """
    data = read_process_file(pid, "ksm_stat")
    if data is None:
        if read_process_file(pid, "stat") is None:
            raise CellFailed(f"process {pid} ended before its ksm_stat was read")
        return {}
    state: dict[str, int | bool] = {}
    for line in data.decode().splitlines():
        key, value = line.replace(":", " ").split()
        state[key] = value == "yes" if value in ("yes", "no") else int(value)
    return state


def _rmap_bytes(pids: Sequence[int]) -> int | None:
    if unavailable() is not None:
        return None
    states = [process_ksm_state(pid) for pid in pids]
    if not all("ksm_rmap_items" in state for state in states):
        return None
    return sum(int(state["ksm_rmap_items"]) for state in states) * RMAP_ITEM_BYTES


register(
    Counter(
        "ksm_pages_sharing",
        "page",
        "system",
        "places that use a merged frame beyond the first: what KSM saves",
        unavailable,
        lambda _pids: ksm_state().get("pages_sharing"),
    )
)
register(
    Counter(
        "ksm_rmap_items",
        "byte",
        "process",
        "rmap items that KSM keeps for pages of the processes",
        unavailable,
        _rmap_bytes,
    )
)
