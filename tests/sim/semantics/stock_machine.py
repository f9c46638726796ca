"""The stateful test of stock memory: private and shared, anonymous and of files, forked, protected, merged, moved.

The oracle is flat: for each process, what it has at each page, and for each shared page its byte.
"""

import errno
import random
import signal
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mshare_bench.sim.semantics import (
    Advise,
    CreateFile,
    Credentials,
    Exec,
    Exit,
    Fork,
    KsmScan,
    Map,
    Migrate,
    NumaScan,
    Outcome,
    Pin,
    Protect,
    PunchFile,
    Spawn,
    Touch,
    Unmap,
    Unpin,
    WriteFile,
)
from tests.sim.semantics.stateful import PAGE, PMD_PAGES, PTE_PAGES, Stateful

__all__ = ["StockMachine"]

_FILE_PAGES = 64
_PROTECTIONS = ("none", "r", "rw", "rw")


@dataclass(slots=True)
class _Cell:
    """What one process has at one page: a shared byte (by key), or a private one over a base, its own or not yet."""

    shared: bool
    key: tuple[Any, int] | None
    prot: str
    own: int | None = None

    def allows(self, write: bool) -> bool:
        return self.prot == "rw" or (self.prot == "r" and not write)


class StockMachine(Stateful):
    weights: ClassVar[dict[str, int]] = {
        "map": 2, "unmap": 1, "protect": 6, "advise": 3, "touch": 8, "write_one": 12, "all_look": 6, "fork": 4,
        "end": 1, "merge": 2, "numa": 1, "move": 3, "pin": 2, "unpin": 1, "write_file": 2, "punch": 1,
    }  # fmt: skip
    # Across the bounds of PTE tables, across one of PMD tables, and a stretch of huge pages.
    stretches = ((PTE_PAGES * 3 - 6, 12), (PMD_PAGES - 6, 12), (PMD_PAGES * 2, 4 * PTE_PAGES))
    # A slot of huge pages of hugetlb, whole, so that its PMD table is shared; ranges in it are whole huge pages.
    slot = (PMD_PAGES * 4, PMD_PAGES)

    def __init__(self) -> None:
        super().__init__()
        self.view: dict[int, dict[int, _Cell]] = {}
        self.store: dict[tuple[Any, int], int] = {}
        self.mappings = 0

    def furnish(self, rng: random.Random) -> None:
        self.born = 1
        self.do(Spawn(1, Credentials(capabilities=frozenset({"CAP_SYS_NICE"}))))
        self.do(CreateFile(1, "f", "memfd", _FILE_PAGES * PAGE))
        self.do(CreateFile(1, "g", "file", _FILE_PAGES * PAGE))
        self.do(CreateFile(1, "h", "hugetlb", PMD_PAGES * PAGE))
        self.settle(1)

    def settle(self, pid: int) -> None:
        """Memory of each kind for a process that has none."""
        self.view[pid] = {}
        (small, _), (file, _), (huge, pages) = self.stretches
        self.put_map(Map(pid, small * PAGE, 12 * PAGE))
        self.put_map(Map(pid, file * PAGE, 6 * PAGE, "f", 3 * PAGE, shared=True))
        self.put_map(Map(pid, (file + 6) * PAGE, 6 * PAGE, "g", 9 * PAGE))
        self.put_map(Map(pid, huge * PAGE, pages * PAGE))
        self.put_map(Map(pid, self.slot[0] * PAGE, self.slot[1] * PAGE, "h", shared=True))
        self.do(Advise(pid, huge * PAGE, pages * PAGE, "hugepage"), Outcome())
        self.do(Advise(pid, small * PAGE, 12 * PAGE, "mergeable"), Outcome())

    def put_map(self, op: Map) -> None:
        self.do(op, Outcome())
        self.mappings += 1
        for step in range(op.length // PAGE):
            key: tuple[Any, int] | None = None
            if op.name is not None:
                key = op.name, op.offset // PAGE + step
            elif op.shared:
                key = self.mappings, step
            self.view[op.pid][op.address // PAGE + step] = _Cell(op.shared, key, op.prot)

    def place(self, rng: random.Random) -> tuple[int, int]:
        """A range of pages: (first, how many)."""
        if rng.random() < 0.15:
            first = rng.choice((0, 0, 0, 1, 7)) * PTE_PAGES
            return self.slot[0] + first, min(rng.choice((1, 2, 8)) * PTE_PAGES, self.slot[1] - first)
        start, pages = rng.choice(self.stretches)
        how = rng.random()
        if how < 0.5:
            # Mostly a few pages, on both sides of a bound, so that operations meet there.
            first = start + rng.choice((4, 5, 6))
            return first, rng.choice((1, 1, 2, 3))
        if how < 0.7:
            return start - start % PTE_PAGES, rng.choice((1, 2)) * PTE_PAGES
        first = rng.randrange(pages)
        return start + first, rng.randrange(1, min(12, pages - first) + 1)

    def map(self, rng: random.Random) -> None:
        pid, (at, pages) = self.any_pid(rng), self.place(rng)
        name = rng.choice((None, None, "f", "g"))
        pages, index = (min(pages, 32), rng.randrange(16)) if name else (pages, 0)
        op = Map(pid, at * PAGE, pages * PAGE, name, index * PAGE, rng.choice(_PROTECTIONS), rng.random() < 0.5)
        if at >= self.slot[0] and rng.random() < 0.8:
            offset = (at - self.slot[0]) * PAGE
            op = replace(op, name="h", offset=offset, shared=True)
        if not any(page in self.view[pid] for page in range(at, at + pages)):
            self.put_map(op)
        elif rng.random() < 0.7:
            self.put_map(replace(op, replace=True))
        else:
            self.do(op, Outcome(errno=errno.EEXIST))

    def unmap(self, rng: random.Random) -> None:
        pid, (at, pages) = self.any_pid(rng), self.place(rng)
        self.do(Unmap(pid, at * PAGE, pages * PAGE), Outcome())
        for page in range(at, at + pages):
            self.view[pid].pop(page, None)

    def protect(self, rng: random.Random) -> None:
        """What lies before a hole is protected, and then it is ENOMEM."""
        self.protect_range(self.any_pid(rng), *self.place(rng), rng.choice(_PROTECTIONS))

    def protect_range(self, pid: int, at: int, pages: int, prot: str) -> None:
        view = self.view[pid]
        hole = next((page for page in range(at, at + pages) if page not in view), None)
        outcome = Outcome() if hole is None else Outcome(errno=errno.ENOMEM)
        self.do(Protect(pid, at * PAGE, pages * PAGE, prot), outcome, errno_changes=True)
        for page in range(at, at + pages if hole is None else hole):
            view[page].prot = prot

    def advise(self, rng: random.Random) -> None:
        """Holes are passed over, and reported at the end."""
        pid, (at, pages) = self.any_pid(rng), self.place(rng)
        advice = rng.choice(("dontneed", "dontneed", "hugepage", "mergeable"))
        view = self.view[pid]
        outcome = Outcome() if all(page in view for page in range(at, at + pages)) else Outcome(errno=errno.ENOMEM)
        self.do(Advise(pid, at * PAGE, pages * PAGE, advice), outcome, errno_changes=True)
        for page in range(at, at + pages):
            if advice == "dontneed" and page in view:
                view[page].own = None

    def touch(self, rng: random.Random) -> None:
        self.access(rng, self.any_pid(rng), *self.place(rng), write=rng.random() < 0.5)

    def write_one(self, rng: random.Random) -> None:
        self.access(rng, self.any_pid(rng), self.place(rng)[0], 1, write=True)

    def all_look(self, rng: random.Random) -> None:
        at, _ = self.place(rng)
        for pid in sorted(self.machine.processes):
            self.access(rng, pid, at, 3, write=False)

    def access(self, rng: random.Random, pid: int, at: int, pages: int, *, write: bool) -> None:
        cells: list[_Cell] = []
        dies = False
        for page in range(at, at + min(pages, 12)):
            cell = self.view[pid].get(page)
            if cell is None or not cell.allows(write):
                # Deaths are for now and then: mostly stop before.
                dies = rng.random() < 0.1 and len(self.machine.processes) > 1
                break
            cells.append(cell)
        # A few values only, so that KSM finds some that are equal.
        value = rng.choice((1, 2, rng.randrange(256))) if write else 0
        seen = bytes(self.get(cell) for cell in cells)
        for cell in cells if write else []:
            self.put(cell, value)
        op = Touch(pid, at * PAGE, (len(cells) + dies) * PAGE, write, value)
        if dies:
            self.do(op, Outcome(signal=signal.SIGSEGV))
            del self.view[pid]
        else:
            self.do(op, Outcome(value=None if write else seen))

    def get(self, cell: _Cell) -> int:
        if cell.own is not None:
            return cell.own
        return 0 if cell.key is None else self.store.get(cell.key, 0)

    def put(self, cell: _Cell, value: int) -> None:
        if cell.shared:
            assert cell.key is not None
            self.store[cell.key] = value
        else:
            cell.own = value

    def fork(self, rng: random.Random) -> None:
        if self.full():
            self.end(rng)
            return
        pid = self.any_pid(rng)
        self.born += 1
        self.do(Fork(pid, self.born, rng.randrange(self.config.cpus)), Outcome())
        self.view[self.born] = {page: replace(cell) for page, cell in self.view[pid].items()}
        # Who sees what afterwards is best looked at soon, and before and after a change of protection.
        at, pages = self.place(rng)
        for which in rng.sample((pid, self.born), 2):
            if which in self.view and all(page in self.view[which] for page in range(at, at + pages)):
                self.protect_range(which, at, pages, rng.choice(("r", "rw", "rw")))
                self.access(rng, which, at, pages, write=rng.random() < 0.5)

    def end(self, rng: random.Random) -> None:
        pid = self.any_pid(rng)
        if len(self.machine.processes) > 1 and rng.random() < 0.7:
            self.do(Exit(pid), Outcome())
            del self.view[pid]
        else:
            self.do(Exec(pid), Outcome())
            self.settle(pid)

    def merge(self, rng: random.Random) -> None:
        self.do(KsmScan(), Outcome())

    def numa(self, rng: random.Random) -> None:
        self.do(NumaScan(self.any_pid(rng)), Outcome())

    def move(self, rng: random.Random) -> None:
        self.do(Migrate(self.any_pid(rng), self.place(rng)[0] * PAGE, rng.randrange(2), rng.random() < 0.6))

    def pin(self, rng: random.Random) -> None:
        pid, at, write = self.any_pid(rng), self.place(rng)[0], rng.random() < 0.5
        cell = self.view[pid].get(at)
        there = cell is not None and cell.allows(write)
        self.do(Pin(pid, at * PAGE, write), Outcome() if there else Outcome(errno=errno.EFAULT))

    def unpin(self, rng: random.Random) -> None:
        self.do(Unpin(self.any_pid(rng)), Outcome())

    def write_file(self, rng: random.Random) -> None:
        name, index, pages, value = rng.choice("fg"), rng.randrange(40), rng.randrange(1, 20), rng.randrange(256)
        self.do(WriteFile(self.any_pid(rng), name, index * PAGE, pages * PAGE, value), Outcome())
        for at in range(index, index + pages):
            self.store[name, at] = value

    def punch(self, rng: random.Random) -> None:
        name, index, pages = rng.choice("fgh"), rng.randrange(40), rng.randrange(1, 20)
        if name == "h":
            index, pages = index // PTE_PAGES * PTE_PAGES, PTE_PAGES
        self.do(PunchFile(self.any_pid(rng), name, index * PAGE, pages * PAGE), Outcome())
        for at in range(index, index + pages):
            self.store[name, at] = 0
