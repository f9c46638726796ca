"""What can change a result: the hardware, the kernel and its switches, the software; the rows of `environments.arrow`.

The *machine* is a digest of the hardware alone, so that the same machine under another kernel keeps its name; the
*environment* is a digest of everything read here. What can't be read is None.
"""

import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from mshare_bench.domain.cell import digest
from mshare_bench.domain.units import GIB

__all__ = ["environment_digest", "hardware_facts", "machine_digest", "read_environment"]

_PACKAGES = ("mshare-bench", "numpy", "pyarrow", "ray", "mlflow")
_SWITCHES = {
    "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
    "thp_defrag": "/sys/kernel/mm/transparent_hugepage/defrag",
    "shmem_thp": "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
    "ksm": "/sys/kernel/mm/ksm/run",
    "numa_balancing": "/proc/sys/kernel/numa_balancing",
    "overcommit_memory": "/proc/sys/vm/overcommit_memory",
    "randomize_va_space": "/proc/sys/kernel/randomize_va_space",
    "clocksource": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "smt": "/sys/devices/system/cpu/smt/control",
    "kernel_cmdline": "/proc/cmdline",
}


@functools.cache
def hardware_facts() -> Mapping[str, str | None]:
    """Read what the machine is made of."""
    cpu = _cpuinfo()
    return {
        "cpu": cpu.get("model name") or cpu.get("CPU part") or platform.processor() or None,
        "architecture": platform.machine(),
        "cpus": str(os.cpu_count()),
        "nodes": _read("/sys/devices/system/node/has_memory"),
        # Firmware and kernels reserve some; whole GiB are the same under all of them.
        "memory_gib": _memory_gib(),
        "hypervisor": str("hypervisor" in cpu.get("flags", "").split()).lower(),
    }


def machine_digest() -> str:
    """Digest of the hardware: the column `machine` of real rows."""
    return digest(hardware_facts())


@functools.cache
def read_environment() -> Mapping[str, str | None]:
    """Read the hardware, the kernel and its switches, and the software, once per process."""
    cpu = _cpuinfo()
    facts: dict[str, str | None] = dict(hardware_facts())
    facts |= {
        "kernel": platform.release(),
        "kernel_version": platform.version(),
        "microcode": cpu.get("microcode"),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "page_bytes": str(os.sysconf("SC_PAGE_SIZE")),
    }
    facts |= {name: _read(path) for name, path in _SWITCHES.items()}
    facts |= {f"package_{name}": _version(name) for name in _PACKAGES}
    return facts


def environment_digest() -> str:
    """Digest of the environment: the column `env` of every row."""
    return digest(read_environment())


def _cpuinfo() -> dict[str, str]:
    text = _read("/proc/cpuinfo") or ""
    first = text.split("\n\n", 1)[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _memory_gib() -> str | None:
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return str(round(int(line.split()[1]) * 1024 / GIB))
    return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
