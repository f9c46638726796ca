"""Guests of QEMU: peers duplicate the tables of their memory; KSM merges frames and leaves tables."""

import os
import struct

import pytest

from mshare_bench.domain.units import MIB
from mshare_bench.study import run
from mshare_bench.workloads.apps.vm import guest_image
from tests.requirements import require
from tests.workloads.apps.installed import program

pytestmark = [pytest.mark.apps, pytest.mark.timeout(250), pytest.mark.usefixtures("own_folder")]


@pytest.fixture(autouse=True)
def _installed():
    require("apps", program("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
    require("apps", os.geteuid() == 0, "reading another process's pagemap takes root here")


def test_peers_have_the_tables_of_the_guests_memory_over_again():
    result = run(workload="app_vm", mechanism="shmem", processes=5, region="64MiB", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    measured, predicted = rows["real"]["page_table_bytes"], rows["sim"]["page_table_bytes"]
    assert measured == pytest.approx(predicted, rel=0.02)
    # The guest has written all but its first 2 MiB, the peers have read everything.
    assert measured >= (31 + 4 * 32) * 4096
    groups = {
        row["group"]: row["processes"]
        for row in result.table("groups").to_pylist()
        if row["cell"] == rows["real"]["cell"]
    }
    assert groups == {"guests": 1, "peers": 4}


def test_ksm_merges_frames_and_the_tables_stay():
    result = run(workload="app_vm", mechanism="ksm", processes=3, region="32MiB", tracking="none", out="o")
    rows = {row["engine"]: row for row in result.cells.to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}, rows
    figures = {row["figure"]: row["value"] for row in result.table("figures").to_pylist()}
    assert figures["merged"] > 0.8 * 3 * 30 * MIB
    # All tables are still there; a guest's QEMU itself leaves a few empty ones behind, which no page explains.
    more = rows["real"]["page_table_bytes"] - rows["sim"]["page_table_bytes"]
    assert 0 <= more <= 3 * 3 * 4096
    assert rows["sim"]["page_table_bytes"] >= 3 * 15 * 4096
    # Three guests hold little more than one guest's data now.
    assert rows["real"]["data_bytes"] < 0.6 * 3 * 32 * MIB


def test_the_guest_is_a_multiboot_image():
    image = guest_image(64 * MIB)
    magic, flags, checksum, header, load, _, _, entry = struct.unpack_from("<8I", image)
    assert magic == 0x1BADB002
    assert (magic + flags + checksum) & 0xFFFFFFFF == 0
    assert header == load == 1 << 20
    assert entry == load + 32
    assert struct.unpack_from("<I", image, 38)[0] == (64 * MIB - 2 * MIB) // 4096
