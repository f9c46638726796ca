"""`interleave`: tables evenly over the machine's nodes, as the task policy MPOL_INTERLEAVE does."""

from mshare_bench.placement.registry import TableLayout, Walkers, table_policy

__all__ = ["interleave"]


@table_policy("interleave")
def interleave(walkers: Walkers) -> TableLayout:
    """Spread tables over all nodes."""
    del walkers
    return TableLayout(interleave=True)
