"""What can change a result: the hardware, the kernel and its switches, the software; the rows of `environments.arrow`.

The *machine* is a digest of the hardware alone, so that the same machine under another kernel keeps its name; the
*environment* is a digest of everything that is read here. What can't be read (`fault_around_bytes` under lockdown, a
governor in a virtual machine) is None, never a guess.

Left out on purpose: whatever moves from one minute to the next (free memory, load), so that two runs on the same set-up
have the same environment; and the kernel's command line as a whole, which may hold names, addresses and secrets: only its
words about memory, CPUs and mitigations are kept.
"""

import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from mshare_bench.domain.cell import digest
from mshare_bench.real.counters.procfs import keyed_kib, read_text

__all__ = ["environment_digest", "hardware_facts", "machine_digest", "read_environment"]

_PACKAGES = ("mshare-bench", "numpy", "pyarrow", "ray", "mlflow", "hydra-core", "numba", "scipy")

_SWITCHES = {
    "thp": "/sys/kernel/mm/transparent_hugepage/enabled",
    "thp_defrag": "/sys/kernel/mm/transparent_hugepage/defrag",
    "shmem_thp": "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
    "ksm": "/sys/kernel/mm/ksm/run",
    "ksm_pages_to_scan": "/sys/kernel/mm/ksm/pages_to_scan",
    "ksm_sleep_millisecs": "/sys/kernel/mm/ksm/sleep_millisecs",
    "fault_around_bytes": "/sys/kernel/debug/fault_around_bytes",
    "lru_gen": "/sys/kernel/mm/lru_gen/enabled",
    "numa_balancing": "/proc/sys/kernel/numa_balancing",
    "overcommit_memory": "/proc/sys/vm/overcommit_memory",
    "swappiness": "/proc/sys/vm/swappiness",
    "randomize_va_space": "/proc/sys/kernel/randomize_va_space",
    "clocksource": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "smt": "/sys/devices/system/cpu/smt/control",
    "preempt": "/sys/kernel/debug/sched/preempt",
    # Page-table isolation makes every fault and system call dearer.
    "meltdown": "/sys/devices/system/cpu/vulnerabilities/meltdown",
}
"""Fact to kernel file; a list of choices is given as the chosen word."""

_CMDLINE_WORDS = (
    "transparent_hugepage",
    "thp_",
    "hugepages",
    "hugepagesz",
    "default_hugepagesz",
    "hugetlb_",
    "numa",
    "mitigations",
    "pti",
    "nopti",
    "nopcid",
    "noinvpcid",
    "no5lvl",
    "isolcpus",
    "nohz_full",
    "preempt",
    "cgroup",
    "mem",
    "init_on_alloc",
    "init_on_free",
    "nosmt",
    "maxcpus",
    "nr_cpus",
)


@functools.cache
def hardware_facts() -> Mapping[str, str | None]:
    """
    Read what the machine is made of.

    Returns
    -------
    mapping of str to (str or None)
        `cpu`, `architecture`, `cpus`, `nodes`, `memory_gib` and `virtualisation`.
    """
    cpu = _cpuinfo()
    return {
        "cpu": _cpu_model(cpu),
        "architecture": platform.machine(),
        "cpus": str(os.cpu_count()),
        "nodes": read_text("/sys/devices/system/node/has_memory"),
        "memory_gib": _memory_gib(),
        "virtualisation": _virtualisation(cpu),
    }


def machine_digest() -> str:
    """Digest of the hardware, 16 hexadecimal digits: the column `machine` of real rows."""
    return digest(hardware_facts())


@functools.cache
def read_environment() -> Mapping[str, str | None]:
    """
    Read the hardware, the kernel and its switches, and the software, once per process.

    Returns
    -------
    mapping of str to (str or None)
        One row of `environments.arrow` each; None is what this machine or this user can't tell.
    """
    cpu = _cpuinfo()
    facts: dict[str, str | None] = dict(hardware_facts())
    facts |= {
        "kernel": platform.release(),
        "kernel_version": platform.version(),
        "kernel_cmdline_memory": _cmdline(),
        "microcode": cpu.get("microcode"),
        "five_level_tables": None if "flags" not in cpu else str("la57" in cpu["flags"].split()).lower(),
        "page_bytes": str(os.sysconf("SC_PAGE_SIZE")),
        "cgroups": _cgroup_versions(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "git_commit": _git_commit(Path(__file__).resolve().parents[2]),
    }
    facts |= {name: _chosen(read_text(path)) for name, path in _SWITCHES.items()}
    facts |= _hugepages()
    facts |= {f"package_{name}": _version(name) for name in _PACKAGES}
    return facts


def environment_digest() -> str:
    """Digest of the environment, 16 hexadecimal digits: the column `env` of every row."""
    return digest(read_environment())


def _cpuinfo() -> dict[str, str]:
    # The first processor's block stands for all: big.LITTLE machines differ, and there the cost file does as well.
    first = (read_text("/proc/cpuinfo") or "").split("\n\n", 1)[0]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _cpu_model(cpu: Mapping[str, str]) -> str | None:
    if "model name" in cpu:
        # "AMD EPYC" alone is several generations: family, model and stepping tell them apart.
        return " ".join(cpu[key] for key in ("model name", "cpu family", "model", "stepping") if key in cpu)
    part = [cpu[key] for key in ("CPU implementer", "CPU part", "CPU variant") if key in cpu]
    return " ".join(part) or platform.processor() or None


def _memory_gib() -> str | None:
    # What firmware and kernel keep for themselves differs by a few parts in a hundred between kernels: rounded up to a
    # 32nd of its power of two (but whole GiB), the same machine reads the same.
    total = keyed_kib((read_text("/proc/meminfo") or "").encode(), b"MemTotal")
    if total is None:
        return None
    step = max(1 << 30, 1 << (total.bit_length() - 1 - 5))
    return str(-(-total // step) * step >> 30)


def _virtualisation(cpu: Mapping[str, str]) -> str | None:
    flags = cpu.get("flags")
    if flags is None or "hypervisor" in flags.split():
        product = read_text("/sys/class/dmi/id/product_name") or read_text("/sys/hypervisor/type")
        # Without the CPU's flag (arm64) and without a name nothing is known.
        return product or (None if flags is None else "hypervisor")
    return "none"


def _cmdline() -> str | None:
    text = read_text("/proc/cmdline")
    if text is None:
        return None
    kept = (word for word in text.split() if word.partition("=")[0].partition(".")[0].startswith(_CMDLINE_WORDS))
    return " ".join(kept)


def _chosen(text: str | None) -> str | None:
    if text is None or "[" not in text:
        return text or None
    return text.partition("[")[2].partition("]")[0]


def _hugepages() -> dict[str, str | None]:
    folders = sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*"))
    return {f"nr_{folder.name.replace('-', '_')}": read_text(folder / "nr_hugepages") for folder in folders}


def _cgroup_versions() -> str:
    found = []
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        kind, _source, options = line.partition(" - ")[2].split(" ", 2)
        if kind == "cgroup2":
            found.append("v2")
        elif kind == "cgroup" and "memory" in options.split(","):
            found.append("v1 memory")
    return ", ".join(sorted(set(found))) or "none"


def _git_commit(root: Path) -> str | None:
    # Only a checkout of this project says something about the code that runs; git itself need not be there.
    if not (root / "pyproject.toml").is_file():
        return None
    git = root / ".git"
    pointer = read_text(git) if git.is_file() else None
    if pointer is not None:  # a work tree: "gitdir: <folder>"
        git = (root / pointer.partition(": ")[2]).resolve()
    head = read_text(git / "HEAD")
    if head is None or not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    common = git / (read_text(git / "commondir") or ".")
    loose = read_text(git / name) or read_text(common / name)
    if loose is not None:
        return loose
    packed = (line.split(" ") for line in (read_text(common / "packed-refs") or "").splitlines())
    return next((words[0] for words in packed if words[1:] == [name]), None)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
