"""Runs a sweep and keeps what it hears: `python -m tests.cluster.sweep LOG GATE OVERRIDE...`.

LOG gets a JSON line for every row of `cells` as it arrives (before the store puts rows of one cell together) and for every note.
Until GATE exists it takes three seconds for every row, so that there is time to break something.
"""

import json
import sys
import time
from pathlib import Path

import mshare_bench
from mshare_bench.domain.ports import Tables
from mshare_bench.study import Silent


class Keeper(Silent):
    def __init__(self, log: Path, gate: Path) -> None:
        self._log = log.open("a")
        self._gate = gate

    def finished(self, tables: Tables) -> None:
        groups = tables["groups"].to_pylist() if "groups" in tables else []
        ran = {(row["cell"], row["repeat"]): row["machine"] for row in groups}
        for row in tables["cells"].to_pylist():
            key = (row["cell"], row["repeat"])
            self._write(cell=key[0], repeat=key[1], status=row["status"], error=row["error"], machine=ran.get(key))
        if not self._gate.exists():
            time.sleep(3)

    def note(self, message: str) -> None:
        self._write(note=message)

    def _write(self, **values: object) -> None:
        print(json.dumps(values), file=self._log, flush=True)


if __name__ == "__main__":
    found = mshare_bench.run(*sys.argv[3:], observer=Keeper(Path(sys.argv[1]), Path(sys.argv[2])))
    print(json.dumps(found.statuses))
