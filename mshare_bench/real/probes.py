"""Small experiments that tell what the kernel does, where the answer to a system call alone does not.

Each one uses a few pages, undoes itself, and changes nothing outside this process and a child of it.

* :func:`flag_faults`: a stock kernel *accepts* ``MAP_SHARED | 0x200000`` (the proposed MAP_SHARED_PT) and ignores the
  flag. What tells is a second process that reads an aligned, populated 2 MiB: with shared tables it takes at most one
  fault, without them 32 (one for each 64 KiB of fault-around).
* :func:`kvm_unavailable`: ``/dev/kvm`` may be there and not work; a virtual machine with a processor is made and closed.
* :func:`userfaultfd_unavailable`: the call itself is made.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
from collections.abc import Iterator

from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms._mshare_pte import UNIT, open_region
from mshare_bench.real.counters.procfs import read_text

__all__ = ["flag_faults", "kvm_unavailable", "require", "stock_flag_faults", "userfaultfd_unavailable"]

MAP_SHARED_PT = 0x200000

_ADDRESS = 0x5C00_0000_0000
_READ_WRITE, _SHARED, _FIXED_NOREPLACE = 3, 0x01, 0x100000
_KVM_GET_API_VERSION, _KVM_CREATE_VM, _KVM_CREATE_VCPU = 0xAE00, 0xAE01, 0xAE41
_USERFAULTFD = {"x86_64": 323, "aarch64": 282, "riscv64": 282}
_USER_MODE_ONLY = 1

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
_LIBC.memchr.restype = ctypes.c_void_p


def flag_faults() -> int | None:
    """
    Count the minor faults of a second process on 2 MiB that are mapped with MAP_SHARED_PT and populated by the first.

    Returns
    -------
    int or None
        At most 1 where the kernel shares the table; None when the experiment could not be made.
    """
    return _second_mappers_faults(MAP_SHARED_PT)


def stock_flag_faults() -> int | None:
    """Count the same without the flag: what this kernel takes when it shares no table."""
    return _second_mappers_faults(0)


def require(needed: str) -> None:
    """Try what a mechanism's recipe needs and only trying tells.

    Raises
    ------
    CapabilityError
        When this kernel does not do it, with what was seen.
    """
    if needed == "mshare_pte":
        # Making a region is all that there is to try; outside guests there is no such device.
        open_region(UNIT).close()
        return
    if needed != "MAP_SHARED_PT":
        raise CapabilityError(f"{needed}: not known how to try it")
    faults = flag_faults()
    if faults is None or faults > 1:
        seen = (
            "could not be tried" if faults is None else f"a second process took {faults} faults on shared 2 MiB, not 1"
        )
        raise CapabilityError(
            f"mechanism.interface=flag: this kernel accepts MAP_SHARED_PT and shares nothing ({seen}); "
            "it needs the MAP_SHARED_PT series"
        )


def kvm_unavailable() -> str | None:
    """Say why KVM can't be used here; None when a virtual machine with a processor can be made."""
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    opened = [device]
    try:
        if fcntl.ioctl(device, _KVM_GET_API_VERSION, 0) != 12:
            return "/dev/kvm speaks another version of the interface"
        opened.append(fcntl.ioctl(device, _KVM_CREATE_VM, 0))
        opened.append(fcntl.ioctl(opened[-1], _KVM_CREATE_VCPU, 0))
    except OSError as error:
        return f"/dev/kvm is there and does not work: {error.strerror}"
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)
    flags = (read_text("/proc/cpuinfo") or "").split()
    if platform.machine() == "x86_64" and not {"vmx", "svm"} & set(flags):
        # Seen on a virtual machine without nested virtualisation: a virtual processor could be made and never got anywhere.
        return "/dev/kvm is there and does not work: the processor shows neither vmx nor svm"
    return None


def userfaultfd_unavailable() -> str | None:
    """Say why userfaultfd can't be used here; None when it can (for faults in user mode at least)."""
    number = _USERFAULTFD.get(platform.machine())
    if number is None:
        return f"system call number not known for {platform.machine()}"
    for flags in (0, _USER_MODE_ONLY):
        descriptor = int(_LIBC.syscall(number, os.O_CLOEXEC | flags))
        if descriptor >= 0:
            os.close(descriptor)
            return None
    code = ctypes.get_errno()
    return "not in this kernel" if code == errno.ENOSYS else os.strerror(code)


def _second_mappers_faults(flag: int) -> int | None:
    try:
        descriptor = os.memfd_create("mshare-bench-probe", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.ftruncate(descriptor, UNIT)
        with _mapped(descriptor, flag) as address:
            if address is None:
                return None
            ctypes.memset(address, 1, UNIT)
            return _in_child(descriptor, flag)
    finally:
        os.close(descriptor)


def _in_child(descriptor: int, flag: int) -> int | None:
    # The faults come back through a pipe as a decimal number; an empty answer is a child that could not map or died.
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        try:
            _LIBC.munmap(_ADDRESS, UNIT)
            _read_densely(descriptor, flag)  # once for the interpreter's own first faults
            faults = _read_densely(descriptor, flag)
            os.write(writer, str(faults).encode() if faults is not None else b"")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text) if text else None


def _read_densely(descriptor: int, flag: int) -> int | None:
    with _mapped(descriptor, flag) as address:
        if address is None:
            return None
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _LIBC.memchr(address, 0xFF, UNIT)  # not in there: it reads to the end, without a Python object on the way
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@contextlib.contextmanager
def _mapped(descriptor: int, flag: int) -> Iterator[int | None]:
    # The flag's design asks for the same, aligned address in every sharer.
    address = _LIBC.mmap(_ADDRESS, UNIT, _READ_WRITE, _SHARED | _FIXED_NOREPLACE | flag, descriptor, 0)
    if address != _ADDRESS:
        if address is not None and address != ctypes.c_void_p(-1).value:
            _LIBC.munmap(address, UNIT)  # before Linux 4.17 the address was a mere wish
        yield None
        return
    try:
        yield address
    finally:
        _LIBC.munmap(address, UNIT)
