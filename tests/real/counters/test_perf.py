import mmap
import os
import resource
import signal

import pytest

from mshare_bench.errors import CapabilityError, CellFailed, ConfigError
from mshare_bench.real.counters import perf as module
from mshare_bench.real.counters.perf import EVENTS, EventCount, PerfEvents, event_unavailable
from tests.real.counters.agents import python_child
from tests.requirements import require

_SOFTWARE = ("page-faults", "minor-faults", "major-faults")


def _touch(pages):
    with mmap.mmap(-1, pages * 4096) as region:
        for at in range(0, len(region), 4096):
            region[at] = 1


@pytest.fixture
def software():
    reason = event_unavailable("page-faults")
    require("kernel", reason is None, str(reason))


@pytest.mark.kernel
def test_each_page_is_a_fault_and_the_same_as_getrusage(software):
    with PerfEvents(_SOFTWARE) as events:
        events.start()
        before = resource.getrusage(resource.RUSAGE_SELF)
        _touch(1000)
        after = resource.getrusage(resource.RUSAGE_SELF)
        events.stop()
        _touch(50)  # after the stop: not counted
        faults, minor, major = events.read()
    assert faults.count == minor.count + major.count
    assert 0 <= minor.count - (after.ru_minflt - before.ru_minflt) < 20  # getrusage itself lies inside
    assert 1000 <= minor.count < 1040
    assert faults.kernel or os.geteuid() != 0
    assert not faults.multiplexed
    assert faults.time_running_ns > 0


@pytest.mark.kernel
def test_populating_is_in_getrusage_and_not_here(software):
    # What the module says about faults that the kernel takes on a process's behalf.
    if not hasattr(mmap, "MAP_POPULATE"):
        pytest.skip("this Python has no MAP_POPULATE")
    with PerfEvents(["page-faults"]) as events:
        events.start()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        region = mmap.mmap(-1, 1000 * 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        events.stop()
        (faults,) = events.read()
    region.close()
    assert after - before >= 1000
    assert faults.count < 50


_TOUCH_WHEN_ASKED = """
m = mmap.mmap(-1, 300 * 4096)
print(0, flush=True)
sys.stdin.readline()
for at in range(0, len(m), 4096):
    m[at] = 1
ready()
"""


@pytest.mark.kernel
def test_other_processes_are_added_up(software):
    with (
        python_child(_TOUCH_WHEN_ASKED) as first,
        python_child(_TOUCH_WHEN_ASKED) as second,
        PerfEvents(["page-faults"], [first.pid, second.pid]) as events,
    ):
        events.start()
        for child in (first, second):
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
        events.stop()
        assert 600 <= events.read()[0].count < 700


@pytest.mark.kernel
def test_counts_outlive_the_process(software):
    with python_child(_TOUCH_WHEN_ASKED) as child, PerfEvents(["page-faults"], [child.pid]) as events:
        events.start()
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert 300 <= events.read()[0].count < 400


@pytest.mark.kernel
def test_children_count_only_when_inherited(software):
    for inherit in (False, True):
        with PerfEvents(["page-faults"], inherit=inherit) as events:
            events.start()
            child = os.fork()
            if not child:
                _touch(2000)
                os._exit(0)
            os.waitpid(child, 0)
            events.stop()
            assert (events.read()[0].count >= 2000) == inherit


@pytest.mark.kernel
def test_the_whole_machine(software):
    reason = None if os.geteuid() == 0 else "counting every CPU needs root"
    require("kernel", reason is None, str(reason))
    with PerfEvents(["page-faults"], None) as events:
        events.start()
        _touch(500)
        events.stop()
        assert events.read()[0].count >= 500


def test_what_cannot_be_counted_is_none_with_a_reason():
    for name in EVENTS:
        reason = event_unavailable(name)
        with PerfEvents([name]) as events:
            events.start()
            events.stop()
            (count,) = events.read()
        assert (count.count is None) == (reason is not None)
        assert count.reason == reason
        assert reason is None or name in reason


def test_an_event_without_hardware_does_not_spoil_the_others(software, monkeypatch):
    real = module._perf_event_open

    def without_pmu(code, target, group, flags):
        return -2 if code[0] in (0, 3) else real(code, target, group, flags)

    monkeypatch.setattr(module, "_perf_event_open", without_pmu)
    with PerfEvents(["dTLB-load-misses", "page-faults"]) as events:
        events.start()
        _touch(100)
        events.stop()
        misses, faults = events.read()
    assert misses.count is None
    assert "no hardware counter" in misses.reason
    assert faults.count >= 100


def _fake_reads(monkeypatch, *triples):
    import struct

    readings = iter(triples)
    monkeypatch.setattr(module.os, "read", lambda descriptor, size: struct.pack("QQQ", *next(readings)))


def test_turns_are_scaled_up_and_said(monkeypatch):
    with PerfEvents([]) as events:
        events._descriptors, events._kernel = {"cycles": [1, 2]}, {"cycles": True}
        with monkeypatch.context() as patch:
            _fake_reads(patch, (100, 1000, 250), (7, 500, 500))
            assert events.read() == [EventCount("cycles", 407, None, 1500, 750, True)]
            assert EventCount("cycles", 407, None, 1500, 750, True).multiplexed
            _fake_reads(patch, (0, 1000, 0))
            (never,) = events.read()
            assert never.count is None
            assert "never" in never.reason
        events._descriptors = {}


def test_user_mode_alone_where_the_kernel_is_forbidden(monkeypatch):
    def paranoid(code, target, group, flags):
        return os.open("/dev/null", os.O_RDONLY) if flags & module._EXCLUDE_KERNEL else -13

    monkeypatch.setattr(module, "_perf_event_open", paranoid)
    with PerfEvents(["page-faults", "context-switches"]) as events:
        assert not events._kernel["page-faults"]
        # It happens inside the kernel only: user mode alone would read 0.
        switches = events._read("context-switches")
        assert switches.count is None
        assert "perf_event_paranoid" in switches.reason


def test_one_that_does_not_fit_in_the_group_is_opened_alone(monkeypatch):
    opened = []

    def full(code, target, group, flags):
        opened.append((code, group))
        return -22 if group >= 0 else os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(module, "_perf_event_open", full)
    with PerfEvents(["cycles", "instructions"]) as events:
        assert len(events._leaders) == 2
    assert [group < 0 for _code, group in opened] == [True, False, True]


def test_a_process_that_ended_is_named(software):
    with python_child("ready()") as child:
        pass
    with pytest.raises(CellFailed, match=str(child.pid)):
        PerfEvents(["page-faults"], [child.pid])


def test_descriptors_run_out_and_are_given_back(software, monkeypatch):
    count = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 5, limits[1]))
    try:
        with pytest.raises(CapabilityError, match="RLIMIT_NOFILE"):
            PerfEvents(["page-faults"], [0] * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/proc/self/fd")) == count


def test_unknown_names():
    for name in ("page-fault", "tracepoint:tlb", "tracepoint:../x:y"):
        with pytest.raises(ConfigError, match="page-faults"):
            PerfEvents([name])
    with PerfEvents(["tracepoint:no:such"]) as events:
        assert "no such tracepoint" in events.read()[0].reason
