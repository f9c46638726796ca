"""The stateful test of domains: who may come in, what all see, what one may do to the others, what ends with the owner.

The oracle is flat: for each region its pages (a shared byte each, or private ones over zero), for each process its windows.
"""

import errno
import random
import signal
from dataclasses import dataclass, field
from typing import ClassVar

from mshare_bench.sim.semantics import (
    Advise,
    AdviseInside,
    Attach,
    Create,
    Credentials,
    Detach,
    Exec,
    Exit,
    Fork,
    Interface,
    KsmScan,
    MapInside,
    Migrate,
    NumaScan,
    Outcome,
    Pin,
    Protect,
    ProtectInside,
    Resize,
    Spawn,
    Touch,
    Unlink,
    Unmap,
    UnmapInside,
    Unpin,
)
from tests.sim.semantics.stateful import PAGE, PMD_PAGES, PTE_PAGES, WINDOW_PAGES, Stateful

__all__ = ["DomainMachine"]

_WINDOW = WINDOW_PAGES * PAGE
_Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Page:
    """One page inside a region: which bytes it shows, whether one for all, and how it is protected."""

    key: _Key
    shared: bool
    prot: str

    def allows(self, write: bool) -> bool:
        return self.prot == "rw" or (self.prot == "r" and not write)


@dataclass(slots=True, eq=False)
class _Region:
    maker: Credentials
    mode: int
    owner: int
    size: int | None = None
    alive: bool = True
    pages: dict[int, _Page] = field(default_factory=dict)


class DomainMachine(Stateful):
    """For `msharefs` and `ideal`."""

    weights: ClassVar[dict[str, int]] = {
        "enter": 2, "make": 1, "resize": 1, "unlink": 1, "map_inside": 2, "change_inside": 3, "attach": 4, "detach": 2,
        "change_window": 4, "touch": 16, "all_look": 8, "pin": 3, "fork": 5, "end": 1, "move": 2, "scan": 1,
    }  # fmt: skip
    # Two of one group, two strangers with and without rights, one of another user namespace, one of another mount namespace.
    people = (
        Credentials(uid=1, gid=1, memcg="/one"),
        Credentials(uid=2, gid=1, memcg="/two"),
        Credentials(uid=3, gid=3, memcg="/three"),
        Credentials(uid=3, gid=3, user_ns="jail", capabilities=frozenset({"CAP_DAC_OVERRIDE", "CAP_FOWNER"})),
        Credentials(uid=3, gid=3, memcg="/three", capabilities=frozenset({"CAP_DAC_OVERRIDE", "CAP_FOWNER"})),
        Credentials(uid=1, gid=1, mount_ns="other"),
    )
    # Across the bounds of PTE tables and of PMD tables.
    spots = (0, 8, 2 * PTE_PAGES + 4, 3 * PTE_PAGES + 4, PMD_PAGES - 4, PMD_PAGES + 4)
    names = ("r", "r", "r", "q")

    def __init__(self) -> None:
        super().__init__()
        self.regions: dict[tuple[str, str], _Region] = {}
        self.everything: list[_Region] = []
        self.windows: dict[int, dict[int, tuple[_Region, str]]] = {}
        self.store: dict[_Key, int] = {}
        self.own: dict[tuple[int, int, _Key], int] = {}
        self.mappings = 0

    @property
    def ideal(self) -> bool:
        return self.config.interface is Interface.IDEAL

    @property
    def strict(self) -> bool:
        return self.config.strict_permissions

    # Making what histories need.

    def furnish(self, rng: random.Random) -> None:
        for who in (0, 1):
            self.spawn(who, who)
        self.region(rng)

    def region(self, rng: random.Random) -> None:
        """A region with memory at every spot, made by one process and attached by all."""
        pid = self.any_pid(rng)
        mount = self.machine.processes[pid].credentials.mount_ns
        name = next((name for name in "rq" if (mount, name) not in self.regions), None)
        if name is None:
            return
        self.create(pid, name, rng.choice((0o660, 0o666, 0o640, 0o600)))
        self.do(Resize(pid, name, _WINDOW), Outcome())
        self.regions[mount, name].size = _WINDOW
        for spot in self.spots:
            self.put_inside(pid, name, spot, 8, "rw", shared=not self.ideal or rng.random() < 0.6)
        for other in sorted(self.machine.processes):
            self.put_window(other, name, rng.randrange(1, 4) * _WINDOW, rng.choice(("r", "rw", "rw")))

    def spawn(self, who: int, cpu: int) -> None:
        self.born += 1
        self.windows[self.born] = {}
        self.do(Spawn(self.born, self.people[who], cpu), Outcome())

    # What the oracle knows.

    def see(self, pid: int, name: str) -> _Region | None:
        return self.regions.get((self.machine.processes[pid].credentials.mount_ns, name))

    def opening(self, pid: int, name: str, write: bool) -> int:
        """Errno of opening a region: nothing of that name there, or not allowed; 0 if it opens."""
        region = self.see(pid, name)
        if region is None:
            return errno.ENOENT
        who, maker = self.machine.processes[pid].credentials, region.maker
        if "CAP_DAC_OVERRIDE" in who.capabilities and who.user_ns in ("init", maker.user_ns):
            return 0
        digits = f"{region.mode:03o}"
        digit = int(digits[0] if who.uid == maker.uid else digits[1] if who.gid == maker.gid else digits[2])
        return 0 if digit >= 4 and (digit & 2 or not write) else errno.EACCES

    def inside(self, pid: int, name: str) -> int:
        """Errno of a call on the memory inside a region."""
        region = self.see(pid, name)
        refusal = self.opening(pid, name, write=self.strict)
        return errno.EINVAL if not refusal and region and not (region.size and region.alive) else refusal

    def any_window(self, rng: random.Random) -> tuple[int, int, _Region, str] | None:
        """Some window of some process: (pid, address, region, what it was opened for)."""
        found = [(pid, low, *held) for pid, own in sorted(self.windows.items()) for low, held in sorted(own.items())]
        if not any(region.alive and region.pages for _, _, region, _ in found):
            self.region(rng)
            return None
        return rng.choice(found)

    def any_page(self, rng: random.Random, region: _Region) -> int:
        """A page of a region, mostly one of a few, so that they meet there."""
        hot = [page for page in self.spots[:4] if page in region.pages]
        return rng.choice(hot) if hot and rng.random() < 0.7 else rng.choice(sorted(region.pages))

    # Steps.

    def enter(self, rng: random.Random) -> None:
        if not self.full():
            self.spawn(rng.randrange(len(self.people)), rng.randrange(self.config.cpus))

    def make(self, rng: random.Random) -> None:
        self.create(self.any_pid(rng), rng.choice(self.names), rng.choice((0o600, 0o660, 0o640, 0o444)))

    def create(self, pid: int, name: str, mode: int) -> None:
        taken = self.see(pid, name) is not None
        self.do(Create(pid, name, mode), Outcome(errno=errno.EEXIST if taken else 0))
        if not taken:
            who = self.machine.processes[pid].credentials
            self.regions[who.mount_ns, name] = region = _Region(who, mode, pid)
            self.everything.append(region)

    def resize(self, rng: random.Random) -> None:
        """Once, and only to a multiple of the unit."""
        pid, name, size = (
            self.any_pid(rng),
            rng.choice(self.names),
            rng.choice((0, 1, 1, 2)) * _WINDOW + rng.choice((0, 0, PAGE)),
        )
        region, refusal = self.see(pid, name), self.opening(pid, name, write=True)
        if region and not refusal and (region.size is not None or size % _WINDOW):
            refusal = errno.EINVAL
        self.do(Resize(pid, name, size), Outcome(errno=refusal))
        if region and not refusal:
            region.size = size

    def unlink(self, rng: random.Random) -> None:
        pid, name = self.any_pid(rng), rng.choice(self.names)
        region, who, refusal = self.see(pid, name), self.machine.processes[pid].credentials, errno.ENOENT
        if region is not None:
            trusted = "CAP_FOWNER" in who.capabilities and who.user_ns in ("init", region.maker.user_ns)
            refusal = 0 if who.uid == region.maker.uid or trusted or not self.strict else errno.EPERM
        self.do(Unlink(pid, name), Outcome(errno=refusal))
        if region and not refusal:
            del self.regions[who.mount_ns, name]

    def map_inside(self, rng: random.Random) -> None:
        pid, name, spot = self.any_pid(rng), rng.choice(self.names), rng.choice(self.spots)
        self.put_inside(
            pid, name, spot, rng.randrange(1, 13), rng.choice(("none", "r", "rw", "rw")), shared=rng.random() < 0.6
        )

    def put_inside(self, pid: int, name: str, at: int, pages: int, prot: str, *, shared: bool) -> None:
        """Map inside, over what was there. Private memory is for `ideal` only."""
        refusal = self.inside(pid, name)
        if not refusal and not shared and not self.ideal:
            refusal = errno.EINVAL
        self.do(MapInside(pid, name, at * PAGE, pages * PAGE, prot, shared), Outcome(errno=refusal))
        region = self.see(pid, name)
        if region is None or refusal:
            return
        self.mappings += 1
        for step in range(pages):
            region.pages[at + step] = _Page((self.mappings, step), shared, prot)

    def change_inside(self, rng: random.Random) -> None:
        """Unmap, protect, advise inside: for all. The posted series has a call for the first only."""
        pid, name, at, pages = (
            self.any_pid(rng),
            rng.choice(self.names),
            rng.choice(self.spots),
            rng.choice((1, 3, 8, 100)),
        )
        place, what, prot = (pid, name, at * PAGE, pages * PAGE), rng.randrange(3), rng.choice(("none", "r", "rw"))
        op = (UnmapInside(*place), ProtectInside(*place, prot), AdviseInside(*place, "dontneed"))[what]
        refusal = errno.ENOTTY if what and not self.ideal else self.inside(pid, name)
        self.do(op, Outcome(errno=refusal))
        region = self.see(pid, name)
        if region and not refusal:
            self.change(region, at, pages, what, prot)

    def change(self, region: _Region, at: int, pages: int, what: int, prot: str) -> None:
        for number in [number for number in region.pages if at <= number < at + pages]:
            page = region.pages[number]
            if what == 1:
                region.pages[number] = _Page(page.key, page.shared, prot)
                continue
            if what == 0:
                del region.pages[number]
            self.own = {held: value for held, value in self.own.items() if held[2] != page.key}

    def attach(self, rng: random.Random) -> None:
        pid, name, address = self.any_pid(rng), rng.choice(self.names), rng.randrange(1, 4) * _WINDOW
        what = rng.randrange(12)
        prot = rng.choice(("r", "rw"))
        if what > 2:
            self.put_window(pid, name, address, prot)
            return
        wrong = (
            Attach(pid, name, address + PAGE, prot),
            Attach(pid, name, address, prot, length=64 * PAGE),
            Attach(pid, name, address, prot, shared=False),
        )[what]
        self.do(wrong, Outcome(errno=self.opening(pid, name, write=prot == "rw") or errno.EINVAL))

    def put_window(self, pid: int, name: str, address: int, prot: str) -> None:
        region, refusal = self.see(pid, name), self.opening(pid, name, write=prot == "rw")
        if region and not refusal:
            size = region.size or 0
            if not size or not region.alive:
                refusal = errno.EINVAL
            elif any(
                low < address + size and address < low + (one.size or 0) for low, (one, _) in self.windows[pid].items()
            ):
                refusal = errno.EEXIST
        self.do(Attach(pid, name, address, prot), Outcome(errno=refusal))
        if region and not refusal:
            self.windows[pid][address] = region, prot

    def detach(self, rng: random.Random) -> None:
        found = self.any_window(rng)
        if found is None:
            self.do(Detach(self.any_pid(rng), 4 * _WINDOW), Outcome(errno=errno.EINVAL))
            return
        self.do(Detach(found[0], found[1]), Outcome())
        self.forget(found[0], found[1])

    def change_window(self, rng: random.Random) -> None:
        """Munmap, mprotect, MADV_DONTNEED on part of a window: refused or ignored by msharefs, for all with ideal."""
        found = self.any_window(rng)
        if found is None:
            return
        pid, address, region, opened = found
        at, pages, what, prot = (
            rng.choice(self.spots),
            rng.randrange(1, 10),
            rng.randrange(3),
            rng.choice(("none", "r", "rw")),
        )
        place = (pid, address + at * PAGE, pages * PAGE)
        op = (Unmap(*place), Protect(*place, prot), Advise(*place, "dontneed"))[what]
        refusal = errno.EINVAL if what < 2 else 0
        if self.ideal:
            refusal = errno.EACCES if opened == "r" and self.strict else 0
        self.do(op, Outcome(errno=refusal))
        if self.ideal and not refusal:
            self.change(region, at, pages, what, prot)

    def touch(self, rng: random.Random) -> None:
        found = self.any_window(rng)
        if found is None:
            return
        page = (
            rng.choice(sorted(found[2].pages)) if found[2].pages and rng.random() < 0.95 else rng.choice(self.spots) + 9
        )
        self.access(rng, *found, page, write=rng.random() < 0.6)

    def all_look(self, rng: random.Random) -> None:
        """All who are attached read the same page."""
        found = self.any_window(rng)
        if found is None or not found[2].pages:
            return
        page = self.any_page(rng, found[2])
        for pid, own in sorted(self.windows.items()):
            for address, (region, opened) in sorted(own.items()):
                if region is found[2] and pid in self.windows:
                    self.access(rng, pid, address, region, opened, page, write=False)

    def access(
        self, rng: random.Random, pid: int, address: int, region: _Region, opened: str, number: int, *, write: bool
    ) -> None:
        page = region.pages.get(number)
        allowed = page is not None and page.allows(write) and not (write and opened == "r" and self.strict)
        op = Touch(pid, address + number * PAGE, write=write, value=rng.randrange(256) if write else 0)
        if page is None or not allowed:
            if len(self.machine.processes) > 2 and rng.random() < 0.3:
                self.do(op, Outcome(signal=signal.SIGSEGV))
                self.gone(pid)
            return
        mine = pid, address, page.key
        seen = self.store.get(page.key, 0) if page.shared else self.own.get(mine, 0)
        self.do(op, Outcome(value=None if write else bytes([seen])))
        if write and page.shared:
            self.store[page.key] = op.value
        elif write:
            self.own[mine] = op.value

    def pin(self, rng: random.Random) -> None:
        """What the process touched can be pinned; with msharefs what it cannot reach is EFAULT, with ideal it is faulted in."""
        found = self.any_window(rng)
        if found is None or not found[2].pages:
            return
        pid, address, region, opened = found
        number = self.any_page(rng, region)
        if rng.random() < 0.5:
            self.access(rng, pid, address, region, opened, number, write=False)
        touched = bool(self.history) and self.history[-1] == Touch(pid, address + number * PAGE)
        if pid not in self.machine.processes:
            return
        allowed = region.pages[number].allows(write=False)
        outcome = self.do(Pin(pid, address + number * PAGE), errno_changes=True)
        if not allowed:
            assert outcome.errno == errno.EFAULT, outcome
        elif touched or self.ideal:
            assert outcome.ok, outcome
        self.do(Unpin(pid), Outcome())

    def fork(self, rng: random.Random) -> None:
        """A child is a sharer as its parent is, with the parent's private pages, and owns nothing."""
        if self.full():
            self.end(rng)
            return
        pid = self.any_pid(rng)
        self.born += 1
        self.do(Fork(pid, self.born, rng.randrange(self.config.cpus)), Outcome())
        self.windows[self.born] = dict(self.windows[pid])
        self.own |= {(self.born, low, key): value for (who, low, key), value in self.own.items() if who == pid}
        # What a child sees of its parent's private pages, and what it changes, is best looked at soon.
        for address, (region, opened) in sorted(self.windows[self.born].items()):
            mine = {key for who, low, key in self.own if (who, low) == (self.born, address)}
            for number in sorted(number for number, page in region.pages.items() if page.key in mine)[:3]:
                if self.born not in self.windows:
                    return
                self.access(rng, self.born, address, region, opened, number, write=rng.random() < 0.3)

    def end(self, rng: random.Random) -> None:
        pid = self.any_pid(rng)
        if len(self.machine.processes) > 2 and rng.random() < 0.7:
            self.do(Exit(pid), Outcome())
            self.gone(pid)
            return
        self.do(Exec(pid), Outcome())
        for address in list(self.windows[pid]):
            self.forget(pid, address)

    def forget(self, pid: int, address: int) -> None:
        del self.windows[pid][address]
        self.own = {held: value for held, value in self.own.items() if held[:2] != (pid, address)}

    def gone(self, pid: int) -> None:
        """A process has ended, and so have the regions that it owned."""
        for address in list(self.windows[pid]):
            self.forget(pid, address)
        del self.windows[pid]
        for region in self.everything:
            if region.owner == pid:
                region.alive = False
                region.pages.clear()

    def move(self, rng: random.Random) -> None:
        found = self.any_window(rng)
        if found is not None:
            self.do(Migrate(found[0], found[1] + (rng.choice(self.spots) + 2) * PAGE, rng.randrange(2)))

    def scan(self, rng: random.Random) -> None:
        self.do(KsmScan(), Outcome())
        self.do(NumaScan(self.any_pid(rng)), Outcome())
