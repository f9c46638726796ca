import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.audit import address_spaces as module
from mshare_bench.audit.address_spaces import AddressSpaces, cgroup_of, read_candidate, select
from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.real.counters.vmpte import kcmp_unavailable
from tests.real.counters.agents import sharing_child
from tests.requirements import require


@contextlib.contextmanager
def child(code="input()"):
    process = subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True)\n{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def await_zombie(pid):
    while Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)


def test_a_process_as_proc_shows_it():
    with child() as process:
        candidate = read_candidate(process.pid)
        with open(f"/proc/{process.pid}/comm") as file:
            assert candidate.comm == file.read().strip()
        assert candidate.folder == f"/proc/{process.pid}"
        assert candidate.vmpte_bytes % 4096 == 0
        assert candidate.vmpte_bytes > 0
    assert read_candidate(process.pid) is None


def test_a_zombie_has_no_address_space():
    process = subprocess.Popen(["true"])
    await_zombie(process.pid)
    assert read_candidate(process.pid) is None
    with pytest.raises(ConfigError, match=f"pid={process.pid}: a kernel thread or a zombie"):
        select([process.pid], None)
    process.wait()


def test_a_process_whose_first_thread_has_ended():
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)"  # exit(2): this thread alone
    )
    require("kernel", os.uname().machine == "x86_64", "the number of exit(2) is that of x86-64")
    with child(code) as process:
        await_zombie(process.pid)
        candidate = read_candidate(process.pid)
        assert candidate.folder.startswith(f"/proc/{process.pid}/task/")
        assert candidate.vmpte_bytes > 0


def test_threads_are_no_processes():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id not in {one.pid for one in select(None, None).candidates}
    finally:
        stop.set()
        thread.join()


def test_all_leaves_the_asking_process_out_and_counts_those_without_memory():
    with child() as process:
        selection = select(None, None)
        pids = [one.pid for one in selection.candidates]
        assert process.pid in pids
        assert os.getpid() not in pids
        assert pids == sorted(pids)
    assert [one.pid for one in select([os.getpid()], None).candidates] == [os.getpid()], "unless it is asked for"


def test_by_name():
    with child("open('/proc/self/comm', 'w').write('audit-me'); print(flush=True); input()") as process:
        process.stdout.readline()
        assert [one.pid for one in select(["audit-m?"], None).candidates] == [process.pid]
        assert [one.pid for one in select(["audit-me", process.pid, str(process.pid)], None).candidates] == [
            process.pid
        ]


def test_by_cgroup():
    with child() as process:
        with open(f"/proc/{process.pid}/cgroup") as file:
            paths = [line.rstrip("\n").split(":", 2)[2] for line in file]
        deepest = max(paths, key=len)
        require("kernel", deepest != "/", "no process is in a cgroup below the root")
        for wanted in (deepest, deepest + "/", deepest[1:].split("/")[-1], f"{Path(deepest).parent}/*"):
            assert process.pid in [one.pid for one in select(None, wanted).candidates], wanted
        with pytest.raises(ConfigError, match="no process with memory of its own"):
            select(None, deepest + "-not")


def test_cgroup_folder_is_taken_as_its_path(monkeypatch):
    mounts = "29 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
    monkeypatch.setattr(module, "read_text", lambda _: mounts)
    assert module._cgroup_pattern("/sys/fs/cgroup/memory/web/one/") == "/web/one"
    assert module._cgroup_pattern("/sys/fs/cgroup/memory") == "/"
    assert module._cgroup_pattern("web*") == "web*"


def test_the_memory_controllers_cgroup_is_the_one_that_is_charged():
    assert module._charged(b"4:memory:/v1\n3:cpu:/other\n0::/v2\n") == "/v1"
    assert module._charged(b"3:cpu:/other\n0::/v2\n") == "/v2"
    assert module._charged(b"") == "/"
    assert cgroup_of("/proc/self") == module._charged(Path("/proc/self/cgroup").read_bytes())


def _maps(pid):
    return Path(f"/proc/{pid}/maps").read_bytes()


def test_processes_on_one_address_space_have_one_owner():
    require("kernel", kcmp_unavailable() is None, str(kcmp_unavailable()))
    with child() as other, sharing_child() as pid:
        spaces = AddressSpaces()
        owners = [spaces.owner(one, _maps(one)) for one in (os.getpid(), other.pid, pid)]
        assert owners == [os.getpid(), other.pid, os.getpid()]
        assert (spaces.lack, spaces.unchecked) == (None, 0)


class _Kernel:
    """A kcmp of made-up processes: `spaces` has the address space of each, by pid."""

    def __init__(self, spaces, ended=(), refused=()):
        self.spaces, self.ended, self.refused, self.calls = spaces, set(ended), set(refused), 0

    def __call__(self, first, second):
        self.calls += 1
        if self.refused & {first, second}:
            raise CapabilityError("not allowed")
        if self.ended & {first, second}:
            raise CellFailed("ended")
        one, two = self.spaces[first], self.spaces[second]
        return (one > two) - (one < two)


@pytest.fixture
def kernel(monkeypatch):
    def use(*args, **kwargs):
        made = _Kernel(*args, **kwargs)
        monkeypatch.setattr(module, "compare_mm", made)
        monkeypatch.setattr(module, "kcmp_unavailable", lambda: None)
        return made

    return use


_FORKED = b"7ffd1000-7ffd3000 r-xp 00000000 00:00 0  [vdso]\n"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=120))
def test_owners_are_the_first_of_each_address_space(spaces):
    kernel = _Kernel(dict(enumerate(spaces)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compare_mm", kernel)
        patch.setattr(module, "kcmp_unavailable", lambda: None)
        found = AddressSpaces()
        assert [found.owner(pid, _FORKED) for pid in range(len(spaces))] == [spaces.index(space) for space in spaces]
    assert kernel.calls <= len(spaces) * 6, "a binary search, not everyone with everyone"


def test_processes_of_other_programs_are_not_even_compared(kernel):
    asked = kernel({pid: pid for pid in range(50)})
    spaces = AddressSpaces()
    for pid in range(50):
        assert spaces.owner(pid, b"%08x-%08x r-xp 00000000 00:00 0  [vdso]\n" % (pid << 12, pid + 1 << 12)) == pid
    assert asked.calls == 0


def test_one_that_ended_in_between_is_left_out(kernel):
    asked = kernel({1: 10, 2: 20, 3: 30, 4: 10})
    spaces = AddressSpaces()
    assert [spaces.owner(pid, _FORKED) for pid in (1, 2, 3)] == [1, 2, 3]
    asked.ended = {2}
    assert spaces.owner(4, _FORKED) == 1
    asked.ended = {2, 5}
    assert spaces.owner(5, _FORKED) == 5


def test_what_may_not_be_compared_stands_alone(kernel):
    kernel({1: 10, 2: 10, 3: 10}, refused={2})
    spaces = AddressSpaces()
    assert [spaces.owner(pid, _FORKED) for pid in (1, 2, 3)] == [1, 2, 1]
    assert spaces.unchecked == 1


def test_without_kcmp_each_stands_alone(monkeypatch):
    monkeypatch.setattr(module, "kcmp_unavailable", lambda: "kcmp: function not implemented")
    spaces = AddressSpaces()
    assert [spaces.owner(pid, _FORKED) for pid in (1, 2)] == [1, 2]
    assert spaces.lack == "kcmp: function not implemented"
