"""`first_touch`: tables lie on the node of the process that touches first."""

from mshare_bench.placement.registry import TableLayout, Walkers, table_policy

__all__ = ["first_touch"]


@table_policy("first_touch")
def first_touch(walkers: Walkers) -> TableLayout:
    """Put tables with the first toucher."""
    return TableLayout(prefer=walkers.toucher)
