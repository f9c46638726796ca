"""System V shared memory (`shmget`, `shmat`): as shmem, but a read fault maps one page; there is no fault-around.

The segment is removed right after it was made and attached once, so that nothing of it outlives the run; it can be attached
by its number as long as one attachment is there.
"""

import ctypes
import os
from dataclasses import dataclass

from mshare_bench.domain.geometry import Geometry
from mshare_bench.domain.workload import Placed
from mshare_bench.mechanisms.contract import Backing, Extent, Mechanism, Recipe, Traits, whole
from mshare_bench.mechanisms.registry import mechanism

__all__ = ["Segment", "Sysv"]

_IPC_PRIVATE = 0
_IPC_RMID = 0
_IPC_CREAT = 0o1000


class Segment(Backing):
    """A removed System V segment that stays until it is closed."""

    def __init__(self, size: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        libc.shmdt.argtypes = (ctypes.c_void_p,)
        shmid = libc.shmget(_IPC_PRIVATE, ctypes.c_size_t(size), _IPC_CREAT | 0o600)
        if shmid < 0:
            raise OSError(ctypes.get_errno(), f"shmget of {size} bytes: {os.strerror(ctypes.get_errno())}")
        self._libc, self._address = libc, libc.shmat(shmid, None, 0)
        code = ctypes.get_errno()
        libc.shmctl(shmid, _IPC_RMID, None)
        if self._address == ctypes.c_void_p(-1).value:
            raise OSError(code, f"shmat: {os.strerror(code)}")
        super().__init__(shmid=shmid)

    def held_bytes(self) -> int | None:
        """Bytes in memory, from `/proc/sysvipc/shm`."""
        with open("/proc/sysvipc/shm") as file:
            names = next(file).split()
            for line in file:
                row = dict(zip(names, line.split(), strict=False))
                if int(row["shmid"]) == self.shmid:
                    return int(row["rss"])
        return None

    def close(self) -> None:
        """Detach; the kernel frees the segment once nobody has it attached."""
        if self.shmid >= 0:
            self._libc.shmdt(self._address)
            self.shmid = -1


@mechanism
@dataclass(frozen=True)
class Sysv(Mechanism):
    """A System V segment."""

    name = "sysv"
    summary = "System V segment: tables per process, a fault for every page"
    color = "#999999"

    @property
    def traits(self) -> Traits:
        """One copy of the data, tables per process."""
        return Traits(paths=(("vma_map", "segment_attach"), ("fault_read", "fault_page")))

    def extents(self, placed: Placed, page: int, geometry: Geometry) -> tuple[Extent, ...]:
        """One extent without fault-around."""
        return whole(placed, page)

    def recipe(self, placed: Placed, page: int) -> Recipe:
        """Attached by its number."""
        return Recipe(flags=0)

    def open(self, size: int, page: int) -> Backing:
        """Make a segment."""
        return Segment(size)
