"""Random histories of the stock operations, made to hit what is easy to get wrong: bounds of VMAs, of tables, of windows."""

import random

from mshare_bench.sim.semantics import (
    Advise,
    CreateFile,
    Exec,
    Exit,
    Fork,
    Machine,
    Map,
    Op,
    Protect,
    PunchFile,
    Spawn,
    Touch,
    Unmap,
    WriteFile,
)
from mshare_bench.sim.semantics.state import Vma

__all__ = ["hugetlb_history", "stock_history"]

_PAGE, _MIB, _GIB = 4096, 1 << 20, 1 << 30
_SLOT = 512 * _GIB
# Where ranges begin: at the start of a PGD slot, before a GiB bound, across two PGD slots, and in the middle of nowhere.
_CORNERS = (3 * _SLOT, 3 * _SLOT + _GIB - 4 * _MIB, 5 * _SLOT - 3 * _MIB, 3 * _SLOT + 7 * _GIB + 6 * _MIB)
_SPREAD = 8 * _MIB
_FILE = 8 * _MIB


def stock_history(seed: int, length: int = 40, *, thp: bool = False, capacity: int = 8) -> list[Op]:
    """A history of `length` operations or so, from a seed. It runs in the model while it is made, so as to name the living."""
    rng = random.Random(seed)
    machine = Machine()
    history: list[Op] = []

    def do(op: Op) -> None:
        history.append(op)
        machine.apply(op)

    do(Spawn(1))
    for name in ("a", "b"):
        do(CreateFile(1, name, "memfd", _FILE))
    do(CreateFile(1, "s", "sysv", _FILE // 2))
    # Cached pages are what fault-around finds: whole files, and stretches with holes between them.
    for _ in range(rng.randrange(4)):
        do(_write_file(rng, 1, rng.choice((_FILE, _FILE // 4, 37 * _PAGE))))
    if thp:
        for corner in rng.sample(_CORNERS, 3):
            at, size = corner - corner % (2 * _MIB) + rng.choice((0, 0, _MIB)), rng.choice((2, 4, 5)) * _MIB
            do(Map(1, at, size, shared=False, prot=rng.choice(("rw", "rw", "r"))))
            do(Advise(1, at, size, "hugepage"))
    born = 1
    while len(history) < length:
        op = _next(rng, sorted(machine.processes), machine, born < capacity, thp)
        if isinstance(op, Fork):
            born += 1
            op = Fork(op.pid, born)
        do(op)
        if not machine.processes:
            break
    return history


def _next(rng: random.Random, alive: list[int], machine: Machine, may_fork: bool, thp: bool) -> Op:
    pid = rng.choice(alive)
    vmas = machine.processes[pid].space.vmas
    kinds = ["map"] * 6 + ["touch"] * 14 + ["protect"] * 5 + ["unmap"] * 3 + ["advise"] * 3 + ["file"] * 3
    kinds += ["fork"] * 3 if may_fork else []
    kinds += ["exit"] if len(alive) > 1 else []
    kinds += ["exec"] if len(alive) > 1 and rng.random() < 0.3 else []
    kind = rng.choice(kinds) if vmas else "map"
    if kind == "map":
        return _map(rng, pid)
    if kind == "fork":
        return Fork(pid, 0)
    if kind == "exit":
        return Exit(pid)
    if kind == "exec":
        return Exec(pid)
    if kind == "file":
        written = _write_file(rng, pid, _length(rng))
        if rng.random() < 0.3:
            return PunchFile(pid, written.name, written.offset, written.length)
        return written
    if kind == "touch":
        write = rng.random() < 0.5
        fit = [vma for vma in vmas if vma.writable or (vma.readable and not write)]
        address, size, step = _touched(rng, fit if fit and rng.random() < 0.97 else vmas)
        return Touch(pid, address, size, step=step, write=write, value=rng.randrange(256) if write else 0)
    address, size = _range(rng, vmas)
    if kind == "protect":
        return Protect(pid, address, size, rng.choice(("none", "r", "r", "rw", "rw", "rw")))
    if kind == "unmap":
        return Unmap(pid, address, size)
    advice = rng.choice(("dontneed", "hugepage", "hugepage", "nohugepage")) if thp else "dontneed"
    return Advise(pid, address, size, advice)


def _write_file(rng: random.Random, pid: int, size: int) -> WriteFile:
    offset = rng.randrange(_FILE // _PAGE) * _PAGE if size < _FILE else 0
    return WriteFile(pid, rng.choice("ab"), offset, min(size, _FILE - offset), rng.randrange(1, 256))


def _map(rng: random.Random, pid: int) -> Map:
    address = rng.choice(_CORNERS) + rng.randrange(_SPREAD // _PAGE) * _PAGE
    if rng.random() < 0.4:
        address -= address % (2 * _MIB)
    prot = rng.choice(("r", "rw", "rw", "rw"))
    replace = rng.random() < 0.4
    what = rng.random()
    if what < 0.4:
        return Map(pid, address, _length(rng), prot=prot, shared=False, replace=replace)
    if what < 0.5:
        return Map(pid, address, _length(rng), prot=prot, shared=True, replace=replace)
    if what < 0.6:
        return Map(pid, address, _FILE // 2, "s", prot=prot, shared=True, replace=replace)
    offset = rng.randrange(_FILE // _PAGE) * _PAGE
    if rng.random() < 0.4:
        offset = address % (2 * _MIB)
    length = _length(rng)
    if rng.random() < 0.9:
        length = min(length, _FILE - offset)  # else beyond the end of the file, where a touch is a SIGBUS
    return Map(pid, address, length, rng.choice("ab"), offset, prot, rng.random() < 0.6, replace)


def _length(rng: random.Random) -> int:
    if rng.random() < 0.25:
        return rng.choice((2, 4, 6)) * _MIB
    return rng.choice((1, 1, 2, 3, 7, 15, 16, 17, 33, 100, 511, 512, 513)) * _PAGE


def _range(rng: random.Random, vmas: list[Vma]) -> tuple[int, int]:
    vma = rng.choice(vmas)
    pages = (vma.end - vma.start) // _PAGE
    how = rng.random()
    if how < 0.25:
        return vma.start, vma.end - vma.start
    if how < 0.45:
        low = vma.start - vma.start % (2 * _MIB)
        return low, rng.choice((2, 4)) * _MIB
    first = rng.randrange(pages)
    return vma.start + first * _PAGE, min(_length(rng), (pages - first + rng.randrange(3)) * _PAGE)


def _touched(rng: random.Random, vmas: list[Vma]) -> tuple[int, int, int]:
    if rng.random() < 0.01:
        return rng.choice(_CORNERS) + rng.randrange(_SPREAD // _PAGE) * _PAGE, 1, _PAGE
    vma = rng.choice(vmas)
    pages = (vma.end - vma.start) // _PAGE
    # Often near the start, where windows and tables begin.
    first = rng.randrange(pages) if rng.random() < 0.6 else rng.randrange(min(pages, 20))
    step = rng.choice((1, 1, 1, 2, 5, 16, 100, 512))
    count = min(rng.choice((1, 1, 2, 8, 20, 64, 600)) * step, pages - first)
    return vma.start + first * _PAGE, count * _PAGE, step * _PAGE


def hugetlb_history(seed: int, length: int = 40, capacity: int = 6) -> list[Op]:
    """A history on a hugetlb file of 2 GiB, of which a dozen pages are touched: slots that can share a PMD table and such
    that just cannot."""
    rng = random.Random(seed)
    machine = Machine()
    history: list[Op] = []

    def do(op: Op) -> None:
        history.append(op)
        machine.apply(op)

    do(Spawn(1))
    do(CreateFile(1, "h", "hugetlb", 2 * _GIB))
    do(Map(1, 3 * _SLOT, 2 * _GIB, "h", shared=True))
    huge, born = 2 * _MIB, 1
    spots = [0, huge, 2 * huge, _GIB - huge, _GIB, _GIB + huge, 2 * _GIB - huge]
    while len(history) < length and machine.processes:
        pid = rng.choice(sorted(machine.processes))
        vmas = machine.processes[pid].space.vmas
        kind = rng.choice(
            ["touch"] * 8 + ["map"] * 3 + ["fork"] * 2 + ["protect", "protect", "unmap", "advise", "exit", "punch"]
        )
        at = 3 * _SLOT + rng.choice((0, 0, 1, 2)) * _GIB + rng.choice((0, 0, 0, huge))
        reach = rng.choice((_GIB, _GIB, 2 * _GIB, huge, 3 * huge))
        if kind == "fork" and born < capacity:
            born += 1
            do(Fork(pid, born))
        elif kind == "map":
            offset = rng.choice((0, 0, _GIB, huge))
            prot, replace = rng.choice(("rw", "rw", "r")), rng.random() < 0.5
            do(Map(pid, at, min(reach, 2 * _GIB - offset), "h", offset, prot, True, replace))
        elif kind == "protect":
            do(Protect(pid, at, reach, rng.choice(("r", "rw", "rw"))))
        elif kind == "unmap":
            do(Unmap(pid, at, reach))
        elif kind == "advise":
            do(Advise(pid, at, reach, rng.choice(("dontneed", "dontdump", "dodump"))))
        elif kind == "punch":
            do(PunchFile(pid, "h", rng.choice(spots), huge))
        elif kind == "exit" and len(machine.processes) > 1:
            do(Exit(pid))
        elif kind == "touch" and vmas:
            vma, spot, write = rng.choice(vmas), rng.choice(spots), rng.random() < 0.4
            address = vma.start - vma.offset + spot + rng.randrange(512) * _PAGE
            if vma.start <= address < vma.end and (vma.writable or not write):
                do(Touch(pid, address, write=write, value=rng.randrange(256) if write else 0))
    return history
