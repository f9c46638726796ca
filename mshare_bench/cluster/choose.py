"""Which executor runs a plan: `auto` takes Ray where it pays."""

from collections.abc import Callable, Mapping

from mshare_bench.cluster.estimate import serial_seconds
from mshare_bench.cluster.inline import InlineExecutor
from mshare_bench.cluster.ray import RayExecutor
from mshare_bench.cluster.roster import ClusterOptions
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.cells import Cells
from mshare_bench.domain.ports import Engine, Executor

__all__ = ["RAY_PAYS_SECONDS", "choose_executor"]

RAY_PAYS_SECONDS = 10.0
"""Serial simulation beyond which starting Ray (3 to 7 s with its import) pays on two cores or more."""


def choose_executor(
    asked: str,
    cells: Cells,
    engines: Mapping[str, Engine],
    options: ClusterOptions,
    where: Callable[[], Where],
    note: Callable[[str], None] = lambda _message: None,
    kinds: Mapping[str, str] | None = None,
) -> Executor:
    """Make the executor that was asked for; `auto` is Ray with several machines or more than 10 s of serial simulation."""
    if asked == "auto":
        pays = options.address is not None or serial_seconds(cells, engines) > RAY_PAYS_SECONDS
        asked = "ray" if pays else "inline"
    return RayExecutor(options, where, note, kinds) if asked == "ray" else InlineExecutor(where)
