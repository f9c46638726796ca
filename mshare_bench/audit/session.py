"""Reads address spaces one after the other and hands them on in batches.

Of each: its ``maps``, what is populated, its cgroup. A batch is cut into tables and held against the kernel's own count.
Where the two differ, either a guess missed something or the process moved: such an address space is read again,
thoroughly, a few times at most. What differs then is the unattributed rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mshare_bench.audit.address_spaces import AddressSpaces, Candidate, cgroup_of, read_candidate
from mshare_bench.audit.frames import Frames
from mshare_bench.audit.hidden import clock_read, hidden_tables
from mshare_bench.audit.layout import Layout, Layouts
from mshare_bench.audit.objects import Filesystems, Objects
from mshare_bench.audit.pieces import cut, largest_batch
from mshare_bench.audit.population import Population, Reader
from mshare_bench.audit.result import Unread
from mshare_bench.audit.tally import Tally, Usage
from mshare_bench.domain.geometry import Geometry
from mshare_bench.errors import CapabilityError
from mshare_bench.real.counters.procfs import read_file

__all__ = ["Session", "Space"]

_ATTEMPTS = 3
# Pieces of a batch; bounds the memory that cutting takes.
_PIECES = 1 << 20


@dataclass(slots=True, eq=False)
class Space:
    """One address space, read.

    Attributes
    ----------
    group
        The processes that have it; the first speaks for it.
    vmpte_bytes
        The kernel's count.
    cgroup
        The cgroup that is charged.
    layout, population
        Mappings, and what is populated. None once it is counted.
    attributed
        Tables put down to mappings.
    usage
        Row of `Session.usage` that says which; address spaces that are alike have the same.
    hidden
        Of these, tables put down to mappings that the kernel hides: object and tables.
    """

    group: list[Candidate]
    vmpte_bytes: int
    cgroup: str
    layout: Layout | None
    population: Population | None
    attributed: int = 0
    usage: int = -1
    hidden: tuple[tuple[int, int], ...] = ()


class Session:
    """One audit's state: what was met so far and its sums.

    Parameters
    ----------
    geometry
        Page-table geometry of this machine.
    scan
        Whether to use `PAGEMAP_SCAN`; None for what this kernel has.
    """

    def __init__(self, geometry: Geometry, *, scan: bool | None = None) -> None:
        self.geometry = geometry
        self.objects = Objects(Filesystems())
        self.frames = Frames(self.objects)
        self.tally = Tally(self.objects, geometry)
        self.address_spaces = AddressSpaces()
        self.spaces: list[Space] = []
        self.unread: list[Unread] = []
        self._layouts = Layouts(self.objects, geometry)
        self._reader = Reader(geometry, scan=scan)
        self._usage: list[Usage] = []
        self._usages = 0
        # Processes by the first one of their address space.
        self._groups: dict[int, list[Candidate]] = {}

    def read(self, candidates: Iterable[Candidate]) -> None:
        """Read all of them; `spaces` and `unread` have the outcome, `tally` the sums."""
        batch: list[Space] = []
        limit, pieces = largest_batch(wide=False), 0
        for candidate in candidates:
            space = self._space([candidate])
            if space is None or space.layout is None or space.population is None:
                continue
            own = largest_batch(wide=space.layout.wide)
            if batch and (len(batch) >= min(limit, own) or pieces > _PIECES):
                self._count(batch)
                batch, limit, pieces = [], largest_batch(wide=False), 0
            batch.append(space)
            limit = min(limit, own)
            # What it will be cut into: at least a piece for each table.
            pieces += max(len(space.population.rows), space.vmpte_bytes // self.geometry.page)
        if batch:
            self._count(batch)

    def usage(self) -> Usage:
        """Tables by address space and object, `space` being `Space.usage`."""
        none = np.empty(0, np.int64)
        if not self._usage:
            return Usage(none, none, none)
        columns = ([getattr(one, name) for one in self._usage] for name in Usage.__slots__)
        return Usage(*(np.concatenate(column) for column in columns))

    def _space(self, group: list[Candidate], *, thorough: bool = False) -> Space | None:
        """Read an address space; None when there is nothing to read, or when it was read for another process already."""
        candidate = group[0]
        try:
            maps = read_file(f"{candidate.folder}/maps")
            if not maps:
                raise ProcessLookupError
            if not thorough:
                owner = self._groups.get(self.address_spaces.owner(candidate.pid, maps))
                if owner is not None:
                    owner.append(candidate)
                    return None
            layout = self._layouts.layout(maps, candidate.pid)
            with self._reader.open(candidate.folder) as pagemap:
                population = self._reader.read(pagemap, candidate.pid, layout, thorough=thorough)
                self.frames.look(pagemap, layout)
        except CapabilityError as error:
            self._refuse(group, str(error).rpartition(": ")[2])
            return None
        except (FileNotFoundError, ProcessLookupError):
            self._ended(group)
            return None
        self._groups[candidate.pid] = group
        return Space(group, candidate.vmpte_bytes, cgroup_of(candidate.folder), layout, population)

    def _ended(self, group: list[Candidate]) -> None:
        self.unread += [Unread(one.pid, one.comm, "ended while it was read", None) for one in group]

    def _refuse(self, group: list[Candidate], reason: str) -> None:
        self.unread += [Unread(one.pid, one.comm, reason, one.vmpte_bytes) for one in group]
        # Its tables are there although nobody may say what for: they show as unattributed.
        self.spaces.append(Space(group, group[0].vmpte_bytes, cgroup_of(group[0].folder), None, None))

    def _count(self, batch: list[Space]) -> None:
        settled: list[Space] = []
        for alike in self._put_down(batch, final=False):
            # What a second look at one of them confirms, it confirms for those that are like it in all that was read.
            first, guess = alike[0], alike[0].attributed
            seen = self._again(first)
            if seen is None or seen.layout is None or seen.population is None:
                settled += filter(None, map(self._again, alike[1:]))
                continue
            settled.append(seen)
            tables = int(cut([(seen.layout, seen.population)], self.geometry).totals().sum())
            confirmed = seen.vmpte_bytes == first.vmpte_bytes and tables == guess
            settled += alike[1:] if confirmed else filter(None, map(self._again, alike[1:]))
        if settled:
            self._put_down(settled, final=True)
        self._reader.reset()

    def _put_down(self, batch: list[Space], *, final: bool) -> list[list[Space]]:
        """Count a batch; give back those whose tables the kernel counts otherwise and that are worth another look.

        They come in groups that are alike: mappings, population and the kernel's count.
        """
        rows: dict[tuple[int, bytes], int] = {}
        read: list[tuple[Layout, Population]] = []
        row_of: list[int] = []
        for space in batch:
            assert space.layout is not None
            assert space.population is not None
            row = rows.setdefault((id(space.layout), space.population.rows.tobytes()), len(read))
            if row == len(read):
                read.append((space.layout, space.population))
            row_of.append(row)
        pieces = cut(read, self.geometry)
        totals = pieces.totals().sum(axis=0).tolist()
        weight, label = np.zeros(len(read), np.int64), np.zeros(len(read), np.int64)
        again: dict[tuple[int, int], list[Space]] = {}
        hidden: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for space, row in zip(batch, row_of, strict=True):
            missing = space.vmpte_bytes // self.geometry.page - totals[row]
            if (row, missing) not in hidden:
                hidden[row, missing] = self._hidden(space.group[0].pid, *read[row], missing)
            found = hidden[row, missing]
            if missing and not final and (missing < 0 or self._doubtful(space, explained=bool(found))):
                space.attributed = totals[row]
                again.setdefault((row, missing), []).append(space)
                continue
            weight[row] += 1
            label[row] = space.group[0].pid
            space.usage = self._usages + row
            space.attributed = totals[row]
            for level, number, tables in found:
                self.tally.put_down(level, number, tables)
                space.attributed += tables
            space.hidden = tuple((number, tables) for _, number, tables in found)
            space.layout = space.population = None
            self.spaces.append(space)
        used = self.tally.add(pieces, weight, label)
        self._usage.append(replace(used, space=used.space + self._usages))
        self._usages += len(read)
        return list(again.values())

    def _doubtful(self, space: Space, *, explained: bool) -> bool:
        assert space.population is not None
        if space.population.guessed:
            return True
        if explained:
            return False
        now = read_candidate(space.group[0].pid)
        return now is None or now.vmpte_bytes != space.vmpte_bytes

    def _hidden(self, pid: int, layout: Layout, population: Population, missing: int) -> list[tuple[int, int, int]]:
        """Tables that no page shows but that mappings hidden by the kernel explain, where that is exact."""
        if missing <= 0:
            return []
        pieces = cut([(layout, population)], self.geometry)
        clock = clock_read(pid, layout)
        return hidden_tables(layout, pieces, missing, self.objects, self.geometry, clock_read=clock)

    def _again(self, space: Space) -> Space | None:
        """Read an address space thoroughly until it stands still."""
        latest: Space | None = None
        for _ in range(_ATTEMPTS):
            before = self._fresh(space.group)
            if before is None:
                return None
            latest = self._space(space.group, thorough=True)
            if latest is None or latest.layout is None or latest.population is None:
                return None
            tables = int(cut([(latest.layout, latest.population)], self.geometry).totals().sum())
            if tables * self.geometry.page == before or self._fresh(space.group) == before:
                break
        return latest

    def _fresh(self, group: list[Candidate]) -> int | None:
        """Ask for the kernel's count again, of the first of a group that is still there; None when none is."""
        while group:
            first = read_candidate(group[0].pid)
            if first is not None:
                group[0] = first
                return first.vmpte_bytes
            self._ended(group[:1])
            del group[0]
        return None
