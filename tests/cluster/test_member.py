"""What runs on a machine: a part of a cell that waits for its start. On real hosts it runs in `test_hosts`."""

import os
import threading
import time

from mshare_bench.cluster.member import MachineActor
from tests.cluster.engines import Counting, cell, here


class Starting(Counting):
    """A part that waits for its start, and says when it had it."""

    def run_part(self, cell, begin):  # type: ignore[no-untyped-def]
        begin()
        self.began = time.monotonic_ns()
        return next(self.run([cell]))


def part(at_ns: int | None) -> tuple[Starting, dict[str, list[object]], bool]:
    engine = Starting("real")
    actor = MachineActor(engine, here())
    found: dict[str, list[object]] = {}
    thread = threading.Thread(target=lambda: found.update(actor.run_part(cell(1, "real"), "k")["cells"].to_pydict()))
    thread.start()
    armed = actor.armed("k")
    assert not hasattr(engine, "began")
    actor.go("k", at_ns)
    thread.join(10)
    return engine, found, armed


def test_a_part_starts_at_its_instant_and_not_before() -> None:
    at = time.monotonic_ns() + 200_000_000
    engine, found, armed = part(at)
    assert armed and engine.began >= at
    assert found["status"] == ["ok"]


def test_a_part_that_is_called_off_does_not_start() -> None:
    engine, found, _ = part(None)
    assert not hasattr(engine, "began")
    assert found["status"] == ["failed"] and "did not get ready" in str(found["error"])


def test_a_part_that_can_not_start_keeps_nobody_waiting() -> None:
    actor = MachineActor(Counting("real", raises_at=1), here())  # has no `run_part` at all
    row = actor.run_part(cell(1, "real"), "k")["cells"].to_pylist()[0]
    assert row["status"] == "failed"
    assert actor.armed("k")  # who asks late is answered


def test_it_reports_what_it_is_and_undoes_what_rays_workers_have() -> None:
    report = MachineActor(None, here()).report()
    assert report.where == here()
    assert (report.nice <= 0 or os.geteuid() != 0) and report.oom_score_adj <= 0
