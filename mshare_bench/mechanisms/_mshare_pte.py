"""The user-space interface of our own module for guests, `/dev/mshare_pte` (`real/guest/module/mshare_pte.h`).

An open file of the device is a region: it gets its size once, and whoever inherits the file maps it. It shares PTE pages, nothing
above them.
"""

import fcntl
import os
import struct

from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms.contract import Backing

__all__ = ["DEVICE", "UNIT", "ModuleRegion", "open_region"]

DEVICE = "/dev/mshare_pte"

UNIT = 2 << 20
"""What one PTE page maps: regions and addresses are multiples of it, and one fault attaches so much."""

_SETUP = 0x40104D70
"""`MSHARE_PTE_SETUP`, `_IOW('M', 0x70, struct mshare_pte_setup)`: 16 bytes."""
_USAGE = 0x80104D71
"""`MSHARE_PTE_USAGE`, `_IOR('M', 0x71, struct mshare_pte_usage)`: 16 bytes."""
_PRIVATE_TABLES = 1


class ModuleRegion(Backing):
    """An open region of the module."""

    def held_bytes(self) -> int | None:
        """Bytes of data that the region holds: whole units, from the first touch in each on."""
        return self._usage()[0]

    def held_table_bytes(self) -> int:
        """Bytes of the PTE pages that all share."""
        return self._usage()[1]

    def _usage(self) -> tuple[int, int]:
        data, tables = struct.unpack("=QQ", fcntl.ioctl(self.fd, _USAGE, bytes(16)))
        return int(data), int(tables)


def open_region(size: int, sharing: bool = True, device: str = DEVICE) -> ModuleRegion:
    """Make a region of that many bytes, a multiple of `UNIT`.

    Parameters
    ----------
    sharing
        Whether its PTE pages are shared; without, the same driver gives every process tables of its own.

    Raises
    ------
    CapabilityError
        When the module is not loaded here, or refuses.
    """
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise CapabilityError(
            f"mechanism.interface=module: {device}: {error.strerror}; its module is for guests: host=guest loads it"
        ) from error
    try:
        fcntl.ioctl(fd, _SETUP, struct.pack("=QII", size, 0 if sharing else _PRIVATE_TABLES, 0))
    except OSError as error:
        os.close(fd)
        raise CapabilityError(f"mechanism.interface=module: a region of {size} bytes: {error.strerror}") from error
    return ModuleRegion(fd=fd, mapped_only=True)
