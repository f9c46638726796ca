"""How many hugepages the kernel holds ready, per size: ``/sys/kernel/mm/hugepages/hugepages-<size>kB/nr_hugepages``.

Hugepages of this pool leave the free memory when the pool grows, whether anybody uses them or not. They need contiguous
memory: the kernel compacts, and gives fewer than asked for when it finds no more, above all of 1 GiB. Pages that are in
use when the pool shrinks stay as *surplus* until they are given back, so agents end before the knob is put back.

The pool is shared by everybody on the machine: it is only ever raised by what is needed, ``More(count)``, and lowered
to what it was.
"""

from collections.abc import Iterable
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import read_int
from mshare_bench.real.knobs.knob import Knob, register

__all__ = ["free_hugepages", "hugepage_sizes", "nr_hugepages"]

_FOLDER = Path("/sys/kernel/mm/hugepages")


def hugepage_sizes() -> list[int]:
    """List the hugepage sizes of this kernel, in bytes, smallest first; empty without hugetlb."""
    return sorted(int(folder.name[10:-2]) * 1024 for folder in _FOLDER.glob("hugepages-*kB"))


def nr_hugepages(page_bytes: int) -> Knob:
    """
    Give the knob for one hugepage size.

    Raises
    ------
    CapabilityError
        When this kernel has no hugepages of that size; names those that it has.
    """
    if page_bytes not in hugepage_sizes():
        sizes = ", ".join(f"{size >> 10} kB" for size in hugepage_sizes()) or "none"
        raise CapabilityError(f"page={page_bytes}: this kernel has no hugepages of that size (it has: {sizes})")
    return _knob(page_bytes)


def free_hugepages(page_bytes: int) -> int | None:
    """How many hugepages of a size are in the pool and neither used nor reserved; None where it can't be read."""
    folder = _FOLDER / f"hugepages-{page_bytes >> 10}kB"
    free, reserved = read_int(folder / "free_hugepages"), read_int(folder / "resv_hugepages")
    return None if free is None or reserved is None else free - reserved


def _knob(page_bytes: int) -> Knob:
    size = f"{page_bytes >> 10}kB"
    return Knob(f"nr_hugepages_{size}", _FOLDER / f"hugepages-{size}" / "nr_hugepages", unit_bytes=page_bytes)


def _all() -> Iterable[Knob]:
    return [_knob(size) for size in hugepage_sizes()]


register("nr_hugepages", _all)
