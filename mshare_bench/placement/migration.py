"""What moving costs: a group, its data or its page tables, between nodes and between machines; and when it pays.

A move of pages copies every folio, changes its entry in every set of tables that maps it (twice: to a migration entry and back)
and in every replica of these, and after each batch shoots down the TLBs of the CPUs that run a sharer; with msharefs those of
all CPUs, since it flushes them all. Whoever touches a page that is on its way waits for the rest of its batch. Between machines
the bytes go over the network, processes are started and attached again, and their tables are faulted in once per set.

The time to move is weighed against what it saves per second: the *break-even time*. Unit costs default to published figures, each
named below; those of a measured machine are taken from its cost profile (`migration_costs`).
"""

import math
from dataclasses import dataclass
from typing import Literal

from mshare_bench.domain.cost import CostModel
from mshare_bench.domain.topology import Network
from mshare_bench.domain.units import format_duration
from mshare_bench.errors import ConfigError

__all__ = ["Advice", "MigrationCosts", "Move", "MoveCost", "advise", "migration_costs", "move_cost", "replica_cost"]


@dataclass(frozen=True, slots=True)
class MigrationCosts:
    """Unit costs, in ns where nothing else is said.

    Attributes
    ----------
    folio, byte
        Per folio and per byte moved between nodes, with one mapper: 508 ns and 0.144 ns, fitted on the 4 KiB and 1 MiB rows of
        the batched folio copy RFC v3 (two-socket Zen 3).
    entry
        A change of one entry: 27 ns, the 60 cycles per page at 2.2 GHz of mprotect in Mitosis (ASPLOS'20), table 5.
    replica_entry
        The same in one further replica: 30 ns, 66 cycles there.
    shootdown, shootdown_per_cpu
        A round, and each CPU it goes to: 0 and 911 ns, the mean slope of 3.86 to 11.15 us over 0 to 8 CPUs (i7-13700HX).
    interrupted
        What an interrupted CPU loses: 1 us, assumed.
    batch
        Pages per round: 512, NR_MAX_BATCHED_MIGRATION of mm/migrate.c.
    fault, fault_pages
        A fault that maps so many present pages: 0.5 us assumed, and 16 (fault-around of 64 KiB).
    start, attach
        Starting a process, 100 us, and attaching a shared region, 20 us: orders of magnitude measured on a virtual machine.
    """

    folio: float = 508.2
    byte: float = 0.14402
    entry: float = 27.0
    replica_entry: float = 30.0
    shootdown: float = 0.0
    shootdown_per_cpu: float = 911.0
    interrupted: float = 1000.0
    batch: int = 512
    fault: float = 500.0
    fault_pages: int = 16
    start: float = 100_000.0
    attach: float = 20_000.0


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be moved.

    Attributes
    ----------
    size, folio
        Bytes, and bytes per folio.
    sharers
        Processes that map it.
    table_sets
        Sets of page tables that map it: `sharers`, or 1 where they share their tables.
    running_cpus
        CPUs on which sharers run.
    machine_cpus
        All CPUs of the machine.
    flush_all
        Every shootdown goes to all CPUs, as msharefs does.
    replicas
        Copies of each set of tables.
    reads_per_s
        Reads that go there, by all sharers.
    network
        Between the two machines; None within one.
    processes
        Processes that are started again on the other machine.
    """

    size: int
    folio: int = 4096
    sharers: int = 1
    table_sets: int = 1
    running_cpus: float = 1.0
    machine_cpus: int = 1
    flush_all: bool = False
    replicas: int = 1
    reads_per_s: float = 0.0
    network: Network | None = None
    processes: int = 0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ConfigError(f"move.size={self.size}: must not be negative")
        for key in ("folio", "sharers", "table_sets", "replicas", "machine_cpus"):
            if getattr(self, key) < 1:
                raise ConfigError(f"move.{key}={getattr(self, key)}: must be at least 1")
        if self.table_sets > self.sharers:
            raise ConfigError(f"move.table_sets={self.table_sets}: more than the {self.sharers} sharers")


@dataclass(frozen=True, slots=True)
class MoveCost:
    """What a move takes, in ns: of the one who moves (`duration`), and of the sharers (`stall`)."""

    copy: float = 0.0
    entries: float = 0.0
    shootdowns: float = 0.0
    replicas: float = 0.0
    network: float = 0.0
    attach: float = 0.0
    stall: float = 0.0

    @property
    def duration(self) -> float:
        """Time from begin to end."""
        return self.copy + self.entries + self.shootdowns + self.replicas + self.network + self.attach

    @property
    def total(self) -> float:
        """CPU time that the move costs everybody together."""
        return self.duration + self.stall

    def plus(self, other: "MoveCost") -> "MoveCost":
        """Sum of both, one after the other."""
        return MoveCost(
            self.copy + other.copy,
            self.entries + other.entries,
            self.shootdowns + other.shootdowns,
            self.replicas + other.replicas,
            self.network + other.network,
            self.attach + other.attach,
            self.stall + other.stall,
        )


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do, and why.

    Attributes
    ----------
    action
        `move`, `stay` or `replicate`.
    break_even_ns
        Time after which the action has paid for itself (for `stay`: after which moving would); None where it never does.
    net_ns
        What the action saves over the horizon, in ns of CPU time; 0 for `stay`.
    reason
        One line for people.
    """

    action: Literal["move", "stay", "replicate"]
    break_even_ns: float | None
    net_ns: float
    reason: str


def migration_costs(model: CostModel | None) -> MigrationCosts:
    """Take what a cost profile knows, and the published figures for the rest."""
    published = MigrationCosts()
    if model is None:
        return published

    def known(name: str, otherwise: float) -> float:
        cost = model.get(name)
        return otherwise if cost is None else cost.value

    return MigrationCosts(
        folio=known("folio_move", published.folio),
        byte=known("byte_copy", published.byte),
        entry=known("pte_protect", published.entry),
        shootdown=known("ipi", published.shootdown),
        shootdown_per_cpu=known("ipi_per_cpu", published.shootdown_per_cpu),
        fault=known("fault_read", published.fault),
        attach=known("vma_map", published.attach),
    )


def move_cost(move: Move, costs: MigrationCosts | None = None) -> MoveCost:
    """Give what a move costs."""
    costs = costs or MigrationCosts()
    return _between_nodes(move, costs) if move.network is None else _between_machines(move, move.network, costs)


def replica_cost(table_bytes: int, further: int, costs: MigrationCosts | None = None) -> MoveCost:
    """Give what it costs to build so many further replicas of page tables: every table page is copied once for each."""
    costs = costs or MigrationCosts()
    pages = math.ceil(table_bytes / 4096)
    return MoveCost(copy=further * pages * (costs.folio + 4096 * costs.byte))


def advise(
    saving: float,
    cost: MoveCost,
    horizon_s: float,
    *,
    replica_saving: float | None = None,
    replica: MoveCost | None = None,
    what: str = "it",
) -> Advice:
    """Weigh moving against staying and, where it is possible, against replicating page tables.

    Parameters
    ----------
    saving
        What the placement after the move costs less, in ns per second.
    cost
        Of the move.
    horizon_s
        Seconds for which the load is expected to stay as it is.
    replica_saving, replica
        The same for replicating the tables; None where that is impossible.
    what
        How the reason calls the thing.
    """
    # While the move lasts half of the saving is still lost on average: what is not moved yet is still remote.
    move_loss = cost.total + 0.5 * max(saving, 0.0) * cost.duration / 1e9
    move_net = saving * horizon_s - move_loss
    choices = [("move", move_net, _break_even(saving, move_loss), saving, move_loss)]
    if replica is not None and replica_saving is not None:
        net = replica_saving * horizon_s - replica.total
        choices.append(("replicate", net, _break_even(replica_saving, replica.total), replica_saving, replica.total))
    action, net, even, gain, loss = max(choices, key=lambda one: one[1])
    if net <= 0:
        if saving <= 0:
            return Advice("stay", None, 0.0, f"stay: moving {what} saves nothing")
        even = _break_even(saving, move_loss)
        return Advice(
            "stay",
            even,
            0.0,
            f"stay: moving {what} costs {format_duration(move_loss)} with what stays remote meanwhile, and saves "
            f"{format_duration(saving)} a second, which pays "
            f"after {format_duration(even or 0)}, beyond the {horizon_s:g} s at hand",
        )
    meanwhile = " with what stays remote meanwhile," if action == "move" else ""
    doing = "moving" if action == "move" else "replicating the tables of"
    reason = (
        f"{action}: {doing} {what} costs {format_duration(loss)}{meanwhile} and saves "
        f"{format_duration(gain)} a second, which pays after "
        f"{format_duration(even or 0)}"
    )
    return Advice("move" if action == "move" else "replicate", even, net, reason)


def _break_even(saving: float, loss: float) -> float | None:
    return loss / saving * 1e9 if saving > 0 else None


def _between_nodes(move: Move, costs: MigrationCosts) -> MoveCost:
    folios = math.ceil(move.size / move.folio)
    if not folios:
        return MoveCost()
    # One entry of one set is in the folio's own cost; a folio of several pages has an entry for each, up to a huge one.
    per_folio = move.folio // 4096 if move.folio < (2 << 20) else 1
    changes = 2 * folios * per_folio
    batches = math.ceil(folios / max(1, costs.batch // max(1, move.folio // 4096)))
    reached = move.machine_cpus if move.flush_all else min(move.running_cpus, move.machine_cpus)
    others = max(reached - 1, 0.0)
    shootdowns = batches * (costs.shootdown + costs.shootdown_per_cpu * others)
    plain = MoveCost(
        copy=folios * costs.folio + move.size * costs.byte,
        entries=changes * (move.table_sets - 1) * costs.entry,
        shootdowns=shootdowns,
        replicas=changes * move.table_sets * (move.replicas - 1) * costs.replica_entry,
    )
    per_batch = plain.duration / batches
    # A sharer that touches one of the batch's pages meanwhile waits for the rest of the batch, half of it on average.
    touched = move.reads_per_s / move.running_cpus * per_batch / 1e9 / batches if move.running_cpus else 0.0
    waits = batches * move.running_cpus * (1 - math.exp(-touched)) * per_batch / 2
    return MoveCost(
        plain.copy, plain.entries, plain.shootdowns, plain.replicas, stall=waits + batches * others * costs.interrupted
    )


def _between_machines(move: Move, network: Network, costs: MigrationCosts) -> MoveCost:
    wire = move.size / network.bandwidth * 1e9 + network.latency_ns
    faults = math.ceil(move.size / max(move.folio, 4096 * costs.fault_pages))
    attach = move.processes * (costs.start + costs.attach) + move.table_sets * faults * costs.fault
    # The group does not run until its memory is there.
    return MoveCost(network=wire, attach=attach, stall=move.running_cpus * (wire + attach))
