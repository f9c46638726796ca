import ctypes
import os

import pytest

from mshare_bench.real import probes as module
from mshare_bench.real.probes import flag_faults, kvm_unavailable, stock_flag_faults, userfaultfd_unavailable
from tests.requirements import require


def test_a_second_mapper_takes_the_faults_that_fault_around_leaves():
    faults = stock_flag_faults()
    page = os.sysconf("SC_PAGE_SIZE")
    if page != 4096:
        pytest.skip("fault-around and the unit are those of 4 KiB pages")
    # 64 KiB windows, the kernel's default; a debugfs setting may change the window, never to more than one table.
    assert faults is not None
    assert (2 << 20) % (faults * page) == 0
    assert faults > 1 or flag_faults() is None


def test_the_flag_is_taken_by_a_stock_kernel_and_does_nothing():
    with_flag = flag_faults()
    shares = with_flag is not None and with_flag <= 1
    require("kernel", not shares, "this kernel shares page tables")
    assert with_flag == stock_flag_faults()


def test_nothing_is_left_behind():
    descriptors, maps = set(os.listdir("/proc/self/fd")), _maps()
    flag_faults()
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert "mshare-bench-probe" not in _maps()
    assert "mshare-bench-probe" not in maps


def test_a_taken_address_is_no_answer():
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    assert libc.mmap(module._ADDRESS, 4096, 0, 0x100022, -1, 0) == module._ADDRESS
    try:
        assert flag_faults() is None
    finally:
        libc.munmap(module._ADDRESS, 4096)
    assert flag_faults() is not None


def test_kvm_gives_a_reason_that_names_it():
    reason = kvm_unavailable()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        assert "/dev/kvm" in reason
    assert reason is None or reason.startswith("/dev/kvm")


def test_a_device_that_does_not_work_is_told(monkeypatch, tmp_path):
    (tmp_path / "kvm").write_text("")
    opened = os.open
    monkeypatch.setattr(module.os, "open", lambda path, flags: opened(tmp_path / "kvm", flags))
    assert "does not work" in kvm_unavailable()


def test_kvm_needs_a_processor_that_can(monkeypatch):
    monkeypatch.setattr(module.os, "open", lambda path, flags: os.memfd_create("kvm"))
    monkeypatch.setattr(module.fcntl, "ioctl", lambda fd, number, argument: 12 if number == 0xAE00 else os.dup(fd))
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module, "read_text", lambda path: "flags\t: fpu sse2 hypervisor")
    assert "neither vmx nor svm" in kvm_unavailable()
    monkeypatch.setattr(module, "read_text", lambda path: "flags\t: fpu svm")
    assert kvm_unavailable() is None


def test_userfaultfd_on_an_unknown_machine(monkeypatch):
    monkeypatch.setattr(module.platform, "machine", lambda: "vax")
    assert "vax" in userfaultfd_unavailable()


def _maps():
    with open("/proc/self/maps") as text:
        return text.read()
