"""Guests start, die in words, and are gone with whoever started them."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.guest.bed import Bed, Guest, find_bed, static_busybox
from mshare_bench.real.guest.machine import PLAIN
from mshare_bench.real.guest.payload import Payload
from tests.requirements import require

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def bed() -> Bed:
    try:
        return find_bed()
    except CapabilityError as error:
        require("guest", False, str(error))
        raise


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"qemu-system-x86_64": None}
    monkeypatch.setattr(shutil, "which", lambda name: have.get(name, f"/bin/{name}"))
    with pytest.raises(CapabilityError, match="qemu-system-x86_64 is not here; apt install qemu-system-x86"):
        find_bed()
    have = {"busybox": None}
    with pytest.raises(CapabilityError, match="a static busybox is not here; apt install busybox-static"):
        find_bed()


def test_a_dynamic_busybox_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(b"\x7fELF...\0/lib64/ld-linux-x86-64.so.2\0")
    monkeypatch.setattr(shutil, "which", lambda _name: str(program))
    assert static_busybox() is None
    program.write_bytes(b"\x7fELF...")
    assert static_busybox() == str(program)


@pytest.mark.guest
def test_files_and_a_hook_go_along(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "said").write_text("brought along\n")
    own = dataclasses.replace(bed, files=tmp_path, hook="cat said > /dev/ttyS0; pwd > /dev/ttyS0")
    with Guest(own, PLAIN) as guest:
        console = guest.console()
        folder = guest.folder
        assert guest.environment["cpus"] == "2"
    assert "brought along" in console
    assert "/extra" in console
    assert not folder.exists()


@pytest.mark.guest
def test_an_emulated_kernel_boots_with_one_cpu_and_hooks_see_all(bed: Bed) -> None:
    # What patches code while several emulated CPUs run it may kill the kernel.
    hook = "dmesg | grep 'smp: Brought' > /dev/ttyS0; echo the hook sees $(nproc) > /dev/ttyS0"
    with Guest(dataclasses.replace(bed, kvm=False, hook=hook), PLAIN) as guest:
        console = guest.console()
    assert "smp: Brought up 1 node, 1 CPU" in console
    assert f"the hook sees {PLAIN.cpus}" in console


def test_a_guest_without_all_of_its_cpus_is_none(tmp_path: Path) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text('#!/bin/sh\necho \'{"environment": {"cpus": "1"}}\'\nread -r _\n')
    qemu.chmod(0o755)
    made = Bed(qemu, qemu, qemu, Payload((), {}, (), {}))
    with pytest.raises(CellFailed, match="the guest has started 1 of its 2 CPUs"):
        Guest(made, PLAIN)


@pytest.mark.guest
def test_a_panic_is_told_in_its_own_words(bed: Bed) -> None:
    dying = dataclasses.replace(bed, hook="echo c > /proc/sysrq-trigger")
    with pytest.raises(
        CellFailed, match=r"the guest ended; its last words: .*Kernel panic - not syncing: sysrq triggered crash"
    ):
        Guest(dying, PLAIN)


@pytest.mark.guest
def test_a_guest_goes_with_whoever_started_it(bed: Bed, tmp_path: Path) -> None:
    require("guest", shutil.which("setpriv") is not None, "setpriv of util-linux is not here")
    script = (
        "import dataclasses, os\n"
        "from mshare_bench.real.guest import bed as b\n"
        "from mshare_bench.real.guest.machine import PLAIN\n"
        "start = b.subprocess.Popen\n"
        "def told(*a, **k):\n"
        "    process = start(*a, **k)\n"
        "    if '-kernel' in a[0]: print(process.pid, flush=True)\n"
        "    return process\n"
        "b.subprocess.Popen = told\n"
        "b.Guest(b.find_bed(), PLAIN)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    qemu = int(child.stdout.readline())
    while not Path(f"/proc/{qemu}/cmdline").read_bytes().startswith(bytes(bed.qemu)):
        time.sleep(0.01)  # until then it is setpriv
    child.send_signal(signal.SIGKILL)
    child.communicate()
    for _ in range(500):
        if not Path(f"/proc/{qemu}").exists():
            break
        time.sleep(0.01)
    assert not Path(f"/proc/{qemu}").exists()
