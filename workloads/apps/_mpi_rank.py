"""One rank: allocates the window with all others, touches it when it is told, ends when it is told.

Started by `mpiexec` with the folder for its notes and the size of the window. It waits for files to appear, since waiting in
MPI itself would keep the processor busy.
"""

import os
import sys
import time
from pathlib import Path


def _wait(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def _note(folder: Path, rank: int, step: str, taken: int) -> None:
    new = folder / f"{step}-{rank}.new"
    new.write_text(f"{os.getpid()} {taken}")
    new.rename(folder / f"{step}-{rank}")


def main() -> None:
    """Go through the three steps."""
    from mpi4py import MPI

    folder, size = Path(sys.argv[1]), int(sys.argv[2])
    world = MPI.COMM_WORLD
    window = MPI.Win.Allocate_shared(size if world.rank == 0 else 0, 1, comm=world)
    memory, _ = window.Shared_query(0)
    _note(folder, world.rank, "attached", 0)
    _wait(folder / "touch")
    start = time.perf_counter_ns()
    for at in range(0, size, 4096):
        if world.rank == 0:
            memory[at] = 1
        else:
            memory[at]
    _note(folder, world.rank, "touched", time.perf_counter_ns() - start)
    _wait(folder / "end")
    os._exit(0)  # freeing the window is collective, and nobody needs it


if __name__ == "__main__":
    main()
