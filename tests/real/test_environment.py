import os
import platform
import subprocess
from pathlib import Path

import pytest

from mshare_bench.real import environment as module
from mshare_bench.real.environment import environment_digest, hardware_facts, machine_digest, read_environment


@pytest.fixture
def host(monkeypatch):
    """Replaces kernel files by name; everything else is absent."""
    files = {}
    monkeypatch.setattr(module, "read_text", lambda path: files.get(str(path)))
    for cached in (hardware_facts, read_environment):
        cached.cache_clear()
    yield files
    for cached in (hardware_facts, read_environment):
        cached.cache_clear()


def test_this_machine_as_other_tools_show_it():
    facts = read_environment()
    assert facts["kernel"] == os.uname().release
    assert facts["page_bytes"] == subprocess.check_output(["getconf", "PAGESIZE"], text=True).strip()
    assert facts["cpus"] == subprocess.check_output(["getconf", "_NPROCESSORS_ONLN"], text=True).strip()
    with open("/proc/meminfo") as lines:
        total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:")) / (1 << 20)
    assert total <= int(facts["memory_gib"]) <= total * 33 / 32 + 1
    thp = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if thp.exists():
        assert f"[{facts['thp']}]" in thp.read_text()
    assert facts["python"] == platform.python_version()


def test_every_fact_is_a_text_or_null_and_no_fact_is_a_path_of_this_machine():
    facts = read_environment()
    assert all(value is None or (isinstance(value, str) and value) for value in facts.values() if value != "")
    home = str(Path.home())
    assert not any(home in (value or "") or str(Path.cwd()) in (value or "") for value in facts.values())


def test_the_machine_is_the_hardware_alone(host):
    host["/proc/cpuinfo"] = "model name\t: Some CPU\nflags\t: fpu\n\nprocessor\t: 1\nmodel name\t: another"
    host["/proc/meminfo"] = "MemTotal: 24684096 kB\n"
    host["/sys/kernel/mm/ksm/run"] = "0"
    machine, environment = machine_digest(), environment_digest()
    read_environment.cache_clear()
    host["/sys/kernel/mm/ksm/run"] = "1"
    assert machine_digest() == machine
    assert environment_digest() != environment
    hardware_facts.cache_clear()
    host["/proc/cpuinfo"] = "model name\t: Other CPU\nflags\t: fpu\n"
    assert machine_digest() != machine
    assert len(machine) == 16


@pytest.mark.parametrize(
    ("kib", "gib"),
    [(24684096, "24"), (24300000, "24"), (1 << 20, "1"), (1056000000, "1008"), (1056964608, "1008"), (1990000, "2")],
)
def test_memory_reads_the_same_whatever_the_kernel_keeps(host, kib, gib):
    host["/proc/meminfo"] = f"MemTotal: {kib} kB\n"
    assert module._memory_gib() == gib


def test_nothing_readable_is_null_and_no_error(host):
    facts = read_environment()
    for name in ("thp", "ksm", "fault_around_bytes", "governor", "microcode", "memory_gib", "nodes", "virtualisation"):
        assert facts[name] is None
    assert facts["cgroups"] == "none"
    assert len(environment_digest()) == 16


def test_virtual_or_not(host):
    host["/proc/cpuinfo"] = "model name: x\nflags: fpu pae\n"
    assert hardware_facts()["virtualisation"] == "none"
    hardware_facts.cache_clear()
    host["/proc/cpuinfo"] = "model name: x\nflags: fpu hypervisor\n"
    assert hardware_facts()["virtualisation"] == "hypervisor"
    hardware_facts.cache_clear()
    host["/sys/class/dmi/id/product_name"] = "KVM"
    assert hardware_facts()["virtualisation"] == "KVM"


def test_of_the_command_line_only_what_concerns_memory(host):
    host["/proc/cmdline"] = (
        "root=UUID=1234 token=secret transparent_hugepage=never hugepagesz=1G hugepages=4 quiet mitigations=off"
    )
    assert module._cmdline() == "transparent_hugepage=never hugepagesz=1G hugepages=4 mitigations=off"


def test_cgroup_versions(host):
    host["/proc/self/mountinfo"] = (
        "30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "31 29 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n"
        "32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    )
    assert module._cgroup_versions() == "v1 memory, v2"


def test_the_commit_of_a_checkout_and_none_elsewhere(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "pyproject.toml").write_text("")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert module._git_commit(tmp_path) == commit
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert module._git_commit(tmp_path) == commit
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "other"], check=True)
    assert module._git_commit(tmp_path / "tree") == commit
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert module._git_commit(tmp_path) == commit
    (tmp_path / "pyproject.toml").unlink()
    assert module._git_commit(tmp_path) is None  # somebody else's repository around an installation
