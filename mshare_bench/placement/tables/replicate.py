"""`replicate`: a copy of the tables on every node, as Mitosis does; every change is made in every copy."""

from mshare_bench.placement.registry import TableLayout, Walkers, table_policy

__all__ = ["replicate"]


@table_policy("replicate")
def replicate(walkers: Walkers) -> TableLayout:
    """Copy tables to all nodes."""
    del walkers
    return TableLayout(replicate=True)
