"""The program that reads Ray's store, spoken to as its driver does."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(200)


def test_it_tells_pids_then_reads_for_every_line_and_ends_with_its_input(tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-m", "mshare_bench.cluster.store_readers", "2", str(8 << 20), ""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        pids = json.loads(program.stdout.readline())["pids"]
        assert len(set(pids)) == 2
        program.stdin.write("read\n")
        program.stdin.flush()
        answer = json.loads(program.stdout.readline())
        assert answer["pids"] == pids
        assert all(taken > 0 for taken in answer["each_ns"])
        program.stdin.close()
        assert program.wait(60) == 0
    finally:
        program.kill()
        program.wait()
