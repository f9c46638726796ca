"""A cluster of hosts: one that joins, one that is killed, one whose cable is pulled; what is asked for at the door."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mshare_bench.results.store import Store
from tests.cluster.hosts import Hosts, lacking, until
from tests.requirements import require

pytestmark = [pytest.mark.netns, pytest.mark.timeout(900)]

_FULL = bool(os.environ.get("MSHARE_BENCH_FULL"))
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    reason = lacking()
    require("netns", not reason, reason)
    made = Hosts()
    try:
        made.start(0, "--labels=role=head")
        made.wait(0)
        made.start(1, "--labels=role=worker")
        made.wait(1)
        yield made
    finally:
        made.close()


def run(hosts: Hosts, *overrides: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    program = Path(sys.executable).with_name("mshare-bench")
    command = [program, "run", "executor=ray", f"cluster.address={hosts.cluster}"]
    process = hosts.popen(0, [*command, "tracking=none", *overrides], environment)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def test_without_the_token_one_line_says_so(hosts: Hosts, own_folder: Path) -> None:
    bare = {key: value for key, value in hosts.environment.items() if key != "RAY_AUTH_TOKEN"}
    bare["HOME"] = str(own_folder)
    for environment, told in (
        (bare, "its token is missing"),
        ({**bare, "RAY_AUTH_TOKEN": "0123"}, "it does not take our token"),
        ({**bare, "RAY_AUTH_MODE": "disabled"}, "it wants its token"),
    ):
        code, out, err = run(hosts, "processes=2", environment=environment)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"cluster.address={hosts.cluster}: {told}" in err


def test_labels_that_no_machine_has(hosts: Hosts, own_folder: Path) -> None:
    code, _, err = run(hosts, "processes=2", "cluster.labels={role:none}")
    assert code == 2
    assert "cluster.labels={role=none}: no machine has these labels" in err and "role=worker" in err


def test_labels_choose_the_machine(hosts: Hosts, own_folder: Path) -> None:
    command = (
        "engine=both",
        "mechanism=shmem",
        "processes=3",
        "region=1MiB",
        "out=chosen",
        "cluster.labels={role:worker}",
    )
    code, _, err = run(hosts, *command)
    assert code == 0, err
    groups = Store.open("chosen").table("groups").to_pylist()
    real = {row["cell"] for row in Store.open("chosen").table("cells").to_pylist() if row["engine"] == "real"}
    assert [row["machine"] for row in groups if row["cell"] in real] == [hosts.address(1)]
    assert "is given up" not in err and "nice" not in err


_TWO = """
name: two_hosts
machines:
  host: {count: 2, nodes: [{id: 0, cpus: 2, memory: 8GiB}], distances: [[10]]}
network: {bandwidth_gb_s: 1, latency: 50us, source: test}
"""


def test_ranks_on_two_hosts_start_together_and_come_back_by_machine_and_node(hosts: Hosts, own_folder: Path) -> None:
    topologies = Path(os.environ["XDG_CONFIG_HOME"]) / "mshare-bench" / "conf" / "topology"
    topologies.mkdir(parents=True)
    (topologies / "two_hosts.yaml").write_text(_TWO)
    cell = ("mechanism=shmem", "processes=20", "region=4MiB", "topology=two_hosts", "placement=spread")
    code, _, err = run(hosts, *cell, "engine=both", "out=ranks", "repeats=3")
    assert code == 0, err
    store = Store.open("ranks")
    cells = store.table("cells").to_pylist()
    measured = [row for row in cells if row["engine"] == "real"]
    predicted = next(row for row in cells if row["engine"] == "sim")
    assert len(measured) == 3
    for name in ("point", "page_table_bytes", "data_bytes", "minor_faults"):
        assert {row[name] for row in measured} == {predicted[name]}, name
    for repeat in range(3):
        groups = [
            row for row in store.table("groups").to_pylist() if row["start_ns"] is not None and row["repeat"] == repeat
        ]
        assert sorted((row["machine"], row["processes"]) for row in groups) == [(hosts.address(n), 10) for n in (0, 1)]
        assert max(row["start_ns"] + row["start_error_ns"] for row in groups) < 50e6
        nodes = [
            row
            for row in store.table("nodes").to_pylist()
            if row["repeat"] == repeat and row["cell"] == groups[0]["cell"]
        ]
        assert sorted((row["machine"], row["node"], row["processes"]) for row in nodes) == [
            (hosts.address(n), 0, 10) for n in (0, 1)
        ]
    code, _, err = run(hosts, *cell[:-2], "engine=real", "topology=cluster_4", "placement=spread", "out=more")
    assert code == 1
    assert "4 machines are needed, the cluster has 2" in " ".join(err.split())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_on_the_machines(
    hosts: Hosts, own_folder: Path, end: signal.Signals
) -> None:
    program = Path(sys.executable).with_name("mshare-bench")
    sweep = [
        program,
        "run",
        "-m",
        "engine=real",
        "mechanism=shmem",
        "processes=range(60,99)",
        "region=1MiB",
        "repeats=40",  # more than can be done before it is ended
    ]
    sweep += ["executor=ray", f"cluster.address={hosts.cluster}", "tracking=none", "out=out"]
    driver = hosts.popen(0, sweep)

    def ours(host: int) -> list[str]:
        return [name for name in hosts.commands(host) if name.startswith(("mshare", "ray::Machine"))]

    for host in (0, 1):
        until(
            lambda host=host: any(name.startswith("mshare") for name in ours(host)),
            180,
            f"host {host} runs no cell",
            0.005,
        )  # type: ignore[misc]
    until(lambda: bool(Store.open("out").finished()), 60, "no cell is finished")
    driver.send_signal(end)
    driver.communicate(timeout=120)
    until(lambda: not ours(0) and not ours(1), 60, "something is left on the hosts")
    assert driver.returncode == (130 if end == signal.SIGINT else -end)
    assert Store.open("out").finished()  # what was done is kept


def test_a_machine_that_joins_is_used_and_those_that_are_lost_cost_nothing(hosts: Hosts, own_folder: Path) -> None:
    log, gate = own_folder / "log", own_folder / "gate"
    repeats = 30 if _FULL else 6
    sweep = [sys.executable, "-m", "tests.cluster.sweep", log, gate, "engine=real", "mechanism=shmem,sysv"]
    sweep += [
        "processes=50,60,70,80,90",
        "region=1MiB",
        f"repeats={repeats}",
        "out=out",
        "tracking=none",
        "executor=ray",
    ]
    sweep += [f"cluster.address={hosts.cluster}", "cluster.silence=12s"]
    environment = {**hosts.environment, "PYTHONPATH": str(_ROOT)}
    driver = hosts.popen(0, sweep, environment)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def rows_of(host: int) -> int:
        return sum(line.get("machine") == hosts.address(host) for line in lines())

    def rows_come(host: int) -> None:
        assert driver.poll() is None, driver.communicate()
        until(lambda: rows_of(host) > 0 or driver.poll() is not None, 120, f"host {host} gets nothing to run")

    rows_come(1)
    hosts.start(2)
    hosts.wait(2)
    rows_come(2)
    # Cells are short. Frozen for two rows of others, host 1 has one that it can't finish; host 2 gets one over the dead cable.
    hosts.freeze(1)
    before = rows_of(0) + rows_of(2)
    until(lambda: rows_of(0) + rows_of(2) >= before + 2, 120, "the others stopped with host 1")
    hosts.kill(1)
    hosts.cut(2)
    gate.touch()
    out, err = driver.communicate(timeout=600)
    assert driver.returncode == 0, err
    cells = 2 * 5 * repeats
    assert json.loads(out.splitlines()[-1]) == {"ok": cells}
    arrived = Counter((line["cell"], line["repeat"]) for line in lines() if "cell" in line)
    assert len(arrived) == arrived.total() == cells  # none twice, in the store as little as on the way to it
    notes = [line["note"] for line in lines() if "note" in line]
    killed, cut = (f"machine {hosts.address(host)}" for host in (1, 2))
    assert sum(note.startswith(f"{killed} is given up: ") for note in notes) == 1
    assert f"{cut} is given up: it has said nothing for 12 s" in notes
    assert all(any(note.startswith(f"{lost}: a real cell") for note in notes) for lost in (killed, cut))
    assert {rows_of(host) > 0 for host in (0, 1, 2)} == {True}
    until(lambda: not any(name.startswith("mshare") for name in hosts.commands(0)), 30, "agents are left on the head")
