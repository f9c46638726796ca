"""`follow_majority`: tables on the node from which most walks come; for a process's own tables, where it runs."""

from mshare_bench.placement.registry import TableLayout, Walkers, table_policy

__all__ = ["follow_majority"]


@table_policy("follow_majority")
def follow_majority(walkers: Walkers) -> TableLayout:
    """Put tables where most walks come from."""
    return TableLayout(prefer=int(walkers.reads.argmax()) if walkers.reads.any() else walkers.toucher)
