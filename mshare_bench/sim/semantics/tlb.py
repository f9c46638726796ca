"""Translations that the CPUs hold, and the flushes that take them away.

A CPU uses a translation that it holds without looking at the page tables. A flush that is forgotten therefore leaves a process
with a page that is no longer its own; `check` looks for exactly that.
"""

from mshare_bench.sim.semantics.state import AddressSpace, Domain, Flush, Frame, MachineState

__all__ = ["drop_range", "drop_space", "fill", "flush", "flush_domain", "flush_space", "lookup"]


def lookup(machine: MachineState, cpu: int, space: AddressSpace, page: int) -> tuple[Frame, int, bool, bool] | None:
    """What the CPU holds for a page number of a space: (frame, sub, readable, writable)."""
    return machine.tlb[cpu].get(space.number, {}).get(page)


def fill(machine: MachineState, cpu: int, space: AddressSpace, page: int, entry: tuple[Frame, int, bool, bool]) -> None:
    """Remember a translation that a walk found."""
    machine.tlb[cpu].setdefault(space.number, {})[page] = entry


def drop_range(machine: MachineState, cpu: int, space: AddressSpace, start: int, end: int) -> None:
    """Forget what one CPU holds for a range of a space."""
    held = machine.tlb[cpu].get(space.number)
    if not held:
        return
    size = machine.config.geometry.page
    first, last = start // size, -(-end // size)
    if last - first < len(held):
        for page in range(first, last):
            held.pop(page, None)
    else:
        machine.tlb[cpu][space.number] = {page: entry for page, entry in held.items() if not first <= page < last}


def drop_space(machine: MachineState, space: AddressSpace) -> None:
    """Forget a whole space on every CPU: it is gone and its tag will not be loaded again. No flush is counted."""
    for held in machine.tlb:
        held.pop(space.number, None)


def flush(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Flush a range of a space after its entries changed; a domain's space is flushed for all who share it."""
    if space.domain is not None:
        flush_domain(machine, space.domain, start, end)
    else:
        flush_space(machine, space, start, end)


def flush_space(machine: MachineState, space: AddressSpace, start: int, end: int) -> None:
    """Flush a range of one process's space: one round, to the CPUs that ran it."""
    _count(machine, space.cpus)
    for cpu in space.cpus:
        drop_range(machine, cpu, space, start, end)


def flush_domain(machine: MachineState, domain: Domain, start: int, end: int) -> None:
    """Flush a range of a domain (addresses of the domain's own space).

    `all`: one round to every CPU, which loses all it holds (flush_tlb_all of v3). `cpumask`: one round to the CPUs of the
    sharers. `list`: the sharers are visited one by one, a round each (2026 design).
    """
    if machine.config.flush is Flush.ALL:
        _count(machine, set(range(machine.config.cpus)))
        for held in machine.tlb:
            held.clear()
        return
    reached: set[int] = set()
    for window in domain.windows:
        delta = window.vma.start - domain.address
        reached |= window.space.cpus
        for cpu in window.space.cpus:
            drop_range(machine, cpu, window.space, start + delta, end + delta)
        if machine.config.flush is Flush.LIST:
            machine.flushes.visited += 1
            _count(machine, window.space.cpus)
    if machine.config.flush is Flush.CPUMASK:
        _count(machine, reached)


def _count(machine: MachineState, cpus: set[int]) -> None:
    machine.flushes.rounds += 1
    machine.flushes.cpus += len(cpus)
    machine.flushes.interrupts += len(cpus - {machine.cpu})
