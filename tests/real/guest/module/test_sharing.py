"""What happens to shared tables when processes do what processes do: `sharing.c`, in a guest with the module.

Each scenario ends with attaches equal to detaches and nothing held; the console shows no complaint of the kernel. With detaching
switched off the kernel complains at once, which shows that the scenarios can fail.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from mshare_bench.errors import CellFailed
from mshare_bench.real.guest.bed import Guest, find_bed
from mshare_bench.real.guest.kernel import find_kernel, image_release
from mshare_bench.real.guest.machine import PLAIN
from mshare_bench.real.guest.module.build import build_module
from tests.requirements import require

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

SCENARIOS = (
    "coherence", "refusals", "partial_unmap", "moves", "fork_tree", "execs", "kills", "observers", "signal_storm", "threads",
)  # fmt: skip
KERNELS = ("linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64")
FULL = bool(os.environ.get("MSHARE_BENCH_FULL"))
COMPLAINT = re.compile(r"BUG:|Bad page|WARNING:|Oops|general protection|soft lockup|non-zero pgtables")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    require("guest", shutil.which("qemu-system-x86_64") is not None, "qemu-system-x86 is not installed")
    own = Path(__file__).parent
    header = Path(build_module.__code__.co_filename).parent
    made = tmp_path_factory.mktemp("sharing") / "sharing"
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", f"-I{header}", "-o", str(made)]
    subprocess.run([*words, str(own / "sharing.c")], check=True)
    return made


def played(program, package, line, parameters=""):
    """Boot with the module, run a shell line, and return what the console has said until the engine answers."""
    module = build_module(image_release(find_kernel(package)))
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        shutil.copy(module, Path(folder) / "mshare_pte.ko")
        shutil.copy(program, folder)
        hook = f"insmod mshare_pte.ko {parameters} && echo loaded; {line}; dmesg | grep -A 20 -E '{COMPLAINT.pattern}'"
        with Guest(replace(find_bed(package), files=Path(folder), hook=hook), PLAIN, boot_seconds=550.0) as guest:
            return guest.console()


@pytest.mark.parametrize("package", KERNELS)
def test_every_scenario_ends_well_and_the_kernel_has_nothing_to_say(program, package):
    seconds = 60 if FULL else 5
    # Last a process that had a region, and goes on without it while the module is unloaded.
    unload = "./sharing former & sleep 2; rmmod mshare_pte && echo unloaded; wait"
    line = f"./sharing {' '.join(SCENARIOS)} stress={seconds}; {unload}"
    said = played(program, package, line)
    assert [name for name in (*SCENARIOS, f"stress={seconds}", "former") if f"ok {name}" not in said] == [], said[
        -3000:
    ]
    assert "unloaded" in said, said[-3000:]
    assert not COMPLAINT.search(said), said[-3000:]


def test_without_detaching_it_shows(program):
    try:
        said = played(program, KERNELS[0], "./sharing coherence", "detach=N")
    except CellFailed as error:  # with the last lines of the console
        said = str(error)
    assert "FAILED coherence" in said, said[-3000:]
    assert COMPLAINT.search(said), said[-3000:]


def test_sharing_on_against_off(program):
    # 256 MiB, 64 processes: leaf tables once and 64 times; the rest is what a process has of its own.
    said = played(program, KERNELS[1], "./sharing cost=0,64,256 cost=1,64,256")
    costs = dict(re.findall(r"cost (\w+) 64 x 256 MiB: PageTables \+(\d+) KiB, 128 faults each", said))
    assert set(costs) == {"private", "shared"}, said[-2000:]
    assert int(costs["private"]) - int(costs["shared"]) == pytest.approx(64 * 512, rel=0.01), said[-2000:]
