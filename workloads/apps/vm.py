"""Virtual machines: QEMU guests (TCG, no KVM needed), their memory mapped by peers, or merged by KSM.

The guest is a few instructions, loaded by Multiboot: it writes a word to every page of its memory from 2 MiB on, says so on the
debug port and halts. With `mechanism=shmem` the first process is a QEMU whose memory is a memfd (`share=on`), and all other
processes are peers that map it whole and read it, as vhost-user back ends do. With `mechanism=ksm` every process is a QEMU with
private memory, all guests alike; what KSM merges are frames, and the tables stay.
"""

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.application import Figure, MappedFile, Stage, Timing, Watched
from mshare_bench.domain.units import MIB
from mshare_bench.domain.workload import Cohort, ProcessGroup, Region, WorkloadRequest, WorkloadSpec
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.apps._told import answers, tell
from mshare_bench.workloads.registry import workload

__all__ = ["APP_VM", "VmDriver"]

_QEMU = "qemu-system-x86_64"
_LOAD = 1 << 20
_FIRST = 2 << 20


def guest_image(size: int) -> bytes:
    """Make the guest's program: a Multiboot header (magic, flags, checksum, where to load), then 32-bit code.

    https://www.gnu.org/software/grub/manual/multiboot/multiboot.html
    """
    magic, flags = 0x1BADB002, 1 << 16
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, _LOAD, _LOAD, 0, 0, _LOAD + 32)
    code = [
        b"\xbf" + struct.pack("<I", _FIRST),  # mov edi, first
        b"\xb9" + struct.pack("<I", (size - _FIRST) // 4096),  # mov ecx, pages
        b"\x89\x3f",  # again: mov [edi], edi
        b"\x81\xc7\x00\x10\x00\x00",  # add edi, 4096
        b"\x49",  # dec ecx
        b"\x75\xf5",  # jnz again
        b"\xb0D\xe6\xe9",  # mov al, 'D'; out 0xe9, al
        b"\xfa\xf4\xeb\xfc",  # stop: cli; hlt; jmp stop
    ]
    return header + b"".join(code)


class VmDriver:
    """Starts guests and peers, lets the guests run, then the peers read."""

    def __init__(self) -> None:
        self._guests: list[subprocess.Popen[bytes]] = []
        self._peers: list[subprocess.Popen[bytes]] = []
        self._memory = -1
        self._size = 0
        self._ksm = False
        self._merged: int | None = None

    def lack(self, stage: Stage) -> str | None:
        """QEMU."""
        if shutil.which(_QEMU) is None:
            return f"{_QEMU} is not installed; on Debian: apt-get install qemu-system-x86"
        return None

    def knobs(self, stage: Stage) -> Mapping[str, int]:
        """KSM running fast, where it is what merges."""
        if stage.mechanism != "ksm":
            return {}
        return {"ksm_pages_to_scan": 20_000, "ksm_sleep_millisecs": 1, "ksm_run": 1}

    def start(self, stage: Stage) -> None:
        """Start the guests, stopped before their first instruction, and the peers."""
        self._ksm = stage.mechanism == "ksm"
        self._size = stage.workload.region("memory").size
        image = stage.folder / "guest"
        image.write_bytes(guest_image(self._size))
        common = [_QEMU, "-accel", "tcg", "-display", "none", "-nodefaults", "-no-user-config", "-S", "-monitor", "stdio",
                  "-kernel", str(image), "-m", f"{self._size // MIB}M"]  # fmt: skip
        count = stage.workload.processes if self._ksm else 1
        if not self._ksm:
            self._memory = os.memfd_create("guest-memory")
            os.ftruncate(self._memory, self._size)
            path = f"/proc/{os.getpid()}/fd/{self._memory}"
            common += ["-object", f"memory-backend-file,id=ram,size={self._size},mem-path={path},share=on",
                       "-machine", "pc,memory-backend=ram"]  # fmt: skip
            program = [sys.executable, "-S", str(Path(__file__).with_name("_peer.py")), path]
            self._peers = [stage.spawn(program, name="peers", pipe=True) for _ in range(stage.workload.processes - 1)]
        for number in range(count):
            port = ["-debugcon", f"file:{stage.folder / f'port-{number}'}"]
            self._guests.append(stage.spawn([*common, *port], name="qemu", pipe=True))

    def attach(self, stage: Stage) -> Watched:
        """Wait for all to have the memory mapped."""
        answers(self._peers, "peers")
        for number in range(len(self._guests)):
            stage.wait("qemu", (stage.folder / f"port-{number}").exists)
        stage.wait("qemu", lambda: all(_maps(one.pid, self._size) for one in self._guests))
        return Watched(self._groups())

    def touch(self, stage: Stage) -> Watched:
        """Let the guests write all their memory, then the peers read it, or KSM merge it."""
        start = time.perf_counter_ns()
        for one in self._guests:
            assert one.stdin is not None
            one.stdin.write(b"cont\n")
            one.stdin.flush()
        ports = [stage.folder / f"port-{number}" for number in range(len(self._guests))]
        stage.wait("guests", lambda: all(b"D" in one.read_bytes() for one in ports))
        taken = [time.perf_counter_ns() - start] * len(self._guests)
        read = tell(self._peers, "peers") if self._peers else Timing([], 0)
        if self._ksm:
            self._merged = self._wait_for_merging(stage)
        return Watched(self._groups(), Timing([*taken, *read.each_ns], time.perf_counter_ns() - start))

    def watches(self, mapping: MappedFile) -> bool:
        """The guest's memory: the memfd, or private memory of its size."""
        if self._ksm:
            return not mapping.shared and mapping.inode == 0 and mapping.size >= self._size and not mapping.path
        return mapping.shared and mapping.path.startswith("/memfd:guest-memory")

    def figures(self, stage: Stage) -> Sequence[Figure]:
        """What KSM has merged."""
        if self._merged is None:
            return ()
        return (Figure("merged", float(self._merged), "B", "higher"),)

    def stop(self, stage: Stage) -> None:
        """Let QEMU quit, and the peers end."""
        for one in self._guests:
            if one.stdin is not None:
                with contextlib.suppress(OSError):
                    one.stdin.write(b"quit\n")
                    one.stdin.flush()
        for one in self._peers:
            if one.stdin is not None:
                one.stdin.close()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _groups(self) -> dict[str, list[int]]:
        groups = {"guests": [one.pid for one in self._guests]}
        if self._peers:
            groups["peers"] = [one.pid for one in self._peers]
        return groups

    def _wait_for_merging(self, stage: Stage) -> int:
        """Wait until what the guests have written is merged, or two scans merge nothing new of them; bytes of pages merged."""
        page = os.sysconf("SC_PAGE_SIZE")
        written = len(self._guests) * (self._size - _FIRST) // page
        last = (-1, _full_scans())

        def still() -> bool:
            nonlocal last
            merged = sum(int(Path(f"/proc/{one.pid}/ksm_merging_pages").read_text()) for one in self._guests)
            if merged < written and _full_scans() < last[1] + 2:
                return False
            before, last = last[0], (merged, _full_scans())
            return merged >= written or (before == merged and merged > 0)

        stage.wait("ksm", still)
        return last[0] * page


def _full_scans() -> int:
    return int(Path("/sys/kernel/mm/ksm/full_scans").read_text())


def _maps(pid: int, size: int) -> bool:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, _, end = line.split(" ", 1)[0].partition("-")
        if int(end, 16) - int(start, 16) >= size:
            return True
    return False


def _groups(request: WorkloadRequest) -> tuple[ProcessGroup, ...]:
    memory = request.regions["memory"]
    if memory.size < 16 * MIB or memory.size % MIB:
        raise ConfigError(f"region={memory.size}: a guest needs a whole number of MiB, 16 at least")
    return (ProcessGroup("processes", "guest", (Cohort(request.processes, (request.touch("memory"),)),)),)


APP_VM = workload(
    WorkloadSpec(
        name="app_vm",
        description="QEMU guests: memory that peers map as well (shmem), or that KSM merges (ksm)",
        regions=(Region("memory", 256 * MIB),),
        main="memory",
        build=_groups,
        processes=9,
        access=AccessPattern("dense"),
        driver=VmDriver,
        mechanisms=("shmem", "ksm"),
        beside=("hugetlb", "mshare"),
    )
)
