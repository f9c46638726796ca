"""What the stateful tests of the model have in common: operations chosen by weight, held against an oracle and `check`.

Hypothesis chooses how many steps there are and a number for each; the number seeds the choice of the step and of its
arguments. So a failing history is shortened by leaving steps out, and printed as a script that replays it.
"""

import random
from collections.abc import Callable
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mshare_bench.sim.semantics import Config, Exit, Geometry, Machine, Op, Outcome, Unlink, check, script, snapshot

__all__ = ["CI", "PAGE", "PMD_PAGES", "PTE_PAGES", "TOY", "WINDOW_PAGES", "Mismatch", "Stateful"]

PAGE = 4096
# Tables of eight entries: bounds of tables are met at every turn, and a huge page is eight pages.
PTE_PAGES, PMD_PAGES, WINDOW_PAGES = 8, 64, 512
TOY = Geometry("toy", PAGE, 4, (PTE_PAGES * PAGE, PMD_PAGES * PAGE, WINDOW_PAGES * PAGE), 8 * WINDOW_PAGES * PAGE)
CI = settings(max_examples=40, stateful_step_count=50, deadline=None)
_SEED = st.integers(0, (1 << 32) - 1)


class Mismatch(AssertionError):
    """The model and the oracle disagree, or an invariant broke; the message ends with a script that replays it."""


class Stateful(RuleBasedStateMachine):
    """Base: a machine, its history, and `weights` of the methods that are steps (each takes a `random.Random`)."""

    config = Config(geometry=TOY, fault_around=4 * PAGE)
    processes_at_most = 5
    weights: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(self.config)
        self.history: list[Op] = []
        self.born = 0

    @initialize(seed=_SEED)
    def begin(self, seed: int) -> None:
        self.furnish(random.Random(seed))

    @rule(seed=_SEED)
    def step(self, seed: int) -> None:
        rng = random.Random(seed)
        name = rng.choices(list(self.weights), list(self.weights.values()))[0]
        method: Callable[[random.Random], None] = getattr(self, name)
        method(rng)

    def furnish(self, rng: random.Random) -> None:
        """Make what most histories need in order to come to the point."""
        raise NotImplementedError

    def do(self, op: Op, expected: Outcome | None = None, *, errno_changes: bool = False) -> Outcome:
        """Apply an operation; hold its outcome against the one expected, and everything against the invariants.

        Unless `errno_changes`, an operation that was refused must have left everything as it was.
        """
        before = snapshot(self.machine)
        self.history.append(op)
        try:
            outcome = self.machine.apply(op)
            assert expected is None or outcome == expected, f"{op}: {outcome}, expected {expected}"
            check(self.machine)
            if outcome.errno and not errno_changes:
                assert snapshot(self.machine) == before, f"{op}: refused with {outcome}, and yet something changed"
        except Exception as error:
            raise Mismatch(f"{type(error).__name__}: {error}\n\n{script(self.history, self.config)}") from error
        return outcome

    def any_pid(self, rng: random.Random) -> int:
        return rng.choice(sorted(self.machine.processes))

    def full(self) -> bool:
        return len(self.machine.processes) >= self.processes_at_most

    def teardown(self) -> None:
        """When every name is gone and every process has ended, nothing is left."""
        for name in sorted({name for _, name in self.machine.names} | set(self.machine.files)):
            for pid in sorted(self.machine.processes):
                self.do(Unlink(pid, name))
        for pid in sorted(self.machine.processes):
            self.do(Exit(pid), Outcome())
        if not self.machine.names and not self.machine.files and (self.machine.tables or self.machine.frames):
            left = f"left behind: {len(self.machine.tables)} tables, {len(self.machine.frames)} frames"
            raise Mismatch(f"{left}\n\n{script(self.history, self.config)}")
