"""What kernel same-page merging saves, keeps and takes: frames, rmap items, scans.

Every page scanned has an rmap item of 64 bytes beside it; a merged page saves a frame; page tables stay as they are (mm/ksm.c).
"""

from dataclasses import dataclass

from mshare_bench.domain.cost import CostModel
from mshare_bench.errors import ConfigError
from mshare_bench.mechanisms.ksm import RMAP_ITEM_BYTES

__all__ = ["KsmOutcome", "KsmPages", "predict_ksm"]


@dataclass(frozen=True, slots=True)
class KsmPages:
    """Pages that KSM watches, as the files of `/sys/kernel/mm/ksm` count them.

    Attributes
    ----------
    shared
        Frames that are shared.
    sharing
        Further places that use them: the frames saved.
    unshared, volatile
        Watched and found nowhere else; watched and changing too fast.
    """

    shared: int
    sharing: int
    unshared: int
    volatile: int

    def __post_init__(self) -> None:
        for name in ("shared", "sharing", "unshared", "volatile"):
            if getattr(self, name) < 0:
                raise ConfigError(f"pages_{name}={getattr(self, name)}: must not be negative")

    @property
    def watched(self) -> int:
        """All of them."""
        return self.shared + self.sharing + self.unshared + self.volatile


@dataclass(frozen=True, slots=True)
class KsmOutcome:
    """What comes of it.

    Attributes
    ----------
    saved_bytes, metadata_bytes, profit_bytes
        Frames saved, rmap items kept, and the difference: the kernel's `general_profit`.
    page_table_bytes_change
        What happens to page tables: nothing.
    scan_seconds
        A full scan of all pages at the pace that the knobs set, the scanning itself not counted.
    scan_cpu_seconds
        CPU time of a full scan and of the merges; None without the unit costs.
    """

    saved_bytes: int
    metadata_bytes: int
    profit_bytes: int
    page_table_bytes_change: int
    scan_seconds: float
    scan_cpu_seconds: float | None


def predict_ksm(
    pages: KsmPages, pages_to_scan: int, sleep_ms: float, page: int = 4096, costs: CostModel | None = None
) -> KsmOutcome:
    """Predict what merging these pages saves and takes.

    Parameters
    ----------
    pages_to_scan, sleep_ms
        The knobs: so many pages, then so long a sleep.
    costs
        A profile with `ksm_compare` and `ksm_merge`, for the CPU time.
    """
    saved, kept = pages.sharing * page, pages.watched * RMAP_ITEM_BYTES
    compare = costs.get("ksm_compare") if costs else None
    merge = costs.get("ksm_merge") if costs else None
    cpu = None
    if compare is not None and merge is not None:
        cpu = (pages.watched * compare.value + pages.sharing * merge.value) / 1e9
    rounds = pages.watched / pages_to_scan
    return KsmOutcome(saved, kept, saved - kept, 0, rounds * sleep_ms / 1e3, cpu)
