import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mshare_bench.audit import address_spaces as module
from mshare_bench.audit.address_spaces import Candidate, address_spaces, cgroup_of, read_candidate, select
from mshare_bench.errors import CapabilityError, ConfigError
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


def test_processes_on_one_address_space_are_one_group():
    require("kernel", kcmp_unavailable() is None, str(kcmp_unavailable()))
    with child() as other, sharing_child() as pid:
        candidates = [read_candidate(one) for one in (os.getpid(), other.pid, pid)]
        groups, missed = address_spaces(candidates)
        assert missed is None
        assert sorted([one.pid for one in group] for group in groups) == sorted([[os.getpid(), pid], [other.pid]])


def test_what_may_not_be_compared_stands_alone(monkeypatch):
    def refuse(first, second):
        if 3 in (first, second):
            raise CapabilityError("not allowed")
        return (first % 2 > second % 2) - (first % 2 < second % 2)

    monkeypatch.setattr(module, "compare_mm", refuse)
    monkeypatch.setattr(module, "kcmp_unavailable", lambda: None)
    candidates = [Candidate(pid, f"/proc/{pid}", "x", 4096) for pid in (1, 2, 3, 4, 5)]
    groups, missed = address_spaces(candidates)
    assert [[one.pid for one in group] for group in groups] == [[1, 5], [2, 4], [3]]
    assert "1: not allowed" in missed


def test_without_kcmp_each_counts_and_it_says_so(monkeypatch):
    monkeypatch.setattr(module, "kcmp_unavailable", lambda: "kcmp: function not implemented")
    candidates = [Candidate(pid, f"/proc/{pid}", "x", 4096) for pid in (1, 2)]
    groups, missed = address_spaces(candidates)
    assert len(groups) == 2
    assert "function not implemented" in missed
