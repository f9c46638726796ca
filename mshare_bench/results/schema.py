"""The results contract: the Arrow schema of every table in a store. Other tools read it.

Every field carries metadata: `unit`, `better` (`lower`, `higher`, `none`) and `description`. The schema carries
`schema_version`, `major.minor`: a minor step adds a nullable column; another major is refused when a store is opened.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rows are also gathered where there is no Arrow, in the guest of `real.guest`
    import pyarrow as pa

__all__ = ["PHASES", "SCHEMA_VERSION", "STATUSES", "TABLES", "TIMED_PHASES", "field_names", "schema", "unit_of"]

SCHEMA_VERSION = "1.2"
STATUSES = ("ok", "failed", "void", "skipped", "timeout")
PHASES = ("launch", "attach", "touch", "fork", "protect", "unmap", "exit")
TIMED_PHASES = PHASES[1:]

# name: type unit better description
_KEY = """
cell: str - none Digest of point, engine, machine or cost profile, and model version
repeat: int - none Repetition, from 0
"""

_CELLS = """
cell: str - none Digest of point, engine, machine or cost profile, and model version
point: str - none Digest of every coordinate; simulated and real rows pair by it
baseline_point: str - none Digest without mechanism, options and page: savings are taken against its shmem row
sweep: str - none Sweep that the cell was run in
repeat: int - none Repetition, from 0
status: str - none ok, failed, void, skipped or timeout
error: str - none Why it is not ok; null where it is
env: str - none Environment in environments.arrow
workload: str - none Workload
workload_params: str - none The workload's own parameters, JSON
mechanism: str - none Mechanism
variant: str - none Mechanism options as k=v;k=v, those at their defaults left out
engine: str - none sim or real
host: str - none Where it ran: here, guest, a machine of the cluster
machine: str - none Hardware digest; the cost profile's machine for sim
topology: str - none Topology
placement: str - none Placement
cost: str - none Cost profile
mmu: str - none MMU of a simulated row, and its settings that are not at their defaults, as name;k=v
seed: int - none Seed
processes: int count none Processes
region_bytes: int B none Bytes of all distinct regions
page_bytes: int B none Bytes of a mapped page
offset_bytes: int B none Start of the regions after the start of a 512 GiB slot
access: str - none Access pattern of the main region
access_params: str - none Parameters of the pattern, JSON
write_fraction: float 1 none Share of touched pages that are written
populate: str - none controller or first_touch
page_table_bytes: int B lower Page-table pages that the regions cost, over all processes, a shared table once; after touch
pte_table_bytes: int B lower Of these, PTE pages
pmd_table_bytes: int B lower Of these, PMD pages
pud_table_bytes: int B lower Of these, PUD pages
page_table_source: str - none Counter that page_table_bytes was read from; model for sim
page_table_noise_bytes: int B lower What that counter moved in an empty cell of the same run
data_bytes: int B lower The data itself, every copy
metadata_bytes: int B lower What is kept beside the data and the tables
minor_faults: int count lower Minor faults over all processes as ru_minflt shows them, during touch
linking_faults: int count lower Faults that only link a shared table
address_space_bytes: int B lower Address space that one process gives to the regions, whole windows where only such can be mapped
{times}tlb_misses: float count lower TLB misses over all processes, during touch: each is a page walk
walk_cycles: float cycles lower Cycles in page walks over all processes, during touch
remote_walk_fraction: float 1 lower Share of page walks that touch a table on another node
placement_cost_ns: float ns/s lower Cost of the placement per second of run: memory, remote reads and walks, replicas, traffic
moving_cost_ns: float ns lower CPU time that all moves of a placed cell take
lock_wait_ns: float ns lower Waiting for locks that faulters share, per process, during touch
tlb_flushes: int count lower TLB flushes that touching, protecting and unmapping order, over all processes
shootdowns: int count lower TLB shootdown interrupts while processes touch, fork (not in predictions), protect and unmap
started_ns: float ns none When a real row's cell began, since 1970 in UTC: who ran when decides what a comparison can tell
memory: str - none Of a real row: warm if a cell took as much memory here within the ten minutes before, else cold
basis: str - none measured, exact, calibrated, published, conditioned or hypothetical; +sampled, +multiplexed, +extrapolated
page_table_saved_bytes: int B higher Page-table bytes of the shmem row of the same baseline, engine and machine, less these
"""

_TIMES = "".join(
    f"{phase}_ns: float ns lower {phase.capitalize()} time per process, median\n"
    f"{phase}_ns_lo: float ns none Its 95 % interval, lower end\n"
    f"{phase}_ns_hi: float ns none Its 95 % interval, upper end\n"
    for phase in TIMED_PHASES
)

_TABLES = {
    "cells": _CELLS.format(times=_TIMES),
    "regions": _KEY
    + """
region: str - none Region
backing: str - none What it is made of
region_bytes: int B none Bytes, all instances
mappers: int count none Processes that map it
page_table_bytes: int B lower Page-table pages, a shared table once
pte_table_bytes: int B lower Of these, PTE pages
pmd_table_bytes: int B lower Of these, PMD pages
pud_table_bytes: int B lower Of these, PUD pages
data_bytes: int B lower The data, every copy
minor_faults: int count lower Minor faults during touch
linking_faults: int count lower Faults that only link a shared table
""",
    "groups": _KEY
    + """
group: str - none Process group
role: str - none Its role
processes: int count none Processes
machine: str - none Machine
node: int - none NUMA node; null where not bound
start_ns: float ns lower Start of attach after the cell's first, where it runs on several machines; null on one
start_error_ns: float ns lower How far that can be off: half of what the quickest look at the machine's clock took
""",
    "phases": _KEY
    + """
group: str - none Process group
phase: str - none launch, attach, touch, fork, protect, unmap or exit
order: int - none Position among the phases
p50_ns: float ns lower Per process, median
p95_ns: float ns lower Per process, 95th percentile
p99_ns: float ns lower Per process, 99th percentile
max_ns: float ns lower Per process, slowest
sum_ns: float ns lower Over all processes
wall_ns: float ns lower From the first start to the last end
page_table_bytes: int B lower Page-table pages of all groups after the phase, a shared table once; on the first group's row
minor_faults: int count lower Minor faults of the group in the phase
""",
    "nodes": _KEY
    + """
machine: str - none Machine
node: int - none NUMA node
data_bytes: int B lower Data pages there
page_table_bytes: int B lower Page-table pages there
processes: int count none Processes bound there
""",
    "migrations": _KEY
    + """
epoch: int - none Epoch
group: str - none Process group
what: str - none group, data or tables
from_machine: str - none From
from_node: int - none From
to_machine: str - none To
to_node: int - none To
bytes: int B lower Bytes moved
cost_ns: float ns lower What the move takes
break_even_ns: float ns lower Time after which it pays; null where it never does
advice: str - none move, stay or replicate
reason: str - none Why
""",
    "figures": _KEY
    + """
figure: str - none What an application says of itself: queries_per_second, latest_fork
value: float - none The figure; null where it could not be had
unit: str - none Its unit
better: str - none lower, higher or none
""",
    "fleet": _KEY
    + """
slot: int - none Stretch of the day, from 0
hour: float h none Hour of the day at which it begins
machines: int count lower Machines that run something at its end
data_bytes: int B lower Data in use
page_table_bytes: int B lower Page tables of shared memory in use
groups: int count none Process groups that run
moves: int count lower Groups moved to another machine
moved_bytes: int B lower Bytes of these
rejected: int count lower Groups that found no room
""",
    "environments": """
env: str - none Environment
machine: str - none Hardware digest
key: str - none Fact
value: str - none Its value; null where it could not be read
""",
    "samples": _KEY
    + """
group: str - none Process group
phase: str - none Phase
process: int - none Process within the cell; the quantile in per mille where samples=quantiles
value_ns: float ns lower Time
""",
}

TABLES = tuple(_TABLES)


def _lines(table: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, (line.strip() for line in _TABLES[table].splitlines())):
        name, rest = line.split(": ", 1)
        yield name, rest


@cache
def field_names(table: str) -> tuple[str, ...]:
    """Names of a table's columns, in order.

    Raises
    ------
    KeyError
        When there is no such table.
    """
    return tuple(name for name, _ in _lines(table))


def _fields(table: str) -> Iterator["pa.Field"]:
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    for name, rest in _lines(table):
        kind, unit, better, description = rest.split(" ", 3)
        metadata = {"unit": "" if unit == "-" else unit, "better": better, "description": description}
        yield pa.field(name, types[kind], metadata=metadata)


@cache
def schema(table: str) -> "pa.Schema":
    """Return the schema of one table, with its metadata.

    Raises
    ------
    KeyError
        When there is no such table.
    """
    import pyarrow as pa

    return pa.schema(list(_fields(table)), metadata={"schema_version": SCHEMA_VERSION, "table": table})


def unit_of(table: str, column: str) -> str:
    """Unit of a column, empty where it has none."""
    unit = schema(table).field(column).metadata[b"unit"]
    return str(unit.decode())
