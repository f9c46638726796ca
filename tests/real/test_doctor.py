import dataclasses
import json
import os
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real import doctor as module
from mshare_bench.real.doctor import Finding, examine

_TOPICS = {
    "kernel",
    "page sizes",
    "hugetlb",
    "thp",
    "ksm",
    "cgroups",
    "memory",
    "processes",
    "numa",
    "counters",
    "perf software events",
    "perf hardware events",
    "msharefs",
    "MAP_SHARED_PT",
    "userfaultfd",
    "PAGEMAP_SCAN",
    "kvm",
    "agent",
    "qemu",
    "busybox",
    "guest kernel",
    "postgresql",
    "redis",
    "chromium",
    "mpi4py",
}


@pytest.fixture(scope="module")
def findings():
    return {finding.topic: finding for finding in examine()}


def test_every_topic_once(findings):
    assert set(findings) >= _TOPICS
    assert len(examine()) == len(findings)


def test_plain_data(findings):
    for finding in findings.values():
        assert json.loads(json.dumps(dataclasses.asdict(finding)))["topic"] == finding.topic
        assert finding.state in ("ok", "missing", "limited")
        assert finding.found
        assert finding.enables
        assert "\n" not in finding.found
        assert finding.remedy is None if finding.state == "ok" else finding.remedy is None or finding.remedy


def test_what_is_missing_says_how_to_get_it(findings):
    assert [finding.topic for finding in findings.values() if finding.state == "missing" and not finding.remedy] == []


def test_it_says_what_the_kernel_shows(findings):
    assert os.uname().release in findings["kernel"].found
    thp = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    if thp.exists():
        current = thp.read_text().partition("[")[2].partition("]")[0]
        assert f"shared memory: {current}" in findings["thp"].found
    known = "msharefs" in Path("/proc/filesystems").read_text().split()
    assert findings["msharefs"].state == ("ok" if known else "missing")
    assert "never run on such a kernel" in findings["msharefs"].enables


def test_it_only_looks(findings):
    def state():
        knobs = (
            path for path in module.Path("/sys/kernel/mm").rglob("*") if path.is_file() and "hugepage" in str(path)
        )
        names = ("nr_hugepages", "shmem_enabled", "enabled")
        return {str(path): path.read_text() for path in knobs if path.name in names}

    before = state()
    examine()
    assert state() == before


def test_what_breaks_is_a_finding(monkeypatch):
    def _broken():
        raise CapabilityError("no such luck")
        yield

    def _torn():
        yield Finding("first half", "ok", "x", "y")
        raise PermissionError(13, "Permission denied", "/sys/x")

    monkeypatch.setattr(module, "_LOOKS", (_broken, _torn))
    broken, half, torn = examine()
    assert (broken.topic, broken.state) == ("broken", "limited")
    assert "no such luck" in broken.found
    assert half.topic == "first half"
    assert "/sys/x" in torn.found


def test_programs_are_found_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9", "15"):
        (tmp_path / version).mkdir()
        program = tmp_path / version / "postgres"
        program.write_text("")
        program.chmod(0o755)
    assert module._program("postgres") is None
    assert module._program("postgres", f"{tmp_path}/*") in {str(tmp_path / v / "postgres") for v in ("9", "15")}


def test_a_small_machine_is_limited(monkeypatch):
    from mshare_bench.real import guard

    monkeypatch.setattr(guard, "read_host", lambda: guard.HostRoom(3 << 30, "MemAvailable", 500, "pids.max 600 of /x"))
    memory, processes = module._memory()
    assert memory.state == "limited"
    assert memory.enables.startswith("0 processes")
    assert processes.state == "limited"
    assert "pids.max" in processes.remedy
