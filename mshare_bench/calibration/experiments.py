"""What is run to learn the unit costs: points whose counts of work tell the costs apart, and the rows of equations they give.

Each row says: these counts, at these costs, took that long. The counts come from the same code that predicts
(`mshare_bench.sim.work`). A cost can be told from another only where some experiments have more of it for as much of the other:

- windows against single pages: where only one page per 2 MiB is there, a window holds one page instead of 16;
- tables against pages: one page per 2 MiB has a table for every 16 pages, a dense region one for every 512;
- mappings against processes: forty regions against one;
- near against far: the same at 4, 32 and 192 MiB;
- far against beyond the last cache: the tables of fifty processes against those of ten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mshare_bench.calibration.observe import AGAIN, PIECE
from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.cell import Point
from mshare_bench.domain.pages import EMPTY
from mshare_bench.domain.units import GIB, KIB, MIB
from mshare_bench.domain.workload import Workload
from mshare_bench.sim.accounting import setting_of
from mshare_bench.sim.points import make_point
from mshare_bench.sim.work import WORK_PHASES, Share, Work, shares_of

__all__ = ["EXPERIMENTS", "Experiment", "larger", "work_rows"]

SIZES = (4 * MIB, 32 * MIB, 192 * MIB)
"""Bytes: within an L2, within most L3s, beyond what a core has of one."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A point to run, how often in one process tree, and what of it is used.

    Attributes
    ----------
    phases
        Phases whose samples are used; empty for all.
    again
        Whether touching once more is used too.
    """

    name: str
    mechanism: str
    region: int | None = None
    processes: int = 5
    rounds: int = 4
    phases: tuple[str, ...] = ()
    again: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """The point that is run."""
        return make_point(self.mechanism, self.processes, self.region, options=self.options, **self.keys)


def _experiments() -> Iterator[Experiment]:
    sparse = {"access": "sparse"}
    for size in SIZES:
        label = f"{size // MIB} MiB"
        yield Experiment(f"shmem, read, {label}", "shmem", size, again=True)
        yield Experiment(f"shmem, write, {label}", "shmem", size, keys={"write_fraction": 1.0})
        yield Experiment(f"inherit, half written, {label}", "inherit", size, 6, 1, keys={"write_fraction": 0.5})
    # Every fault maps sixteen pages, of which one is touched: as many entries, a sixteenth of the touches.
    for count in (10, 50):
        yield Experiment(
            f"shmem, {count} processes", "shmem", 512 * MIB, count, 0, ("fork", "protect", "unmap", "exit"),
            keys={"access": AccessPattern("stride", step=64 * KIB)},
        )  # fmt: skip
    yield Experiment(
        "shmem, one page per 64 KiB", "shmem", 32 * MIB, keys={"access": AccessPattern("stride", step=64 * KIB)}
    )
    yield Experiment("file, one page per 2 MiB", "file", 64 * MIB, keys=sparse)
    yield Experiment("shmem, one page per 2 MiB", "shmem", 256 * MIB, keys=sparse)
    yield Experiment("shmem, one page per 2 MiB written", "shmem", 256 * MIB, keys={**sparse, "write_fraction": 1.0})
    yield Experiment(
        "shmem, forty regions", "shmem", None, 6, 10, keys={"workload": "container_libs", "access": "sparse"}
    )
    yield Experiment("shmem, not there yet", "shmem", 32 * MIB, 1, 1, ("read",), keys={"populate": "first_touch"})
    yield Experiment("inherit, read", "inherit", 32 * MIB, 6, 1)
    yield Experiment("inherit, one page per 2 MiB", "inherit", 256 * MIB, 6, 1, keys=sparse)
    yield Experiment("sysv, read", "sysv", 16 * MIB)
    yield Experiment("file, read", "file", 16 * MIB)
    yield Experiment("file, half written", "file", 16 * MIB, phases=("write",), keys={"write_fraction": 0.5})
    yield Experiment(
        "private file, half written",
        "private_file",
        16 * MIB,
        phases=("write", "fork", "protect", "unmap"),
        keys={"write_fraction": 0.5},
    )
    yield Experiment("thp, one page per 2 MiB", "thp", 256 * MIB, 10, keys=sparse)
    yield Experiment("thp, not there yet", "thp", 64 * MIB, 1, 1, ("read",), keys={**sparse, "populate": "first_touch"})
    yield Experiment("anonymous base pages", "anon_thp", 4 * MIB - 8 * KIB, 5, 8, keys={"offset": 4 * KIB})
    yield Experiment("anonymous huge pages", "anon_thp", 64 * MIB, 4)
    yield Experiment("anonymous huge pages, few", "anon_thp", 8 * MIB, 4)
    yield Experiment("hugetlb, tables of its own", "hugetlb", 256 * MIB, 5, 8, keys=sparse)
    yield Experiment("hugetlb, split", "hugetlb", GIB, 4, 4, options={"pmd_sharing": False}, keys=sparse)
    yield Experiment(
        "hugetlb, shared PMD page", "hugetlb", GIB, 10, 8, keys={"access": AccessPattern("stride", step=GIB // 2)}
    )
    yield Experiment(
        "hugetlb, not there yet", "hugetlb", 128 * MIB, 1, 1, ("read",), keys={**sparse, "populate": "first_touch"}
    )
    yield Experiment("ksm", "ksm", 8 * MIB, 5, 2)
    yield Experiment("ksm, few pages", "ksm", 256 * KIB, 10, 1, ("attach",))
    yield Experiment("one address space", "shared_mm", 4 * MIB, 6, 2, ("exit",))


EXPERIMENTS = tuple(_experiments())


def larger(scale: int = 1) -> tuple[Experiment, ...]:
    """Experiments beyond the sizes that are fitted: predicted first, then measured."""
    size = GIB // scale
    label = f"{size // MIB} MiB"
    return (
        Experiment(f"shmem, read, {label}", "shmem", size, 3, 2),
        Experiment(f"shmem, write, {label}", "shmem", size, 3, 2, keys={"write_fraction": 1.0}),
        Experiment(f"inherit, half written, {label}", "inherit", size // 2, 3, 1, keys={"write_fraction": 0.5}),
    )


def work_rows(experiment: Experiment) -> tuple[dict[str, Work], int, bool]:
    """Work of one process by phase, as it is observed; how many processes there are; and whether the first is another.

    Touching is split into its writes and its reads: what a process does that leaves the reads out, and the rest. Every timed
    piece reads the clock once. Touching `again` only accesses.
    """
    made = setting_of(experiment.point)

    def shares(workload: Workload) -> tuple[Share, ...]:
        return shares_of(replace(made, workload=workload))

    everyone = shares(made.workload)
    share = everyone[-1]
    rows = {}
    for phase, work in zip(WORK_PHASES, share.phases, strict=True):
        if work is None or phase in share.idle or (phase == "attach" and made.traits.inherited):
            continue
        if phase != "touch":
            rows[phase] = work
            continue
        writes = shares(_only_writes(made.workload))[-1].phases[WORK_PHASES.index(phase)]
        written, read = _pieces(made.workload, share.group, "written"), _pieces(made.workload, share.group, "read")
        if written and writes is not None:
            rows["write"] = Work(_with_timer(dict(writes.counts), written), writes.far)
        if read:
            rows["read"] = _less(work, writes, read) if written and writes is not None else _timed(work, read)
        if experiment.again:
            accesses = dict(work.counts)["access"]
            far = tuple(one for one in work.far if one.cost == "access_far")
            rows[AGAIN] = Work((("timer", written + read), ("access", accesses)), far)
    if experiment.phases:
        rows = {phase: work for phase, work in rows.items() if phase in experiment.phases}
    return rows, sum(one.processes for one in everyone), len(everyone) > 1


def _only_writes(workload: Workload) -> Workload:
    """The same workload without what is only read."""
    groups = (
        replace(
            group,
            cohorts=tuple(
                replace(
                    cohort,
                    touches=tuple(replace(touch, touched=touch.written, read=EMPTY) for touch in cohort.touches),
                )
                for cohort in group.cohorts
            ),
        )
        for group in workload.groups
    )
    return replace(workload, groups=tuple(groups))


def _pieces(workload: Workload, group: str, which: str) -> int:
    """Timed pieces of one process of a group."""
    cohort = next(one for one in workload.groups if one.name == group).cohorts[-1]
    runs = [run for touch in cohort.touches for run in getattr(touch, which).runs]
    return sum(-(-run.count // PIECE) for run in runs)


def _timed(work: Work, pieces: int) -> Work:
    return Work(_with_timer(dict(work.counts), pieces), work.far)


def _with_timer(counts: dict[str, float], pieces: int) -> tuple[tuple[str, float], ...]:
    return tuple({**counts, "timer": pieces}.items())


def _less(work: Work, writes: Work, pieces: int) -> Work:
    """What is left of the work once the writes are done."""
    done = dict(writes.counts)
    counts = {name: max(0.0, count - done.get(name, 0)) for name, count in work.counts}
    pages = {far.cost: far.pages for far in writes.far}
    far = tuple(replace(one, pages=max(0.0, one.pages - pages.get(one.cost, 0))) for one in work.far)
    return Work(_with_timer({name: count for name, count in counts.items() if count}, pieces), far)
