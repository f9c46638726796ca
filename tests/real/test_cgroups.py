import os
import signal
import subprocess
import sys

import pytest

from mshare_bench.real import cgroups as module
from mshare_bench.real.cgroups import MemoryGroup, memory_cgroup, remove_stale_groups
from tests.requirements import require

_EAT = """
import sys
with open(sys.argv[1], "w") as procs:
    procs.write("0")
print("in", flush=True)
sys.stdin.readline()
eaten = bytearray(int(sys.argv[2]))
print("ate", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def group():
    with memory_cgroup(96 << 20) as group:
        require("kernel", group.path is not None, str(group.reason))
        yield group


def _eater(group, size):
    return subprocess.Popen(
        [sys.executable, "-c", _EAT, str(group.procs), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _go(eater):
    eater.stdin.write("\n")
    eater.stdin.flush()
    return eater.stdout.readline().strip()


@pytest.mark.kernel
def test_agents_are_inside_and_the_controller_is_not(group):
    with _eater(group, 32 << 20) as eater:
        assert eater.stdout.readline() == "in\n"
        inside = group.procs.read_text().split()
        before = group.usage()
        assert _go(eater) == "ate"
        assert group.usage() - before >= 32 << 20
        assert group.memory().version == group.version
        eater.kill()
    assert inside == [str(eater.pid)]
    assert str(os.getpid()) not in inside
    assert group.oom_kills() == 0


@pytest.mark.kernel
def test_the_limit_kills_inside_and_is_counted(group):
    with _eater(group, 256 << 20) as eater:
        assert eater.stdout.readline() == "in\n"
        assert _go(eater) == ""
        assert eater.wait() == -signal.SIGKILL
    assert group.oom_kills() == 1


@pytest.mark.kernel
def test_it_goes_with_what_is_left_in_it():
    with memory_cgroup(96 << 20) as group:
        require("kernel", group.path is not None, str(group.reason))
        eater = _eater(group, 0)
        assert eater.stdout.readline() == "in\n"
    assert not group.path.exists()
    assert eater.wait() == -signal.SIGKILL
    eater.communicate()


@pytest.mark.kernel
def test_two_at_once(group):
    with memory_cgroup(96 << 20) as other:
        assert other.path not in (None, group.path)
    assert group.path.exists()


@pytest.mark.kernel
def test_what_a_killed_run_left_is_removed_and_a_living_ones_is_not(group):
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom mshare_bench.real.cgroups import memory_cgroup\n"
            "with memory_cgroup(64 << 20) as group:\n print(group.path, flush=True)\n sys.stdin.readline()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    left = module.Path(run.stdout.readline().strip())
    with _eater(MemoryGroup(left, group.version, 0), 0) as agent:
        assert agent.stdout.readline() == "in\n"
        assert remove_stale_groups() == []
        assert left.is_dir()
        run.kill()
        run.communicate()
        assert remove_stale_groups() == [left]
        assert agent.wait() == -signal.SIGKILL
    assert not left.exists()
    assert group.path.is_dir()


def test_a_host_without_cgroups_says_so(monkeypatch):
    monkeypatch.setattr(module, "own_groups", lambda controller: [])
    with memory_cgroup(1 << 20) as group:
        assert group.path is None
        assert group.procs is None
        assert "no cgroup hierarchy" in group.reason
        assert (group.usage(), group.oom_kills(), group.memory()) == (None, None, None)


def test_a_v2_host_that_delegates_nothing_says_so(monkeypatch, tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("cpu pids\n")
    monkeypatch.setattr(module, "own_groups", lambda controller: [tmp_path])
    with memory_cgroup(1 << 20) as group:
        assert group.path is None
        assert str(tmp_path) in group.reason


def test_v2_goes_below_the_ancestor_that_hands_the_controller_down(monkeypatch, tmp_path):
    own = tmp_path / "slice" / "scope"
    own.mkdir(parents=True)
    (tmp_path / "slice" / "cgroup.subtree_control").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    monkeypatch.setattr(module, "own_groups", lambda controller: [own, tmp_path / "slice", tmp_path])
    made = []
    real_limit = module._limit

    def limit(path, version, limit_bytes):
        (path / "memory.swap.max").write_text("max\n")
        made.append(real_limit(path, version, limit_bytes))
        return

    monkeypatch.setattr(module, "_limit", limit)
    monkeypatch.setattr(module, "_remove", lambda path: True)
    with memory_cgroup(1 << 20) as group:
        assert (group.version, group.path.parent) == (2, tmp_path / "slice")
        assert (group.path / "memory.max").read_text() == "1048576\n"
        assert (group.path / "memory.swap.max").read_text() == "0\n"
        assert group.procs.read_text() == "0\n"
        (group.path / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
        assert group.oom_kills() == 2
    assert made == [None]


def test_v1_stays_below_its_own_group(monkeypatch, tmp_path):
    # A group beside our own would escape the limits that somebody set for us.
    own = tmp_path / "own"
    own.write_text("")  # no folder: nothing can be made in it
    monkeypatch.setattr(module, "own_groups", lambda controller: [own, tmp_path])
    monkeypatch.setattr(module.Path, "exists", lambda path: True)
    with memory_cgroup(1 << 20) as group:
        assert group.path is None
        assert str(own) in group.reason
    assert list(tmp_path.iterdir()) == [own]


def test_an_entry_that_is_refused_is_named(monkeypatch, tmp_path):
    (tmp_path / "memory.limit_in_bytes").write_text("1\n")
    monkeypatch.setattr(module, "own_groups", lambda controller: [tmp_path])
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(module, "_limit", lambda path, version, limit_bytes: (path / "cgroup.procs").mkdir())
    with memory_cgroup(1 << 20) as group:
        assert group.path is None
        assert "no process may enter" in group.reason


def test_other_namespaces_and_other_names_are_left_alone(monkeypatch, tmp_path):
    here = module.Path("/proc/self/ns/pid").stat().st_ino
    names = [f"mshare-bench-{here + 1}-1-1-0", "mshare-bench-mine", f"mshare-bench-{here}-{os.getpid()}-1-0"]
    for name in names:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(module, "own_groups", lambda controller: [tmp_path])
    assert remove_stale_groups() == [tmp_path / names[2]]  # this pid, but another start time
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[:2])
