"""Unit costs that one small experiment shows by itself: clock, caches, copying, switches, interrupts, KSM.

Each probe gives samples in the unit of its cost, several batches of them; it gives nothing, and why, where the machine can't
show it.
"""

import functools
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshare_bench.calibration.observe import QUANTILE, prefer
from mshare_bench.domain.units import KIB, MIB
from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent import ops as o
from mshare_bench.real.counters.ksm import ksm_state
from mshare_bench.real.counters.procfs import read_int
from mshare_bench.real.knobs import knobs, knobs_set
from mshare_bench.real.launch import Binding, ProcessTree, Spawn
from mshare_bench.real.measure import wait_until_merged

__all__ = ["PROBES", "Probe", "Samples", "cache_sizes"]

Samples = NDArray[np.float64]
"""Shape (batches, samples)."""

_BATCHES = 5
_ADDRESS = o.REGIONS_START


@dataclass(frozen=True, slots=True)
class Probe:
    """What it measures, how, and what measures it; `run` raises CapabilityError where the machine can't show it."""

    costs: tuple[str, ...]
    how: str
    run: Callable[[], Mapping[str, Samples]]


def cache_sizes() -> dict[int, int]:
    """Bytes of the data caches of the first CPU, by level."""
    sizes = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction":
            sizes[int(level)] = int(size[:-1]) * {"K": KIB, "M": MIB}[size[-1]]
    return sizes


def _tree(
    program: o.Program, agents: int, cpus: list[int], spawn: Spawn = Spawn.FORK, parallel: int = 1
) -> ProcessTree:
    bindings = [Binding(cpus=frozenset({cpu})) for cpu in cpus]
    return ProcessTree([program], agents, spawn=spawn, parallel=parallel, bindings=bindings,
                       binding=np.arange(agents) % len(cpus))  # fmt: skip


@contextmanager
def _started(tree: ProcessTree) -> Iterator[ProcessTree]:
    with tree:
        prefer(tree)
        tree.launch()
        yield tree


def _cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _timer() -> Mapping[str, Samples]:
    program: o.Program = {"nothing": [o.Touch(_ADDRESS, 0)] * 200}
    with _started(_tree(program, 1, _cpus()[-1:])) as tree:
        batches = []
        for _ in range(_BATCHES):
            tree.run("nothing")
            batches.append(tree.op_results("nothing")[0]["duration_ns"][20:].astype(np.float64))
    return {"timer": np.array(batches)}


def _copying() -> Mapping[str, Samples]:
    """Clearing and copying in pieces of 2 MiB, more memory than the caches hold; per 4 KiB."""
    size, piece = 128 * MIB, 2 * MIB
    target, source = np.ones(size, np.uint8), np.ones(size, np.uint8)
    pages = piece // mmap.PAGESIZE

    def timed(action: Callable[[int], None]) -> Samples:
        batches = np.empty((_BATCHES, size // piece))
        for batch in range(_BATCHES):
            for number in range(size // piece):
                start = time.perf_counter_ns()
                action(number * piece)
                batches[batch, number] = (time.perf_counter_ns() - start) / pages
        return batches

    def clear(at: int) -> None:
        target[at : at + piece] = 0

    def copy(at: int) -> None:
        target[at : at + piece] = source[at : at + piece]

    return {"frame_zero": timed(clear), "page_copy": timed(copy)}


def _latency() -> Mapping[str, Samples]:
    """Loads that each depend on the one before, over as much memory as stays in each level."""
    sizes = cache_sizes()
    wanted = {"latency_l1": sizes.get(1, 32 * KIB) // 2}
    if 2 in sizes:
        wanted["latency_l2"] = sizes[2] // 2
    if 3 in sizes:
        wanted["latency_l3"] = max(2 * sizes.get(2, MIB), min(sizes[3] // 4, 8 * MIB))
    wanted["latency_memory"] = min(512 * MIB, max(256 * MIB, 4 * max(sizes.values(), default=32 * MIB)))
    return {name: _chase(size) for name, size in wanted.items()}


def _last_cache() -> Mapping[str, Samples]:
    """The last level's size as the kernel reports it: no measurement, so without an interval."""
    sizes = cache_sizes()
    if not sizes:
        raise CapabilityError("the kernel does not say how large the caches are")
    return {"cache_last_bytes": np.full((_BATCHES, 1), float(sizes[max(sizes)]))}


def _chase(size: int) -> Samples:
    from numba import njit

    lines = size // 64
    order = np.random.default_rng(1).permutation(lines)
    chain = np.empty(lines * 8, np.int64)  # one index per cache line
    chain[order * 8] = np.roll(order, -1) * 8

    @njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
    def follow(chain: NDArray[np.int64], start: int, steps: int) -> int:
        at = start
        for _ in range(steps):
            at = chain[at]
        return at

    steps = min(lines, 1 << 14)
    at = follow(chain, 0, min(lines, 1 << 17))
    batches = np.empty((_BATCHES, 16))
    for batch in range(_BATCHES):
        for number in range(16):
            start = time.perf_counter_ns()
            at = follow(chain, at, steps)
            batches[batch, number] = (time.perf_counter_ns() - start) / steps
    return batches


def _handing_over(spawn: Spawn, cpus: list[int]) -> Samples:
    agents = 24
    program: o.Program = {"nothing": [o.Touch(_ADDRESS, 0)]}
    batches = []
    with _started(_tree(program, agents, cpus, spawn)) as tree:
        for batch in range(_BATCHES + 1):
            found = []
            for _ in range(10):
                rows = tree.run("nothing")
                ends = rows["start_ns"] + rows["duration_ns"]
                found.append((rows["start_ns"][1:] - ends[:-1])[4:])
            if batch:
                batches.append(np.concatenate(found).astype(np.float64))
    return np.array(batches)


def _switches() -> Mapping[str, Samples]:
    here = _cpus()[-1:]
    return {
        "context_switch": _handing_over(Spawn.THREAD, here),
        "context_switch_mm": _handing_over(Spawn.FORK, here),
    }


def _wake() -> Mapping[str, Samples]:
    if len(_cpus()) < 2:
        raise CapabilityError("needs two CPUs")
    return {"futex_wake": _handing_over(Spawn.FORK, _cpus()[-2:])}


def _lock_transfer() -> Mapping[str, Samples]:
    """Two threads on two CPUs take turns on one word: each turn brings its cache line over."""
    cpus = _cpus()[:2]
    if len(cpus) < 2:
        raise CapabilityError("needs two CPUs")
    take_turns, turns, rounds = _turns(), 10_000, 10
    word = np.zeros(8, np.int64)
    take_turns(word, 0, 1)
    before = os.sched_getaffinity(0)

    def other() -> None:
        os.sched_setaffinity(0, cpus[1:])
        take_turns(word, 0, _BATCHES * rounds * turns)

    batches = np.empty((_BATCHES, rounds))
    thread = threading.Thread(target=other)
    try:
        os.sched_setaffinity(0, cpus[:1])
        thread.start()
        for batch in range(_BATCHES):
            for number in range(rounds):
                start = time.perf_counter_ns()
                take_turns(word, 1, turns)
                batches[batch, number] = (time.perf_counter_ns() - start) / (2 * turns)
        thread.join()
    finally:
        os.sched_setaffinity(0, before)
    return {"lock_transfer": batches}


@functools.cache
def _turns() -> Callable[[NDArray[np.int64], int, int], None]:
    """Compile `f(word, parity, turns)`: so often wait until the word is odd or even (`parity`), then add one to it."""
    from numba import int64, njit, types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator,unused-ignore]
    def seen(_context: Any, _word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            return builder.load_atomic(array.data, "acquire", 8)

        return int64(_word), generate

    @intrinsic  # type: ignore[untyped-decorator,unused-ignore]
    def advance(_context: Any, _word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            return builder.atomic_rmw("add", array.data, context.get_constant(types.int64, 1), "acq_rel")

        return int64(_word), generate

    @njit(nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
    def take_turns(word: NDArray[np.int64], parity: int, turns: int) -> None:
        for _ in range(turns):
            while seen(word) % 2 != parity:
                pass
            advance(word)

    return take_turns  # type: ignore[no-any-return,unused-ignore]


def _interrupt() -> Mapping[str, Samples]:
    """`mprotect` of one page while a thread of the same process runs on another CPU, against the same while none does."""
    if len(_cpus()) < 2:
        raise CapabilityError("needs two CPUs")
    page, count = mmap.PAGESIZE, 400
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    flips: list[o.Op] = [
        op
        for _ in range(count)
        for op in (o.Protect(_ADDRESS, page, mmap.PROT_READ), o.Protect(_ADDRESS, page, mmap.PROT_READ | mmap.PROT_WRITE),
                   o.Touch(_ADDRESS, 1, write=True))
    ]  # fmt: skip
    attach: list[o.Op] = [o.Map(_ADDRESS, page, flags=flags), o.Touch(_ADDRESS, 1, write=True)]
    busy = [o.Touch(_ADDRESS, 40_000_000, step=0)]
    programs: list[o.Program] = [{"attach": attach, "flip": flips, "both": flips}, {"both": busy}]
    batches: list[Samples] = []
    with ProcessTree(
        programs, 2, [0, 1], spawn=Spawn.THREAD, parallel=2,
        bindings=[Binding(cpus=frozenset({cpu})) for cpu in _cpus()[:2]], binding=[0, 1],
    ) as tree:  # fmt: skip
        prefer(tree)
        tree.launch()
        tree.run("attach", 0, 1)
        for _ in range(_BATCHES):
            tree.run("flip", 0, 1)
            alone = tree.op_results("flip")[0]["duration_ns"].reshape(count, 3)[:, 0]
            rows = tree.run("both")
            together = tree.op_results("both")[0]["duration_ns"][: count * 3].reshape(count, 3)[:, 0]
            if rows["duration_ns"][1] > rows["duration_ns"][0]:  # the other one ran all the while
                batches.append(together.astype(np.float64) - float(np.median(alone)))
    if len(batches) < 2:
        raise CapabilityError("no two threads ran side by side for long enough")
    return {"ipi": np.maximum(0.0, np.array(batches))}


def _ksm() -> Mapping[str, Samples]:
    """CPU time of ksmd per page scanned and per page merged; the time of a write that breaks a page out."""
    pids = [path.parent for path in Path("/proc").glob("[0-9]*/comm") if path.read_text() == "ksmd\n"]
    if not pids:
        raise CapabilityError("no ksmd runs here")

    def spent() -> int:
        return int((pids[0] / "schedstat").read_text().split()[0])

    def scanned() -> int:
        return read_int(Path("/sys/kernel/mm/ksm/pages_scanned")) or 0

    size = 16 * MIB
    pages = size // mmap.PAGESIZE
    program: o.Program = {
        "attach": [
            o.Map(_ADDRESS, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                  advice=(mmap.MADV_NOHUGEPAGE, mmap.MADV_MERGEABLE)),
            o.Touch(_ADDRESS, pages, write=True, number=True),
        ],
        "break": [o.Touch(_ADDRESS, 512, first, write=True, number=True) for first in range(0, pages, 512)],
    }  # fmt: skip
    compare: list[list[float]] = []
    merge: list[list[float]] = []
    broken: list[Samples] = []
    wanted = {knobs()["ksm_pages_to_scan"]: "5000", knobs()["ksm_sleep_millisecs"]: "1", knobs()["ksm_run"]: "1"}
    with _started(_tree(program, 2, _cpus()[-1:])) as tree:
        for _ in range(3):
            sharing = ksm_state().get("pages_sharing", 0)
            if not compare:
                tree.run("attach")
            with knobs_set(dict(wanted)):
                start, looked = spent(), scanned()
                wait_until_merged(60.0)
                merging, looked_merging = spent() - start, scanned() - looked
                merged = ksm_state().get("pages_sharing", 0) - sharing
                start, looked = spent(), scanned()
                time.sleep(0.5)
                steady = (spent() - start) / max(1, scanned() - looked)
            compare.append([steady])
            if merged > 0:
                merge.append([max(0.0, (merging - steady * looked_merging) / merged)])
            tree.run("break")
            broken.append(tree.op_results("break")["duration_ns"].ravel().astype(np.float64) / 512)
    if not merge:
        raise CapabilityError("KSM merged nothing")
    return {"ksm_compare": np.array(compare), "ksm_merge": np.array(merge), "ksm_break": np.array(broken)}


PROBES = (
    Probe(("timer",), "an op that does nothing", _timer),
    Probe(("frame_zero", "page_copy"), "128 MiB cleared and copied in pieces of 2 MiB", _copying),
    Probe(("latency_l1", "latency_l2", "latency_l3", "latency_memory"), "dependent loads over half a level", _latency),
    Probe(("cache_last_bytes",), "the size that the kernel reports", _last_cache),
    Probe(("context_switch", "context_switch_mm"), "agents on one CPU hand their turn on", _switches),
    Probe(("futex_wake",), "agents on two CPUs hand their turn on", _wake),
    Probe(("lock_transfer",), "two threads on two CPUs take turns on a word", _lock_transfer),
    Probe(("ipi",), "mprotect of a page beside a running thread, less the same alone", _interrupt),
    Probe(("ksm_compare", "ksm_merge", "ksm_break"), "CPU time of ksmd; writes to merged pages", _ksm),
)
"""Every probe."""


def summary(samples: Samples) -> tuple[float, float, float]:
    """Figure of all samples, and what it spans over the batches."""
    figures = np.quantile(samples, QUANTILE, axis=1)
    value = float(np.quantile(samples, QUANTILE))
    return value, float(min(figures.min(), value)), float(max(figures.max(), value))
