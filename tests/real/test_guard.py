import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mshare_bench.errors import GuardError
from mshare_bench.real import guard as module
from mshare_bench.real.guard import AGENT_BYTES, HostRoom, Need, check_need, guard, largest_processes, read_host

sizes = st.integers(min_value=0, max_value=1 << 42)


def linear(data, tables, each):
    return lambda processes: Need(processes, data, tables * processes, each * processes)


def room(available, processes=1 << 22):
    return HostRoom(available, "MemAvailable", processes, "pid_max 4194304")


@given(
    data=sizes, tables=sizes, each=st.integers(1, 1 << 40), available=sizes, reserve=sizes, free=st.integers(0, 1 << 22)
)
def test_the_largest_count_fits_and_one_more_does_not(data, tables, each, available, reserve, free):
    need_of, host = linear(data, tables, each), room(available, free)
    largest = largest_processes(need_of, host, reserve)
    assert 0 <= largest <= free
    if largest:
        assert check_need(need_of, largest, host, reserve).total_bytes <= available - reserve
    with pytest.raises(GuardError) as refused:
        check_need(need_of, largest + 1, host, reserve)
    assert refused.value.largest_processes == largest
    assert refused.value.exit_code == 3


@given(steps=st.lists(st.integers(0, 1000), min_size=1, max_size=50), available=st.integers(0, 30_000))
def test_any_need_that_does_not_fall_will_do(steps, available):
    totals = [sum(steps[: n + 1]) for n in range(len(steps))]

    def need_of(processes):
        return Need(processes, totals[processes - 1], 0, 0)

    fitting = sum(total <= available for total in totals)
    assert largest_processes(need_of, room(available), 0, most=len(steps)) == fitting


@given(processes=st.integers(1, 1000), available=sizes, more=sizes)
def test_more_memory_never_allows_fewer(processes, available, more):
    need_of = linear(1 << 30, 2 << 20, AGENT_BYTES)
    assert largest_processes(need_of, room(available), most=processes) <= largest_processes(
        need_of, room(available + more), most=processes
    )


def test_the_refusal_names_need_available_and_what_would_fit():
    need_of = linear(1 << 30, 2 << 20, 100 << 10)
    with pytest.raises(GuardError) as refused:
        check_need(need_of, 10_000, room(8 << 30), reserve_bytes=4 << 30)
    # (8 - 4 - 1) GiB over 2 MiB + 100 KiB each
    largest = (3 << 30) // ((2 << 20) + (100 << 10))
    message = str(refused.value)
    assert "processes=10000 needs 21.48 GiB (data 1.00 GiB, page tables 19.53 GiB, processes 0.95 GiB)" in message
    assert "8.00 GiB less a reserve of 4.00 GiB" in message
    assert message.endswith(f"{largest} processes would fit")
    assert "\n" not in message


def test_hugepages_count():
    def need_of(processes):
        return Need(processes, 0, 4096 * processes, 0, hugepage_bytes=6 << 30)

    assert need_of(1).total_bytes == (6 << 30) + 4096
    with pytest.raises(GuardError, match=r"hugepages 6\.00 GiB.*not even one process would fit"):
        check_need(need_of, 1, room(8 << 30))


def test_the_process_limit_is_named():
    with pytest.raises(GuardError, match=r"needs 40 processes, pids.max 30 of /x leaves 20; 20 processes would fit"):
        check_need(linear(0, 0, 1), 40, HostRoom(1 << 40, "MemAvailable", 20, "pids.max 30 of /x"))


def test_this_host():
    with open("/proc/meminfo") as lines:
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    with open("/proc/sys/kernel/pid_max") as text:
        pid_max = int(text.read())
    host = read_host()
    assert 0 < host.available_bytes <= total
    assert 0 < host.free_processes < pid_max
    # One process of one byte fits on anything that runs the tests; a process per byte of memory does not.
    assert guard(linear(0, 0, 1), 1, reserve_bytes=0).processes == 1
    with pytest.raises(GuardError):
        guard(linear(0, 0, 1), total + pid_max, reserve_bytes=0)


def test_a_tighter_cgroup_wins(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "memory_headroom", lambda: (1 << 20, tmp_path))
    assert read_host().available_bytes == 1 << 20
    assert str(tmp_path) in read_host().memory_limit


def test_every_pids_group_above_counts(monkeypatch, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    for folder, most, current in ((inner, "max", 3), (tmp_path, "10", 7)):
        (folder / "pids.max").write_text(f"{most}\n")
        (folder / "pids.current").write_text(f"{current}\n")
    monkeypatch.setattr(module, "own_groups", lambda controller: [inner, tmp_path] if controller == "pids" else [])
    host = read_host()
    assert (host.free_processes, host.process_limit) == (3, f"pids.max 10 of {tmp_path}")


def test_the_users_own_limit_holds_for_users_only(monkeypatch):
    monkeypatch.setattr(module.resource, "getrlimit", lambda which: (7, 7))
    monkeypatch.setattr(module, "_tasks_of_user", lambda uid: 5)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert (read_host().free_processes, read_host().process_limit) == (2, "RLIMIT_NPROC 7")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert read_host().process_limit != "RLIMIT_NPROC 7"
