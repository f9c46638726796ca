"""The msharefs ABI against a double that answers as a 6.17 kernel with the v3 series was seen to answer."""

import errno
import mmap
import os
import struct
from pathlib import Path

import pytest

from mshare_bench.domain.units import GIB, MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms._msharefs import CREATE_MAPPING, Msharefs

UNIT = 512 * GIB


class Recorded:
    """msharefs as far as its rules go: sizes in whole units, set once; mappings shared and fixed; a memfd or anonymous."""

    def __init__(self, fail=None, info=b"549755813888\n"):
        self.calls, self.fail, self.info = [], dict(fail or {}), info
        self.sizes = {}

    def _call(self, name, *details):
        self.calls.append((name, *details))
        if name in self.fail:
            raise OSError(self.fail[name], os.strerror(self.fail[name]))

    def mount(self, folder):
        assert Path(folder).is_dir()
        self._call("mount")

    def detach(self, folder):
        self._call("detach")

    def read(self, path):
        assert path.endswith("/mshare_info")
        self._call("read")
        return self.info

    def open(self, path, flags, mode):
        assert flags & (os.O_CREAT | os.O_EXCL | os.O_RDWR) == os.O_CREAT | os.O_EXCL | os.O_RDWR
        assert mode == 0o600
        self._call("open")
        fd = os.memfd_create("double")
        self.sizes[fd] = 0
        return fd

    def ftruncate(self, fd, size):
        self._call("ftruncate", size)
        if self.sizes[fd] or size % UNIT or not size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.sizes[fd] = size

    def ioctl(self, fd, request, argument):
        assert request == CREATE_MAPPING == 0x40287800
        assert len(argument) == 40
        region_offset, size, offset, prot, flags, data_fd = struct.unpack("=QQQIIi4x", argument)
        self._call("ioctl", size, flags)
        if flags != mmap.MAP_SHARED | 0x10 or region_offset + size > self.sizes[fd]:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        assert prot == 3
        assert offset == 0
        assert os.fstat(data_fd).st_size == size


def names(double):
    return [call[0] for call in double.calls]


def test_every_step_in_its_order_and_nothing_left_in_a_name_space():
    double = Recorded()
    region = Msharefs(double).create(64 * MIB)
    assert names(double) == ["mount", "read", "open", "detach", "ftruncate", "ioctl"]
    assert region.map_length == UNIT  # a process maps the whole window, exactly
    assert os.fstat(region.data_fd).st_size == 64 * MIB  # the mapping is sized to the data, not to the window
    region.close()
    with pytest.raises(OSError):
        os.fstat(region.data_fd)


def test_a_region_above_a_window_takes_whole_windows():
    double = Recorded()
    region = Msharefs(double).create(UNIT + 4096)
    assert region.map_length == 2 * UNIT
    region.close()


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ({"mount": errno.ENODEV}, "CONFIG_MSHARE"),
        ({"mount": errno.EPERM}, "root"),
        ({"mount": errno.EBUSY}, "mounting msharefs: Device or resource busy"),
        ({"read": errno.ENOENT}, "reading mshare_info"),  # a version without it
        ({"open": errno.EACCES}, "creating a file"),
        ({"open": errno.EEXIST}, "creating a file: File exists"),
        ({"open": errno.EMFILE}, "creating a file"),
        ({"ftruncate": errno.EINVAL}, "whole windows"),
        ({"ioctl": errno.ENOTTY}, "no such call"),
        ({"ioctl": errno.EINVAL}, "another version"),  # 0x40287800 means something else there
        ({"ioctl": errno.ENOMEM}, "RLIMIT_AS"),
    ],
)
def test_a_refused_step_says_what_it_would_take_and_leaves_nothing(fail, said):
    double, before = Recorded(fail), set(os.listdir("/proc/self/fd"))
    with pytest.raises(CapabilityError, match=said) as raised:
        Msharefs(double).create(64 * MIB)
    assert "interface=msharefs" in str(raised.value)
    if "mount" not in fail:
        assert "detach" in names(double)
    for fd in double.sizes:
        with pytest.raises(OSError):
            os.fstat(fd)
    assert len(set(os.listdir("/proc/self/fd")) - before) == 0


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda double, fd: double.ftruncate(fd, UNIT), errno.EINVAL),  # a size is set once
        (lambda double, fd: double.ioctl(fd, CREATE_MAPPING, _mapping(mmap.MAP_SHARED)), errno.EINVAL),
        (lambda double, fd: double.ioctl(fd, CREATE_MAPPING, _mapping(mmap.MAP_PRIVATE | 0x10)), errno.EINVAL),
        (lambda double, fd: double.ioctl(fd, CREATE_MAPPING, _mapping(size=2 * UNIT)), errno.EINVAL),
    ],
    ids=["sized twice", "not fixed", "private", "beyond the region"],
)
def test_what_the_rules_forbid_is_refused_by_the_double_and_never_asked_for(call, wanted):
    double = Recorded()
    region = Msharefs(double).create(64 * MIB)
    flags = [flags for name, *rest in double.calls if name == "ioctl" for flags in rest[1:]]
    assert flags == [mmap.MAP_SHARED | 0x10]
    with pytest.raises(OSError) as raised:
        call(double, region.fd)
    assert raised.value.errno == wanted
    region.close()


def _mapping(flags=mmap.MAP_SHARED | 0x10, size=64 * MIB):
    return struct.pack("=QQQIIi4x", 0, size, 0, 3, flags, -1)


def test_an_answer_that_is_no_size_is_refused():
    with pytest.raises(CapabilityError, match="mshare_info"):
        Msharefs(Recorded(info=b"later\n")).create(4096)


def test_this_kernel_says_what_is_missing():
    if "msharefs" in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has msharefs")
    with pytest.raises(CapabilityError, match="mechanism.interface=msharefs"):
        Msharefs().create(64 * MIB)
