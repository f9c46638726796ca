"""Real cells on the host that each names: this machine, or a guest of it."""

from collections.abc import Iterator, Mapping, Sequence

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.ports import Estimate, Tables
from mshare_bench.real.engine import RealEngine
from mshare_bench.real.guest.engine import GuestEngine

__all__ = ["Hosts"]


class Hosts:
    """The real engine of every host: this machine's own, and the one that runs cells in guests."""

    name = "real"
    model = RealEngine.model

    def __init__(self, here: RealEngine, guest: GuestEngine) -> None:
        self._guest = guest
        self._engines: Mapping[str, RealEngine | GuestEngine] = {"here": here, "guest": guest}

    def run(self, cells: Sequence[Cell]) -> Iterator[Tables]:
        """Run each cell where it belongs, in order."""
        for cell in cells:
            yield from self._engines[cell.host].run([cell])

    def estimate(self, cell: Cell) -> Estimate:
        """What the cell's host says."""
        return self._engines[cell.host].estimate(cell)

    def prepare(self) -> None:
        """See to it that guests can be started; CapabilityError, saying what to install, where they can't."""
        self._guest.prepare()

    def close(self) -> None:
        """End the guest that runs."""
        self._guest.close()
