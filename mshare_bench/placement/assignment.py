"""Where everything goes: the outcome of placement."""

from dataclasses import dataclass

__all__ = ["Assignment", "DomainCopy", "Seat", "Shares"]

Shares = tuple[tuple[int, float], ...]
"""Pairs of a node's id and the share of the bytes that lies there; shares add up to 1."""


@dataclass(frozen=True, slots=True)
class Seat:
    """So many like units of a group, on one node.

    Attributes
    ----------
    demand, group, count
        Position of the demand among those that were placed, its group, and how many units.
    machine, node
        Number of the machine in the topology, and the kernel's id of the node whose CPUs run them.
    data, tables
        Where their private data and their own page tables lie.
    replicated
        Every node in `tables` holds all of the tables, not a share.
    """

    demand: int
    group: str
    count: int
    machine: int
    node: int
    data: Shares
    tables: Shares
    replicated: bool = False


@dataclass(frozen=True, slots=True)
class DomainCopy:
    """A shared domain on one machine: its data and the page tables that its sharers have in common.

    A domain whose units run on several machines has a copy on each: memory is not shared between machines.
    """

    domain: str
    machine: int
    data: Shares
    tables: Shares
    replicated: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """Every unit's seat and every domain's copies.

    `policy` and `tables` name what made it.
    """

    seats: tuple[Seat, ...]
    copies: tuple[DomainCopy, ...]
    policy: str
    tables: str

    def machines(self) -> tuple[int, ...]:
        """Numbers of the machines that run something."""
        return tuple(sorted({seat.machine for seat in self.seats}))
