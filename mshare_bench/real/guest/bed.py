"""One guest: QEMU with a kernel and an initramfs, and the serial line to the engine inside.

The first serial port is the kernel's console and goes to a file, of which the end is told when the guest dies; the second is the
line. Nothing else of the host is visible in the guest: no disk, no network, no folder.
"""

import os
import platform
import re
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from mshare_bench.domain.topology import Machine
from mshare_bench.errors import CapabilityError, CellFailed
from mshare_bench.real.guest.initramfs import Initramfs
from mshare_bench.real.guest.kernel import find_kernel
from mshare_bench.real.guest.machine import qemu_arguments
from mshare_bench.real.guest.payload import Payload, find_payload
from mshare_bench.real.guest.wire import decode, encode
from mshare_bench.real.probes import kvm_unavailable

__all__ = ["Bed", "Guest", "find_bed", "static_busybox"]

EXTRA = "/extra"
"""Folder in the guest that holds the user's files."""
_BOOT_SECONDS = 120.0
_CONSOLE_LINES = 2
_TELLING = re.compile(r"Kernel panic|BUG:|Oops|Out of memory|Error\b")

# With five levels the tables of a process would have another base.
_EMULATED_CPU = "max,-la57"
_CMDLINE = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic numa_balancing=disable"
# A 6.12 kernel was seen to crash under emulation where it used cmpxchg16b; numpy insists on a processor that has it.
# QEMU before 8.1 (its commit deba78709ae8 "accel/tcg: Always lock pages before translation") may keep a translation of code that
# another CPU patches meanwhile: the breakpoint of the patching stays there, and the kernel dies of "Oops: int3". A kernel that
# boots patches itself, so it does that with one CPU, and `_INIT` starts the others. Without `lpj` each of them would measure its
# delay loop for a second; with this one delays are never short, up to 5 GHz at 250 ticks a second.
_EMULATED_CMDLINE = f"{_CMDLINE} clearcpuid=cx16 maxcpus=1 noreplace-smp lpj=20000000"

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
{tmp}
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null && echo +memory > /sys/fs/cgroup/cgroup.subtree_control
[ -d /sys/fs/mshare ] && mount -t msharefs msharefs /sys/fs/mshare
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ip link set lo up 2>/dev/null
for cpu in /sys/devices/system/cpu/cpu*/online; do [ ! -e $cpu ] || echo 1 > $cpu; done
{module}
{hook}
{run}
echo "the guest's engine ended with $?"
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """What a guest is made of.

    Attributes
    ----------
    kernel
        Image to boot.
    qemu, busybox
        Programs.
    payload
        The running Python's files.
    kvm
        Whether the processor runs it; else QEMU emulates one, and times mean nothing.
    files
        A file or folder of the host that is copied to `EXTRA`; None for none.
    hook
        Shell line that runs in the guest, in that folder, before the engine starts (`insmod mine.ko`).
    module
        Our own module, loaded before that; None for none.
    """

    kernel: Path
    qemu: Path
    busybox: Path
    payload: Payload
    kvm: bool = False
    files: Path | None = None
    hook: str = ""
    module: Path | None = None


def find_bed(kernel: str | None = None, files: Path | None = None, hook: str = "") -> Bed:
    """Find everything that a guest is made of.

    Parameters
    ----------
    kernel
        As `find_kernel` takes it.
    files, hook
        See `Bed`.

    Raises
    ------
    CapabilityError
        When something is missing; the message says what to install.
    ConfigError
        When the named kernel is none.
    """
    if platform.machine() != "x86_64":
        raise CapabilityError(
            f"host=guest: guests run the agent of this machine and are x86-64, this is {platform.machine()}"
        )
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise CapabilityError("host=guest: qemu-system-x86_64 is not here; apt install qemu-system-x86")
    busybox = static_busybox()
    if busybox is None:
        raise CapabilityError("host=guest: a static busybox is not here; apt install busybox-static")
    return Bed(find_kernel(kernel), Path(qemu), Path(busybox), find_payload(), kvm_unavailable() is None, files, hook)


def static_busybox() -> str | None:
    """Path of a busybox that needs no libraries; None where there is none."""
    path = shutil.which("busybox")
    if path is None:
        return None
    with open(path, "rb") as binary:
        # A dynamic program names its loader within the first page; in an initramfs that would not be there.
        return None if b"/ld-" in binary.read(4096) else path


class Guest:
    """A running guest; a context manager that leaves no process and no file behind.

    Parameters
    ----------
    bed, machine
        What it is made of, and what QEMU shows to it.
    boot_seconds
        How long its engine may take to answer first.

    Attributes
    ----------
    environment
        What the guest says of itself: `read_environment` there.

    Raises
    ------
    CellFailed
        When it does not come up, or not with all of the machine's CPUs; with the last lines of its console.
    """

    def __init__(self, bed: Bed, machine: Machine, boot_seconds: float = _BOOT_SECONDS) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mshare-guest-")
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self.environment: dict[str, str | None] = {}
        try:
            archive = self.folder / "initramfs"
            with open(archive, "wb") as stream:
                _fill(stream, bed)
            self._start(bed, machine, archive)
            self.environment = self.receive(boot_seconds)["environment"]
            if self.environment["cpus"] != str(machine.cpus):
                started = f"{self.environment['cpus']} of its {machine.cpus} CPUs"
                raise CellFailed(f"the guest has started {started}{self._last_words()}")
            archive.unlink()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where its console is written to, and nothing that outlives it."""
        return Path(self._folder.name)

    def console(self) -> str:
        """What the kernel has written to its console."""
        path = self.folder / "console"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and wait for the answer; see `receive`."""
        self.send(message)
        return self.receive(seconds)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises
        ------
        CellFailed
            When the guest has gone.
        """
        try:
            os.write(self._input().fileno(), encode(message))
        except OSError as error:
            raise self._gone() from error

    def receive(self, seconds: float) -> dict[str, Any]:
        """Wait for a message.

        Raises
        ------
        CellFailed
            When none comes in time, or the guest ends; with the last lines of its console.
        """
        output = self._output().fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise CellFailed(f"the guest said nothing for {seconds:g} s{self._last_words()}")
            if poll.poll(1000 * left):
                part = os.read(output, 1 << 16)
                if not part:
                    raise self._gone()
                self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return decode(line)

    def close(self) -> None:
        """End it; may be called again."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._folder.cleanup()

    def _start(self, bed: Bed, machine: Machine, archive: Path) -> None:
        command = [
            str(bed.qemu), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35,usb=off",
            "-accel", "kvm" if bed.kvm else "tcg,thread=multi", "-cpu", "host" if bed.kvm else _EMULATED_CPU,
            "-kernel", str(bed.kernel), "-initrd", str(archive),
            "-append", _CMDLINE if bed.kvm else _EMULATED_CMDLINE,
            "-chardev", f"file,id=console,path={self.folder / 'console'}", "-serial", "chardev:console",
            "-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line",
            *qemu_arguments(machine),
        ]  # fmt: skip
        # As with the zygote: the signal follows the thread that forked, and only the main one lives as long as the process does.
        keeper = shutil.which("setpriv") if threading.current_thread() is threading.main_thread() else None
        with open(self.folder / "qemu", "wb") as errors:
            self._process = subprocess.Popen(
                [keeper, "--pdeathsig", "KILL", *command] if keeper else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def _input(self) -> IO[bytes]:
        if self._process is None or self._process.stdin is None:
            raise CellFailed("the guest is closed")
        return self._process.stdin

    def _output(self) -> IO[bytes]:
        if self._process is None or self._process.stdout is None:
            raise CellFailed("the guest is closed")
        return self._process.stdout

    def _gone(self) -> CellFailed:
        return CellFailed(f"the guest ended{self._last_words()}")

    def _last_words(self) -> str:
        said = (self.folder / "qemu").read_text("utf-8", "replace").strip()
        lines = [line.strip() for line in f"{self.console()}\n{said}".splitlines() if line.strip()]
        # After a panic come registers and stacks: what it was stands before them.
        why = [line for line in lines[:-_CONSOLE_LINES] if _TELLING.search(line)][-1:]
        return f"; its last words: {' | '.join([*why, *lines[-_CONSOLE_LINES:]])}" if lines else ""


def _fill(stream: BinaryIO, bed: Bed) -> None:
    archive = Initramfs(stream)
    for path, target in bed.payload.links.items():
        archive.link(path, target)
    for folder in ("/bin", "/proc", "/sys", "/dev", "/tmp", EXTRA):
        archive.folder(folder)
    for file in bed.payload.files:
        archive.file(file)
    busybox = "/usr/bin/busybox" if "/bin" in bed.payload.links else "/bin/busybox"
    archive.file(bed.busybox, busybox)
    exports = "".join(f"export {name}='{value}'\n" for name, value in bed.payload.environment.items())
    hook = f"cd {EXTRA}\n{bed.hook}\ncd /\n" if bed.hook else ""
    if bed.files is not None:
        archive.tree(bed.files, EXTRA if bed.files.is_dir() else f"{EXTRA}/{bed.files.name}")
    # A mount would hide a Python that lives there.
    tmp = "" if any(file.is_relative_to("/tmp") for file in bed.payload.files) else "mount -t tmpfs tmpfs /tmp"
    module = ""
    if bed.module is not None:
        archive.file(bed.module, f"/{bed.module.name}")
        module = f"insmod /{bed.module.name}"
    run = f"{exports}{' '.join(bed.payload.command)} /dev/ttyS1 2>/dev/ttyS0"
    archive.data("/init", _INIT.format(tmp=tmp, module=module, hook=hook, run=run).encode(), executable=True)
    archive.close()
