"""How long a day of a fleet takes to count: 1,000 machines x 24 hours, with shared page tables and without (target: < 60 s).

Run from the project's root: `python -m benchmarks.placement_fleet [machines]`.
"""

import sys
import time

from mshare_bench.domain.topology import Machine, MachineCohort, Network, Node, Topology
from mshare_bench.domain.units import format_size
from mshare_bench.placement.fleet import Tenant, compare_fleet, make_day

GIB, MIB = 1 << 30, 1 << 20


def main() -> int:
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    machine = Machine("m", (Node(0, tuple(range(160)), 512 * GIB),), ((10,),))
    topology = Topology("fleet", (MachineCohort(machine, machines),), Network(3.125e9, 30_000))
    tenants = [
        Tenant(
            "database", 500, 16.0, 8 * GIB, 64 * GIB, 128 * MIB + 260 * 1024, peak=1.2 * machines, lifetime_hours=24
        ),
        Tenant("web", 64, 4.0, 8 * GIB, 2 * GIB, 4 * MIB, peak=6.0 * machines, lifetime_hours=3),
        Tenant(
            "ranks", 96, 96.0, 96 * GIB, 64 * GIB, 128 * MIB, peak=0.3 * machines, lifetime_hours=6, busiest_hour=22
        ),
        Tenant("small", 16, 1.0, 2 * GIB, GIB, 2 * MIB, peak=10.0 * machines, lifetime_hours=1),
    ]
    started = time.monotonic()
    began = time.process_time()
    day = make_day(tenants)
    off, on, saving = compare_fleet(topology, tenants, day)
    cpu, seconds = time.process_time() - began, time.monotonic() - started
    events = sum(sum(slot.arrivals) + sum(map(len, slot.departures)) for slot in day)
    print(f"{machines} machines, {len(day)} slots, {events} events: {cpu:.1f} s of CPU, {seconds:.1f} s in all")
    print(
        f"machines at the busiest: {max(off.machines)} -> {max(on.machines)}; rejected {sum(off.rejected)} -> {sum(on.rejected)}"
    )
    print(f"memory saved: {format_size(saving.memory)} on average; machine hours saved: {saving.machine_hours:.0f}")
    print(f"moves: {sum(off.moves)} -> {sum(on.moves)}")
    return 0 if cpu < 60 else 1


if __name__ == "__main__":
    raise SystemExit(main())
