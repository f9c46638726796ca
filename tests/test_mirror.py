"""Every module has a test file of its name, or a reason not to have one."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKLOADS = "tests/workloads/test_workloads.py holds every workload against the same rules"
REFERENCE = "the plain model: the oracle of tests/sim/mmu/test_simulate.py and test_streams.py"
EXEMPT = {
    "mshare_bench/domain/application.py": "values that drivers and tests/real/test_applications.py hand on, without rules",
    "mshare_bench/domain/ports.py": "protocols: mypy holds what implements them against them",
    "mshare_bench/domain/workload.py": "its rules show in tests/workloads/test_workloads.py and tests/sim/test_accounting.py",
    "mshare_bench/sim/inherited.py": "tests/mechanisms/test_inherit.py and tests/sim/test_agreement.py count what it counts",
    "mshare_bench/sim/mmu/reference.py": REFERENCE,
    "mshare_bench/sim/mmu/reference_streams.py": REFERENCE,
    "mshare_bench/sim/points.py": "nearly every test of the simulator makes its points with it",
    "mshare_bench/sim/result.py": "values whose sums tests/sim/test_accounting.py checks",
    "workloads/container_libs.py": WORKLOADS,
    "workloads/db_buffer_pool.py": WORKLOADS,
    "workloads/fleet.py": "tests/sim/test_fleet.py and tests/placement/test_fleet.py",
    "workloads/hpc_ranks.py": WORKLOADS,
    "workloads/redis_cluster.py": WORKLOADS,
    "workloads/region.py": WORKLOADS,
    "workloads/registry.py": WORKLOADS,
    "workloads/vm_hosts.py": WORKLOADS,
}
MODULES = sorted(
    str(path.relative_to(ROOT))
    for room in ("mshare_bench", "workloads")
    for path in (ROOT / room).rglob("*.py")
    if not path.name.startswith("_") and not path.is_relative_to(ROOT / "mshare_bench" / "workloads")
)


def file_for(module: str) -> Path:
    """`mshare_bench/sim/faults.py` is tested in `tests/sim/test_faults.py`, `workloads/region.py` in `tests/workloads/`."""
    path = Path(module.removeprefix("mshare_bench/"))
    return ROOT / "tests" / path.with_name(f"test_{path.name}")


def test_every_module_has_a_test_file_of_its_name_or_a_reason_not_to() -> None:
    without = {module for module in MODULES if not file_for(module).is_file()}
    assert without == set(EXEMPT)  # so an exemption goes as soon as there is a file, or the module is gone
