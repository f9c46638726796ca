"""The ways in which a machine's nodes can hold one thing: whole on one of them, spread over all, or copied to several.

Shared data and common tables always follow one of these patterns; that is how a kernel is told to place them (a bind or an
interleave policy of the region's file, weights by size since Linux 6.9), and it makes the optimum exact.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mshare_bench.placement.problem import MachineKind

__all__ = ["Pattern", "data_patterns", "table_patterns"]


@dataclass(frozen=True, eq=False)
class Pattern:
    """A pattern on one kind of machine.

    Attributes
    ----------
    name
        `node N`, `interleave`, `weighted` or `replicate`.
    share
        Bytes on each node over the bytes of the thing; they add up to 1, or to the number of replicas.
    penalty
        ns that a load takes over the fastest, by the node that it comes from.
    """

    name: str
    share: NDArray[np.float64]
    penalty: NDArray[np.float64]

    @cached_property
    def replicas(self) -> int:
        """Number of whole copies."""
        return round(float(self.share.sum()))


@lru_cache(maxsize=256)
def data_patterns(kind: MachineKind) -> tuple[Pattern, ...]:
    """List the patterns of data: each node with memory, `interleave`, and `weighted` where the nodes differ in size."""
    held = np.flatnonzero(kind.memory)
    shares = [(f"node {kind.machine.nodes[n].id}", np.eye(len(kind.memory))[n]) for n in held]
    if len(held) > 1:
        shares.append(("interleave", (kind.memory > 0) / len(held)))
        weighted = kind.memory / kind.memory.sum()
        if not np.allclose(weighted, shares[-1][1]):
            shares.append(("weighted", weighted))
    return tuple(Pattern(name, share, kind.penalty @ share) for name, share in shares)


@lru_cache(maxsize=256)
def table_patterns(kind: MachineKind) -> tuple[Pattern, ...]:
    """List the patterns of page tables: those of data, and `replicate` where more than one node can hold a copy."""
    if len(kind.replicas) < 2:
        return data_patterns(kind)
    share = np.zeros(len(kind.memory))
    share[list(kind.replicas)] = 1.0
    return (*data_patterns(kind), Pattern("replicate", share, kind.penalty[:, kind.replicas].min(axis=1)))
