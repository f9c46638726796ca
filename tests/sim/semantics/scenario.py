"""Short histories as tests write them: each operation applied, every invariant checked after it."""

from mshare_bench.sim.semantics import Attach, Config, Create, Machine, MapInside, Op, Outcome, Resize, Spawn, check

__all__ = ["GIB", "KIB", "MIB", "OK", "PAGE", "WINDOW", "play", "refused", "region"]

KIB, PAGE, MIB, GIB = 1 << 10, 1 << 12, 1 << 20, 1 << 30
WINDOW = 512 * GIB
OK = Outcome()


def refused(number: int) -> Outcome:
    """The outcome of an operation that an errno refuses."""
    return Outcome(errno=number)


def play(machine: Machine, *history: Op) -> list[Outcome]:
    """Apply a history, check after each step, and return what each step came to."""
    outcomes = []
    for op in history:
        outcomes.append(machine.apply(op))
        check(machine)
    return outcomes


def region(config: Config | None = None, sharers: int = 2, size: int = 16 * MIB) -> Machine:
    """A machine whose processes 1 to `sharers` share the region `r` (process 1 owns it), each at its own address.

    Process n has it at n windows from the bottom (with the flag, where the address is one for all, at WINDOW).
    """
    machine = Machine(config)
    flag = machine.config.interface == "flag"
    history: list[Op] = [Spawn(1), Create(1, "r", 0o666), Resize(1, "r", size if flag else WINDOW)]
    if not flag:
        history.append(MapInside(1, "r", 0, size))
    for pid in range(1, sharers + 1):
        history += [] if pid == 1 else [Spawn(pid, cpu=(pid - 1) % machine.config.cpus)]
        history.append(Attach(pid, "r", WINDOW if flag else pid * WINDOW))
    assert all(outcome == OK for outcome in play(machine, *history))
    return machine
