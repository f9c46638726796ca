"""Which repeats of two runs stand beside each other in time: what tells a difference from a machine that drifts.

A machine that is slower a minute later makes two equal runs differ. Where the runs took turns, the drift meets both alike, and
what is left differs from block to block by chance.
"""

from collections.abc import Sequence

__all__ = ["Block", "Start", "blocks_of"]

Block = tuple[tuple[int, ...], tuple[int, ...]]
"""Positions of the repeats of the first run, and of the second."""


Start = tuple[int, float | None]
"""The number of a repeat, and when it began; None where nobody noted it."""


def blocks_of(first: Sequence[Start], second: Sequence[Start]) -> tuple[Block, ...]:
    """Cut the repeats of two runs into blocks: the shortest stretches of time in which both ran equally often.

    Parameters
    ----------
    first, second
        Repeats of the two runs. One that only one of them has (the other's failed) counts for neither.

    Returns
    -------
    tuple of Block
        In order of time. Runs that took turns for every repeat have as many blocks as repeats, whoever of the two began; runs one
        of which followed the other have one block; where a start is not known there is none. What is left over at the end
        belongs to no block.
    """
    both = {repeat for repeat, _ in first} & {repeat for repeat, _ in second}
    begun: list[tuple[float, bool, int]] = []
    for later, starts in enumerate((first, second)):
        for position, (repeat, start) in enumerate(starts):
            if start is None:
                return ()
            if repeat in both:
                begun.append((start, bool(later), position))
    found: list[Block] = []
    sides: tuple[list[int], list[int]] = ([], [])
    for _, later, position in sorted(begun):
        sides[later].append(position)
        if len(sides[0]) == len(sides[1]):
            found.append((tuple(sides[0]), tuple(sides[1])))
            sides = ([], [])
    return tuple(found)
