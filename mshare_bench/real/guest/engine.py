"""The engine of `host=guest`: boots one guest per topology, runs cells there one by one, and brings their rows back.

Counts and placement are the kernel's own and as valid as anywhere. Times are another matter: where QEMU emulates the processor
they mean nothing, and every column with a unit of time is null. With KVM they are kept, as those of any virtual machine.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mshare_bench.domain.cell import Cell, digest
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.domain.topology import Machine
from mshare_bench.domain.units import MIB, format_size
from mshare_bench.errors import CapabilityError, CellFailed, GuardError
from mshare_bench.real.engine import RealEngine, RealOptions, needs_of
from mshare_bench.real.environment import read_environment
from mshare_bench.real.guard import read_host
from mshare_bench.real.guest.bed import Bed, Guest, find_bed
from mshare_bench.real.guest.kernel import image_release
from mshare_bench.real.guest.module.build import MODULE, build_module
from mshare_bench.real.guest.wire import cell_to_mapping, rows_from_columns
from mshare_bench.real.probes import kvm_unavailable
from mshare_bench.results.describe import cell_columns
from mshare_bench.results.rows import Rows
from mshare_bench.results.schema import field_names, unit_of

__all__ = ["GuestEngine", "untimed"]

_RESERVE = 64 * MIB
"""What stays free in a guest, which has no other work."""
_OVERHEAD = 256 * MIB
"""What QEMU takes beside the guest's memory."""
_SLOWER = 20.0
_BOOT_SECONDS = 10.0
_PHASES = 10


class GuestEngine:
    """Runs cells in guests; `close` ends the one that runs.

    Parameters
    ----------
    machines
        What QEMU shows to the guest, by the topology's name in a point.
    find
        Finds what guests are made of, when the first one is needed; see `find_bed`.
    options
        As for `RealEngine`; `reserve` is what stays free of this machine's memory.
    """

    name = "real"
    model = RealEngine.model

    def __init__(
        self, machines: Mapping[str, Machine], find: Callable[[], Bed] = find_bed, options: RealOptions | None = None
    ) -> None:
        self._machines = machines
        self._find = find
        self._bed: Bed | None = None
        self._options = options or RealOptions()
        self._guest: Guest | None = None
        self._booted = ""

    def prepare(self) -> Bed:
        """Find what guests are made of; CapabilityError, saying what to install, where something is missing."""
        if self._bed is None:
            self._bed = self._find()
        return self._bed

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run every cell; one that its guest dies of is `void`, and the next one gets a new guest."""
        for cell in cells:
            try:
                tables = self._run(cell)
            except (CapabilityError, GuardError) as error:
                tables = _one_row(cell, "skipped", str(error))
            except CellFailed as error:
                self.close()
                tables = _one_row(cell, "void", str(error))
            yield tables.tables()

    def estimate(self, cell: Cell) -> Estimate:
        """What it takes here: the guest's memory, whatever the cell needs of it, and more time than outside."""
        inside = RealEngine(self._options).estimate(cell)
        memory = self._machines[cell.point.topology].memory + _OVERHEAD
        slower = 1.0 if kvm_unavailable() is None else _SLOWER
        return dataclasses.replace(inside, seconds=_BOOT_SECONDS + inside.seconds * slower, memory=memory)

    def close(self) -> None:
        """End the guest that runs; the next cell boots another one."""
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_guest": None, "_booted": ""}

    def _run(self, cell: Cell) -> Rows:
        if MODULE in needs_of(cell.point):
            self._load_module()
        guest = self._guest_of(cell.point.topology)
        seconds = _PHASES * self._options.timeout
        answer = guest.ask({"cell": cell_to_mapping(cell)}, seconds)
        if "refused" in answer:
            return _one_row(cell, "failed", answer["refused"])
        tables = answer["tables"] if self.prepare().kvm else untimed(answer["tables"])
        return self._stamp(guest, cell, tables)

    def _load_module(self) -> None:
        """From now on guests have the module; one that runs without it ends."""
        bed = self.prepare()
        if bed.module is None:
            self._bed = dataclasses.replace(bed, module=build_module(image_release(bed.kernel)))
            self.close()

    def _guest_of(self, topology: str) -> Guest:
        if self._guest is not None and self._booted == topology:
            return self._guest
        self.close()
        machine = self._machines[topology]
        room = read_host()
        if machine.memory + _OVERHEAD > room.available_bytes - self._options.reserve:
            raise GuardError(
                f"topology={topology}: the guest has {format_size(machine.memory)} of memory; {room.memory_limit} has "
                f"{format_size(room.available_bytes)} less a reserve of {format_size(self._options.reserve)}"
            )
        self._guest, self._booted = Guest(self.prepare(), machine), topology
        self._guest.send({"options": {**dataclasses.asdict(self._options), "reserve": _RESERVE}})
        return self._guest

    def _stamp(self, guest: Guest, cell: Cell, tables: Mapping[str, Mapping[str, list[Any]]]) -> Rows:
        """Add the guest's own environment, which the executor would take to be this machine's."""
        rows = rows_from_columns(tables)
        # Python and its packages are this machine's, and only it can tell their versions.
        packages = {key: value for key, value in read_environment().items() if key.startswith(("package_", "git_"))}
        facts = {**guest.environment, **packages, "accelerator": "kvm" if self.prepare().kvm else "tcg"}
        environment = digest(facts)
        rows.fill("cells", env=environment)
        for key in sorted(facts):
            rows.add("environments", env=environment, machine=cell.machine, key=key, value=facts[key])
        return rows


def untimed(tables: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """The same rows with every time null; `samples`, which hold nothing else, are left out."""
    kept: dict[str, dict[str, list[Any]]] = {}
    for table, columns in tables.items():
        if table != "samples":
            times = {name for name in field_names(table) if unit_of(table, name) == "ns"}
            kept[table] = {name: [None] * len(values) if name in times else values for name, values in columns.items()}
    return kept


def _one_row(cell: Cell, status: str, reason: str) -> Rows:
    rows = Rows()
    rows.add("cells", **cell_columns(cell, status, reason))
    return rows
