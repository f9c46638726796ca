"""The machine: applies the operations of a history, one after the other, and says what each came to."""

from collections.abc import Callable, Iterable
from typing import Any

from mshare_bench.errors import ConfigError
from mshare_bench.sim.semantics import domains, fork, ksm, mappings, ops, pages, spaces
from mshare_bench.sim.semantics.state import Config, MachineState, Outcome, Process, Refused, Signalled

__all__ = ["Machine", "run"]

_Handler = Callable[[MachineState, Process, Any], bytes | None]


def _exit(machine: MachineState, process: Process) -> None:
    """End a process: its pins, its address space, the domains that it owns."""
    del machine.processes[process.pid]
    spaces.release_pins(machine, process)
    spaces.leave_space(machine, process)
    domains.tear_down(machine, process.pid)


# Looked up through their modules at each call, so that a test can put a broken rule in the place of one.
_HANDLERS: dict[type[ops.Op], _Handler] = {
    ops.Fork: lambda machine, process, op: fork.fork(machine, process, op),
    ops.Exec: lambda machine, process, _: spaces.replace_space(machine, process),
    ops.Exit: lambda machine, process, _: _exit(machine, process),
    ops.CreateFile: lambda machine, process, op: spaces.create_file(machine, process, op),
    ops.WriteFile: lambda machine, process, op: spaces.write_file(machine, process, op),
    ops.PunchFile: lambda machine, _, op: spaces.punch_file(machine, op),
    ops.Unlink: lambda machine, process, op: domains.unlink(machine, process, op),
    ops.Map: lambda machine, process, op: mappings.map_memory(machine, process, op),
    ops.Unmap: lambda machine, process, op: mappings.unmap(machine, process, op),
    ops.Protect: lambda machine, process, op: mappings.protect(machine, process, op),
    ops.Advise: lambda machine, process, op: mappings.advise(machine, process, op),
    ops.Touch: lambda machine, process, op: mappings.touch(machine, process, op),
    ops.Pin: lambda machine, process, op: pages.pin(machine, process, op),
    ops.Unpin: lambda machine, process, _: spaces.release_pins(machine, process),
    ops.Migrate: lambda machine, process, op: pages.migrate(machine, process, op),
    ops.NumaScan: lambda machine, process, _: pages.numa_scan(machine, process),
    ops.Create: lambda machine, process, op: domains.create(machine, process, op),
    ops.Resize: lambda machine, process, op: domains.resize(machine, process, op),
    ops.MapInside: lambda machine, process, op: domains.map_inside(machine, process, op),
    ops.UnmapInside: lambda machine, process, op: domains.change_inside(machine, process, op),
    ops.ProtectInside: lambda machine, process, op: domains.change_inside(machine, process, op),
    ops.AdviseInside: lambda machine, process, op: domains.change_inside(machine, process, op),
    ops.Attach: lambda machine, process, op: domains.attach(machine, process, op),
    ops.Detach: lambda machine, process, op: domains.detach(machine, process, op),
}


class Machine(MachineState):
    r"""An executable model of the memory manager.

    Parameters
    ----------
    config
        What the kernel does where designs differ; None for the defaults (mshare as msharefs, x86-64, four CPUs).

    Examples
    --------
    >>> machine = Machine()
    >>> for op in (Spawn(1), Map(1, 0, 8192), Touch(1, 0, write=True, value=7)):
    ...     outcome = machine.apply(op)
    >>> machine.apply(Touch(1, 0, length=8192)).value
    b'\x07\x00'
    """

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)

    def apply(self, op: ops.Op) -> Outcome:
        """Do one operation.

        A refusal is an errno, a fatal access a signal; the signal ends the process, as by default it does.

        Raises
        ------
        ConfigError
            When the operation names a process that does not exist, or asks for what is not modelled.
        """
        try:
            if isinstance(op, ops.Spawn):
                spaces.spawn(self, op)
                return Outcome()
            if isinstance(op, ops.KsmScan):
                self.cpu = None
                ksm.scan(self)
                return Outcome()
            return self._apply(op)
        except Refused as verdict:
            return Outcome(errno=verdict.errno)

    def _apply(self, op: ops.Op) -> Outcome:
        pid: int = getattr(op, "pid", -1)
        if pid not in self.processes:
            raise ConfigError(f"pid={pid}: no such process")
        process = self.processes[pid]
        self.cpu = process.cpu
        try:
            return Outcome(value=_HANDLERS[type(op)](self, process, op))
        except Signalled as verdict:
            _exit(self, process)
            return Outcome(signal=verdict.signal)


def run(history: Iterable[ops.Op], config: Config | None = None) -> Machine:
    """Apply a whole history to a new machine and return the machine."""
    machine = Machine(config)
    for op in history:
        machine.apply(op)
    return machine
