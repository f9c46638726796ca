"""The simulator against the running kernel, cell by cell: bytes, faults and times of the same points, paired by their digest.

Bytes and faults must be equal; where the kernel tells them only for the whole machine, within that counter's noise. Times need a
cost profile of this machine. They pass or fail on a quiet machine only: the real cells run twice, and where two runs of the
same cell differ by more than `QUIET`, their times are reported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import GIB, MIB, format_size
from mshare_bench.results.schema import TIMED_PHASES
from mshare_bench.sim.points import make_point
from mshare_bench.validation.comparison import Comparison, median_error

__all__ = ["COUNTS", "QUIET", "REPEATS", "TIME_TOLERANCE", "UNFITTED", "compare_cells", "kernel_cells"]

REPEATS = {"real": 2}
"""How often each cell runs, by engine: two real runs tell how quiet the machine is."""
UNFITTED = ("hpc_ranks", "container_libs")
"""Workloads beside the one whose runs set the unit costs: their times are out-of-sample."""
COUNTS = ("page_table_bytes", "data_bytes", "minor_faults")
"""What must be equal."""
QUIET = 0.03
"""A machine is quiet where two runs of a cell differ by less, at the median over cells and phases."""
TIME_TOLERANCE = 0.25
"""Relative error of a time that passes, on a quiet machine."""
MEDIAN_TOLERANCE = 0.10
"""The same, of the median error over all times."""
_PSS_RESOLUTION = 1024
"""Bytes by which a process's share of its data can read low: smaps cuts every mapping's Pss to whole KiB."""
_NOISE_FACTOR = 20
_SHARED_TOLERANCE = 0.005


def kernel_cells(
    small: bool, cost: str = "", machine: str = "", model: Callable[[str], str] = lambda _engine: ""
) -> list[Cell]:
    """Cells for both engines: every mechanism that shares its data, private ones, and workloads that no cost is fitted on.

    Parameters
    ----------
    small
        A few processes and megabytes, for a check that must end quickly.
    cost
        Profile that prices the simulated ones; empty for none.
    machine
        Digest of the hardware.
    model
        Model version of an engine.
    """
    region, processes = (32 * MIB, 12) if small else (GIB, 100)
    private = (16 * MIB, 6) if small else (256 * MIB, 8)
    points = [
        make_point(name, processes, region, write_fraction=writes, options=options)
        for name, writes, options in (
            ("shmem", 0.0, {}),
            ("shmem", 1.0, {}),
            ("sysv", 0.0, {}),
            ("thp", 0.0, {}),
            ("inherit", 0.0, {"memory": "shared"}),
            ("shared_mm", 0.0, {"kind": "process"}),
            ("shared_mm", 0.0, {"kind": "thread"}),
        )
    ]
    points += [
        make_point(name, private[1], private[0], write_fraction=writes)
        for name, writes in (("inherit", 0.5), ("anon_thp", 0.0), ("private_file", 0.0))
    ]
    points.append(make_point("hugetlb", processes, 64 * MIB if small else GIB))
    points += [make_point("shmem", processes, region, workload=name) for name in UNFITTED]
    return [
        Cell(
            point,
            engine,
            machine=machine if engine == "real" else "",
            cost=cost if engine == "sim" else "",
            model=model(engine),
        )
        for point in points
        for engine in ("sim", "real")
    ]


def compare_cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[Comparison]:
    """Pair simulated and real rows by point.

    Parameters
    ----------
    rows
        Of the table `cells`, real ones with up to two repeats.
    """
    pairs: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        pairs.setdefault(row["point"], {"sim": [], "real": []})[row["engine"]].append(row)
    measured = [both["real"] for both in pairs.values() if len(both["real"]) > 1]
    drift = _drift(measured)
    times: list[Comparison] = []
    for both in pairs.values():
        if not both["sim"] or not both["real"]:
            continue
        sim, real = both["sim"][0], both["real"]
        done = [row for row in real if row["status"] == "ok"]
        if sim["status"] != "ok" or not done:
            why = sim["error"] or real[0]["error"] or ""
            yield Comparison(
                _name(sim), "", _where(sim), None, None, None, "this kernel", block="kernel", note=str(why)
            )
            continue
        yield from _counts(sim, done[0])
        times.extend(_times(sim, done, drift))
    yield from times
    error = median_error(times)
    if error is not None:
        yield Comparison(
            "this machine",
            "median error of times, over 1",
            f"{sum(one.ratio is not None for one in times)} times",
            1 + error,
            1.0,
            MEDIAN_TOLERANCE if drift < QUIET else None,
            "this kernel",
            block="kernel",
            note=_noisy(drift),
        )


def _noisy(drift: float) -> str:
    return "" if drift < QUIET else f"noisy machine: two runs of a cell differ by {drift:.0%} at the median"


def _drift(measured: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    apart = [
        abs(first[f"{phase}_ns"] / second[f"{phase}_ns"] - 1)
        for first, second, *_ in measured
        for phase in TIMED_PHASES
        if first[f"{phase}_ns"] and second[f"{phase}_ns"]
    ]
    return median(apart) if apart else float("inf")


def _name(row: Mapping[str, Any]) -> str:
    return str(row["mechanism"]) + (f" {row['variant']}" if row["variant"] else "")


def _where(row: Mapping[str, Any]) -> str:
    return (
        f"{row['workload']}, {row['processes']} processes, {format_size(row['region_bytes'])}, {row['access']}, "
        f"{row['write_fraction']:.0%} written"
    )


def _counts(sim: Mapping[str, Any], real: Mapping[str, Any]) -> Iterator[Comparison]:
    for name in COUNTS:
        if sim[name] is None or real[name] is None:
            continue
        tolerance: float | None = 0.0
        source, note = "this kernel", ""
        if name == "data_bytes" and sim[name] > sim["region_bytes"]:  # copies of one's own are read from Pss
            tolerance, note = sim["processes"] * _PSS_RESOLUTION / real[name], "Pss is cut to KiB per process"
        if name == "page_table_bytes":
            source = f"this kernel, {real['page_table_source']}"
            noise = real["page_table_noise_bytes"] or 0
            if real["page_table_source"] == "PageTables":
                # A counter of the whole machine says something only well above its own noise.
                drowned = sim[name] < _NOISE_FACTOR * max(noise, 4 * MIB)
                tolerance = None if drowned else _SHARED_TOLERANCE
                note = f"below {_NOISE_FACTOR} times the noise" if drowned else ""
        yield Comparison(
            _name(sim),
            name,
            _where(sim),
            float(sim[name]),
            float(real[name]),
            tolerance,
            source,
            unit="" if name == "minor_faults" else "B",
            block="kernel",
            note=note,
        )


def _times(sim: Mapping[str, Any], real: Sequence[Mapping[str, Any]], drift: float) -> Iterator[Comparison]:
    for phase in TIMED_PHASES:
        predicted = sim[f"{phase}_ns"]
        measured = [row[f"{phase}_ns"] for row in real if row[f"{phase}_ns"]]
        if not measured:
            continue
        note = _noisy(drift)
        if predicted is None:
            note = (
                "the profile lacks a unit cost" if sim["cost"] else "no cost profile: mshare-bench calibrate makes one"
            )
        yield Comparison(
            _name(sim),
            f"{phase}_ns",
            _where(sim),
            predicted,
            min(measured),
            TIME_TOLERANCE if drift < QUIET else None,
            "this kernel",
            unit="ns",
            block="out_of_sample" if sim["workload"] in UNFITTED else "kernel",
            note=note,
        )
