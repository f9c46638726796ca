"""Whole audits against the running kernel: every table found, none invented."""

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import time

import pytest

from mshare_bench.audit import audit_host
from mshare_bench.audit.objects import Kind
from mshare_bench.errors import ConfigError
from mshare_bench.real.agent import AttachSegment, Map, Touch
from mshare_bench.real.counters.page_tables import page_tables
from mshare_bench.real.counters.pagemap import scan_unavailable
from mshare_bench.real.knobs import SHMEM_ENABLED, More, knobs_set, nr_hugepages
from mshare_bench.real.launch import Spawn
from tests.audit.scene import BASE, GIB, KIB, MIB, agents, found, memfd_of, segment, sharing, vmpte
from tests.requirements import require

pytestmark = pytest.mark.kernel
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


@pytest.fixture(params=[True, False], ids=["PAGEMAP_SCAN", "pagemap"])
def scan(request):
    if request.param:
        require("kernel", scan_unavailable() is None, str(scan_unavailable()))
    return request.param


def assert_exact(audit, pids):
    """Tables put down to mappings are the kernel's count, for every process; and all sums agree."""
    assert [one.pid for one in audit.processes] == sorted(pids)
    for one in audit.processes:
        assert (one.vmpte_bytes, one.unattributed_bytes) == (vmpte(one.pid), 0), one
    objects = audit.objects_table()
    processes = audit.processes_table()
    assert sum(objects["table_bytes"].to_pylist()) == sum(processes["vmpte_bytes"].to_pylist())
    assert sum(one.private_bytes for one in audit.processes) == audit.private.table_bytes


# Without PAGEMAP_SCAN 500 processes take a read of 512 KiB each: fewer will do there.
@pytest.mark.parametrize(
    "step", [1, 512, 3, 5000], ids=["dense", "a page per table", "every third", "a page in ten tables"]
)
def test_500_processes(scan, step):
    size, count = 32 * MIB, 500 if scan else 60
    with memfd_of(size) as fd, agents(sharing(fd, size, step=step), count=count, fds=[fd]) as pids:
        audit = audit_host(pids=pids, scan=scan)
        assert_exact(audit, pids)
        one = found(audit, "memfd:audited")
    tables = {1: 16, 512: 16, 3: 16, 5000: 2}[step]
    assert (one.kind, one.mappers) == (Kind.MEMFD, count)
    assert one.mapped_bytes == count * size
    assert one.table_bytes == count * (tables + 2) * 4096
    assert one.once_bytes == (tables + 2) * 4096
    assert one.duplicated_bytes == one.saved_mshare_bytes == (count - 1) * (tables + 2) * 4096
    assert one.saved_flag_bytes == one.saved_flag_aligned_bytes == (count - 1) * tables * 4096
    assert one.saved_hugetlb_bytes == one.saved_thp_bytes == count * tables * 4096
    assert one.reserve_bytes == tables * 2 * MIB


def test_processes_with_different_parts_touched(scan):
    # Each process has pages that the one before does not have: nothing may be taken over unseen.
    size = 64 * MIB
    programs = []
    with memfd_of(size) as fd:
        for index in range(12):
            parts = [
                Touch(BASE + part * 2 * MIB, count=1 + 7 * index)
                for part in range(32)
                if (part * 5 + index) % 3 or not index
            ]
            programs.append([Map(BASE, size, fd=fd), *parts])
        with agents(*programs, count=36, fds=[fd]) as pids:
            audit = audit_host(pids=pids, scan=scan)
            assert_exact(audit, pids)
            assert found(audit, "memfd:audited").once_bytes == (32 + 2) * 4096


def test_everything_on_the_host_adds_up():
    with memfd_of(32 * MIB) as fd, agents(sharing(fd, 32 * MIB), count=20, fds=[fd]) as pids:
        audit = audit_host()
        rows = {one.pid: one for one in audit.processes}
        assert all(rows[pid].unattributed_bytes == 0 for pid in pids)
        assert os.getpid() not in rows
        objects = audit.objects_table()
        assert sum(objects["table_bytes"].to_pylist()) == sum(audit.processes_table()["vmpte_bytes"].to_pylist())
        assert sum(one.vmpte_bytes for one in audit.cgroups) == audit.vmpte_bytes
        assert audit.own_bytes > 0
        assert audit.cost.seconds > 0
        assert audit.without > 0, "kernel threads are skipped and counted"


@pytest.mark.parametrize("shift", [12 * KIB, 2 * MIB - 4 * KIB])
def test_alignment_is_told_apart(scan, shift):
    size = 32 * MIB
    with memfd_of(size) as fd:
        aligned, shifted = sharing(fd, size), sharing(fd, size, BASE + shift)
        with agents(aligned, shifted, count=10, fds=[fd]) as pids:
            audit = audit_host(pids=pids, scan=scan)
            assert_exact(audit, pids)
            one = found(audit, "memfd:audited")
    assert one.table_bytes == 5 * (16 + 2 + 17 + 2) * 4096
    assert one.once_bytes == (16 + 2) * 4096
    assert one.saved_mshare_bytes == one.table_bytes - one.once_bytes
    # As mapped, each half can share with itself only, and the 17-table half shares its 15 whole ones.
    assert one.saved_flag_bytes == (4 * 16 + 4 * 15) * 4096
    assert one.saved_hugetlb_bytes == 5 * (16 + 17) * 4096
    assert one.saved_thp_bytes == 5 * 16 * 4096
    assert "2 different distances" in one.advice[0]


def test_kinds_of_shared_memory(scan, tmp_path):
    size = 8 * MIB
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    places = [BASE + index * GIB for index in range(8)]
    with contextlib.ExitStack() as stack:
        memfd = stack.enter_context(memfd_of(size))
        shmid = stack.enter_context(segment(size))
        on_disk = os.open(file, os.O_RDWR)
        stack.callback(os.close, on_disk)
        on_tmpfs = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE)
        stack.callback(os.close, on_tmpfs)
        os.ftruncate(on_tmpfs, size)
        count = size // 4096
        program = [
            Map(places[0], size, fd=memfd),
            AttachSegment(places[1], size, shmid),
            Map(places[2], size, fd=on_disk),
            Map(places[3], size, fd=on_tmpfs),
            Map(places[4], size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
            Map(places[5], size, flags=PRIVATE),
            Map(places[6], size, fd=on_disk, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ),
            Map(places[7], size, flags=PRIVATE, prot=mmap.PROT_READ),
            *(Touch(place, count=count, write=place in places[:6]) for place in places),
        ]
        pids = stack.enter_context(agents(program, count=3, fds=[memfd, on_disk, on_tmpfs]))
        audit = audit_host(pids=pids, scan=scan)
        assert_exact(audit, pids)
        kinds = {one.kind for one in audit.objects if one.table_bytes >= 4 * 4096}
        # Each process has an anonymous object of its own.
        anonymous = [one for one in audit.objects if one.kind is Kind.ANONYMOUS and one.mapped_bytes == size]
    assert {Kind.MEMFD, Kind.SYSV, Kind.TMPFS, Kind.ANONYMOUS} <= kinds
    assert len(anonymous) == 3
    assert all(one.duplicated_bytes == 0 and one.saved_mshare_bytes == 0 for one in anonymous)
    by_kind = {one.kind: one for one in audit.objects if one.mappers == 3 and one.mapped_bytes == 3 * size}
    assert {Kind.FILE, Kind.PRIVATE_FILE} <= set(by_kind)
    assert by_kind[Kind.PRIVATE_FILE].saved_mshare_bytes is None, "mshare refuses private mappings"
    assert by_kind[Kind.SYSV].saved_flag_bytes is None
    assert by_kind[Kind.FILE].saved_hugetlb_bytes is None
    # The tables of the lowest mapping in their slots: PTE pages, and its PMD page (each place is a slot of 1 GiB).
    assert by_kind[Kind.SYSV].table_bytes == 3 * (4 + 1) * 4096


def test_empty_tables_are_shown_as_unattributed(scan):
    size = 16 * MIB
    with memfd_of(size) as fd, agents(sharing(fd, size), count=4, fds=[fd]) as pids:
        os.ftruncate(fd, 0)
        audit = audit_host(pids=pids, scan=scan)
    # All that held pages is empty now: eight PTE tables, the PMD table and the PUD table of each process.
    assert [one.unattributed_bytes for one in audit.processes] == [10 * 4096] * 4
    rest = audit.objects_table().to_pylist()[-1]
    assert (rest["kind"], rest["mappers"], rest["table_bytes"]) == ("unattributed", 4, 40 * 4096)
    assert rest["duplicated_bytes"] is None
    assert sum(audit.objects_table()["table_bytes"].to_pylist()) == audit.vmpte_bytes


def test_processes_that_share_an_address_space_count_once():
    size = 16 * MIB
    with memfd_of(size) as fd, agents(sharing(fd, size), count=2, fds=[fd]) as alone:
        assert [one.pids for one in audit_host(pids=alone).processes] == [(pid,) for pid in sorted(alone)]
    with (
        memfd_of(size) as fd,
        agents(
            [Map(BASE, size, fd=fd), Touch(BASE, count=size // 4096)], [], count=2, fds=[fd], spawn=Spawn.CLONE_VM
        ) as pids,
    ):
        audit = audit_host(pids=pids)
        (one,) = audit.processes
        assert one.pids == tuple(sorted(pids))
        assert (one.vmpte_bytes, one.unattributed_bytes) == (vmpte(pids[0]), 0)
        assert found(audit, "memfd:audited").mappers == 1


def test_page_tables_of_the_machine_are_explained():
    # "On a host where nothing else moves": other work may come and go in between, so a quiet moment is waited for.
    require("kernel", os.geteuid() == 0, "other users' processes can be read by root only")
    size = 512 * MIB
    with memfd_of(size, populate=False) as fd:
        program = [Map(BASE, size, fd=fd), Touch(BASE, count=256, step=512)]
        with agents(program, count=250, fds=[fd]):
            for _ in range(20):
                before = page_tables().page_table_bytes
                audit = audit_host()
                assert audit.page_tables_bytes is not None
                if abs(audit.page_tables_bytes - before) < MIB // 4:
                    break
    assert audit.explained_bytes > 250 * MIB
    assert audit.explained_bytes / audit.page_tables_bytes == pytest.approx(1, abs=0.02)


def test_what_processes_add_to_the_machines_page_tables_is_explained():
    # Idle ones: a top-level table is a tenth of what they have.
    require("kernel", os.geteuid() == 0, "other users' processes can be read by root only")
    ratios = []
    for _ in range(5):
        before = audit_host()
        with agents([], count=500):
            after = audit_host()
        grown = after.page_tables_bytes - before.page_tables_bytes
        ratios.append((after.explained_bytes - before.explained_bytes) / grown)
        if grown > 500 * 32 * KIB and abs(ratios[-1] - 1) < 0.02:
            break  # nobody else's tables came or went meanwhile
    assert grown > 500 * 32 * KIB
    assert ratios[-1] == pytest.approx(1, abs=0.02), ratios


def test_a_process_that_ends_before_it_is_read_is_named(monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        time.sleep(0.3)
        from mshare_bench.audit import session

        original = session.read_file

        def reaped(path):
            if path == f"/proc/{victim.pid}/maps":
                victim.send_signal(signal.SIGKILL)
                victim.wait()
            return original(path)

        monkeypatch.setattr(session, "read_file", reaped)
        audit = audit_host(pids=[child.pid, victim.pid])
    finally:
        for one in (child, victim):
            one.kill()
            one.communicate()
    assert [one.pid for one in audit.processes] == [child.pid]
    assert [(one.pid, one.reason) for one in audit.unread] == [(victim.pid, "ended while it was read")]


def test_without_root_it_says_what_it_missed():
    require("kernel", os.geteuid() == 0, "only root can become another user")
    size = 8 * MIB
    code = (
        "import os, sys, json\nfrom mshare_bench.audit import audit_host\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "a = audit_host(pids=[int(x) for x in sys.argv[1:]])\n"
        "print(json.dumps([[p.pid, p.vmpte_bytes, p.unattributed_bytes] for p in a.processes]))\n"
        "print(json.dumps([[u.pid, u.reason] for u in a.unread])); print(json.dumps(a.missed))"
    )
    with memfd_of(size) as fd, agents(sharing(fd, size), count=2, fds=[fd]) as pids:
        ran = subprocess.run(
            [sys.executable, "-c", code, *map(str, pids)], capture_output=True, text=True, check=True, timeout=60
        )
        rows, unread, missed = map(json.loads, ran.stdout.splitlines())
        assert rows == [[pid, vmpte(pid), vmpte(pid)] for pid in sorted(pids)]
    assert unread == [[pid, "Permission denied"] for pid in sorted(pids)]
    assert any("may not be read, 2" in line and "Root" in line for line in missed)
    assert any("overlay" in line for line in missed)


def test_what_matches_nothing_is_one_clear_line(dead_pid):
    with pytest.raises(ConfigError, match=f"pid={dead_pid}: no such process"):
        audit_host(pids=[dead_pid])
    with pytest.raises(ConfigError, match="pid=no-such-name: no process has such a name"):
        audit_host(pids=["no-such-name"])
    with pytest.raises(ConfigError, match="cgroup=/no/such: no process"):
        audit_host(cgroup="/no/such")
    with pytest.raises(ConfigError, match="give one of the two"):
        audit_host(pids=[1], cgroup="/")
    with pytest.raises(ConfigError, match="top=0"):
        audit_host(top=0)


@pytest.fixture
def dead_pid():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_the_tables_have_exactly_the_columns_that_others_read():
    with memfd_of(4 * MIB) as fd, agents(sharing(fd, 4 * MIB), count=2, fds=[fd]) as pids:
        audit = audit_host(pids=pids)
    objects, processes = audit.objects_table(), audit.processes_table()
    assert objects.column_names == [
        "object", "kind", "mappers", "mapped_bytes", "table_bytes", "once_bytes", "duplicated_bytes",
        "saved_mshare_bytes", "saved_hugetlb_bytes",
    ]  # fmt: skip
    assert processes.column_names == ["pid", "comm", "vmpte_bytes", "attributed_bytes", "unattributed_bytes"]
    for field in [*objects.schema, *processes.schema]:
        assert set(field.metadata) == {b"unit", b"better", b"description"}
        assert field.metadata[b"better"] in (b"lower", b"higher", b"none")


def test_huge_pages_of_shared_memory(scan):
    require("kernel", SHMEM_ENABLED.available() is None, str(SHMEM_ENABLED.available()))
    size = 16 * MIB
    with knobs_set({SHMEM_ENABLED: "advise"}), memfd_of(size, populate=False) as fd:
        program = [Map(BASE, size, fd=fd, advice=(mmap.MADV_HUGEPAGE,)), Touch(BASE, count=size // 4096, write=True)]
        # The second half of the processes maps the huge pages with base pages: there are tables then.
        split = [Map(BASE + 4096, size - 4096, fd=fd, offset=4096), Touch(BASE + 4096, count=size // 4096 - 1)]
        # One after the other: a base page that came first would keep the huge page from being allocated.
        with agents(program, split, count=6, fds=[fd], parallel=1) as pids:
            audit = audit_host(pids=pids, scan=scan)
            assert_exact(audit, pids)
            one = found(audit, "memfd:audited")
    # PMD and PUD page of each; a PTE table at least in the cell that the odd mapping begins in.
    assert one.table_bytes >= (6 * 2 + 3) * 4096
    assert one.table_bytes < 6 * (8 + 2) * 4096, "some were mapped huge"


@pytest.mark.parametrize("half_read_only", [False, True])
def test_tables_of_hugetlb_that_the_kernel_shares(scan, half_read_only):
    pool = nr_hugepages(2 * MIB)
    require("kernel", pool.available() is None, str(pool.available()))
    with knobs_set({pool: More(512)}), memfd_of(GIB, flags=os.MFD_HUGETLB, populate=False) as fd:
        touch = Touch(GIB * 600, count=512, stride=2 * MIB)
        writing = [Map(GIB * 600, GIB, fd=fd), touch]
        reading = [Map(GIB * 600, GIB, fd=fd, prot=mmap.PROT_READ), touch]
        with agents(writing, reading if half_read_only else writing, count=10, fds=[fd]) as pids:
            audit = audit_host(pids=pids, scan=scan)
            assert_exact(audit, pids)
            one = found(audit, "memfd:audited")
    assert one.kind == Kind.HUGETLB
    # Each process shows its PMD page and its PUD page; the PMD page is one for all that have the same protection.
    assert one.table_bytes == 10 * 2 * 4096
    assert one.kernel_shared_bytes == (8 if half_read_only else 9) * 4096
    assert one.kernel_shared_basis == "measured"
    assert one.duplicated_bytes == one.table_bytes - 2 * 4096 - one.kernel_shared_bytes
    assert one.saved_hugetlb_bytes is None


def test_hugetlb_that_lies_badly_is_not_shared():
    pool = nr_hugepages(2 * MIB)
    require("kernel", pool.available() is None, str(pool.available()))
    with knobs_set({pool: More(16)}), memfd_of(32 * MIB, flags=os.MFD_HUGETLB, populate=False) as fd:
        program = [Map(BASE, 32 * MIB, fd=fd), Touch(BASE, count=16, stride=2 * MIB)]
        with agents(program, count=4, fds=[fd]) as pids:
            one = found(audit_host(pids=pids), "memfd:audited")
    assert (one.kernel_shared_bytes, one.kernel_shared_basis) == (0, None)
    assert any("whole slots of 1 GiB" in line for line in one.advice)


def test_huge_pages_of_private_memory_have_a_table_deposited(scan):
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as setting:
        require("kernel", "[never]" not in setting.read(), "transparent_hugepage=never")
    size = 16 * MIB
    program = [
        Map(BASE, size, flags=PRIVATE, advice=(mmap.MADV_HUGEPAGE,)),
        Touch(BASE, count=size // 4096, write=True),
    ]
    with agents(program, count=3) as pids:
        assert_exact(audit_host(pids=pids, scan=scan), pids)


def test_a_reading_without_numa_calls_is_the_same(monkeypatch):
    # move_pages(2) is not there without CONFIG_NUMA: then nothing is asked about, everything is scanned.
    from mshare_bench.audit import population

    size = 32 * MIB
    with memfd_of(size) as fd, agents(sharing(fd, size), count=8, fds=[fd]) as pids:
        quick = audit_host(pids=pids)
        monkeypatch.setattr(population, "resident", lambda pid, pages: None)
        thorough = audit_host(pids=pids)
    assert quick.objects == thorough.objects
    assert quick.processes == thorough.processes
