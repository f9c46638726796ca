"""The fast accounting and the semantic model, driven by the same histories, count the same: tables, faults, frames, flushes."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.domain.workload import placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.sim.accounting import account, setting_of
from mshare_bench.sim.flushes import flushes_of
from mshare_bench.sim.semantics import (
    Advise,
    Attach,
    Config,
    Create,
    CreateFile,
    Flush,
    FlushCount,
    Fork,
    Interface,
    Machine,
    Map,
    MapInside,
    Protect,
    Resize,
    Spawn,
    Touch,
    Unmap,
    WriteFile,
    check,
    data_bytes,
    fault_counts,
    page_tables_bytes,
)
from tests.sim.points import point

WINDOW = 512 * GIB
CPUS = 3
KINDS = {
    "shmem": "memfd",
    "shared_mm": "memfd",
    "sysv": "sysv",
    "hugetlb": "hugetlb",
    "file": "file",
    "private_file": "file",
}


class History:
    """A point as a history of the semantic model: every process maps, all write, then all read, in order."""

    def __init__(self, one):
        self.point, self.mechanism = one, one.mechanism
        self.interface = one.options.get("interface", "msharefs") if self.mechanism == "mshare" else None
        flush = Flush(one.options.get("flush", "all"))
        config = Config(cpus=CPUS) if self.interface is None else Config(Interface(self.interface), flush, cpus=CPUS)
        self.machine = Machine(config)
        (self.placed,) = placed_regions(one.workload, one.offset)
        self.pids = list(range(1, one.workload.processes + 1))
        self.private = self.mechanism == "anon_thp" or (
            self.mechanism == "inherit" and one.options.get("memory") != "shared"
        )

    def do(self, op):
        outcome = self.machine.apply(op)
        assert outcome.ok, (op, outcome)

    def run(self):
        size, address = self.placed.region.size, self.placed.address
        self.do(Spawn(99))
        if not self.private and self.interface != "flag":
            self.do(CreateFile(99, "data", KINDS.get(self.mechanism, "memfd"), size))
            if self.point.whole and self.mechanism in (
                "sysv",
                "hugetlb",
            ):  # no write(2): through a mapping that is given up
                self.do(Map(99, address, size, "data", shared=True))
                self.do(Touch(99, address, size, write=True, value=1))
                self.do(Unmap(99, address, size))
            elif self.point.whole:
                self.do(WriteFile(99, "data", 0, size))
        if self.mechanism == "mshare":
            self._domain(size)
        self.machine.flushes = FlushCount()  # what populating took is nobody's
        for pid in self.pids[:1] if self.mechanism in ("shared_mm", "inherit") else self.pids:
            self.do(Spawn(pid, cpu=(pid - 1) % CPUS))
            if self.mechanism == "mshare":
                self.do(Attach(pid, "region", address))
            else:
                self._map(pid, address, size)
        if self.mechanism == "shared_mm":
            for pid in self.pids[1:]:
                self.do(Fork(1, pid, cpu=(pid - 1) % CPUS, share_mm=True))
        touch = self.point.workload.groups[0].cohorts[0].touches[0]
        if self.mechanism == "inherit":
            if self.private:
                self._touch(1, touch.touched, True)
            else:
                self._touch(1, touch.written, True)
                self._touch(1, touch.read, False)
            for pid in self.pids[1:]:
                self.do(Fork(1, pid))
        others = self.pids[1:] if self.mechanism == "inherit" else self.pids
        private_write = self.mechanism == "anon_thp"
        for pid in others:
            self._touch(pid, touch.touched if private_write else touch.written, True)
        for pid in others if not private_write else ():
            self._touch(pid, touch.read, False)
        check(self.machine)

    def finish(self):
        """All protect, then all unmap; on one address space one does it for all. msharefs has no mprotect of a window."""
        size, address = self.placed.region.size, self.placed.address
        length = WINDOW if self.interface in ("msharefs", "ideal") else size
        one_for_all = self.mechanism == "shared_mm"
        for kind in (Protect, Unmap) if self.interface != "msharefs" else (Unmap,):
            for pid in self.pids[:1] if one_for_all else self.pids:
                self.do(Protect(pid, address, length, "r") if kind is Protect else Unmap(pid, address, length))
        check(self.machine)

    def _domain(self, size):
        self.do(Create(99, "region"))
        if self.interface == "flag":
            self.do(Resize(99, "region", size))
            if self.point.whole:
                self.do(WriteFile(99, "region", 0, size))
            return
        self.do(Resize(99, "region", -(-size // WINDOW) * WINDOW))
        self.do(MapInside(99, "region", 0, size, file="data"))

    def _map(self, pid, address, size):
        shared = not self.private and self.mechanism != "private_file"
        self.do(Map(pid, address, size, None if self.private else "data", shared=shared))
        if self.mechanism == "anon_thp":
            self.do(Advise(pid, address, size, "hugepage"))

    def _touch(self, pid, pages, write):
        for page in pages.pages():
            self.do(Touch(pid, self.placed.address + int(page) * 4096, write=write, value=7))

    @property
    def faults(self):
        return [fault_counts(self.machine, pid) for pid in self.pids]


@st.composite
def points(draw):
    name, options = draw(
        st.sampled_from(
            [
                ("shmem", {}),
                ("sysv", {}),
                ("file", {}),
                ("private_file", {}),
                ("hugetlb", {}),
                ("anon_thp", {}),
                ("shared_mm", {}),
                ("inherit", {}),
                ("inherit", {"memory": "shared"}),
                ("mshare", {}),
                ("mshare", {"interface": "flag"}),
                ("mshare", {"interface": "ideal"}),
                ("mshare", {"interface": "flag", "flush": "cpumask"}),
                ("mshare", {"interface": "ideal", "flush": "list"}),
            ]
        )
    )
    unit = 2 * MIB if name == "hugetlb" or options.get("interface") == "flag" else 4 * KIB
    size = unit * draw(st.integers(1, 3 if unit > 4 * KIB else 1100))
    offset = 0 if name == "mshare" else unit * draw(st.integers(0, 1 << 18 if unit == 4 * KIB else 600))
    if draw(st.booleans()):
        access = AccessPattern.of("stride", step=4096 * draw(st.integers(1, 60)))
    else:
        access = AccessPattern.of("fraction", fraction=draw(st.floats(0.01, 1)))
    return point(
        name,
        draw(st.integers(2 if name == "inherit" else 1, 5)),
        size,
        offset=offset,
        access=access,
        write_fraction=draw(st.sampled_from([0.0, 0.3, 1.0])),
        populate=draw(st.sampled_from(["controller", "first_touch"])),
        **options,
    )


@pytest.mark.timeout(600)
@settings(max_examples=120, deadline=None)
@given(one=points())
@example(one=point("shmem", 2, 256 * KIB, offset=12 * KIB, access=AccessPattern.of("stride", step=52 * KIB)))
def test_the_same_history_counts_the_same(one):
    try:
        expected = account(one)
    except ConfigError:
        assume(False)
    if one.populate == "first_touch" and expected.traits.resident:
        assume(False)  # a file of the page cache is there by definition
    history = History(one)
    history.run()
    assert page_tables_bytes(history.machine) == expected.page_table_bytes
    assert sum(counts.minor for counts in history.faults) == expected.total("minor_faults")
    if expected.traits.link:
        assert sum(counts.linking for counts in history.faults) == expected.total("linking_faults")
    assert data_bytes(history.machine) == expected.total("data_bytes")
    flushes = flushes_of(setting_of(one), CPUS)
    if flushes is not None:
        history.finish()
        counted = history.machine.flushes
        assert (counted.rounds, counted.interrupts) == (flushes.ordered, flushes.interrupts)
