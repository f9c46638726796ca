"""Folders of runs: there while their owner lives, gone afterwards, with the segments that a killed server left."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.private_folder import private_folder, remove_stale_folders


def test_gone_at_the_end_and_kept_while_its_owner_lives(tmp_path):
    with private_folder(tmp_path / "runs") as folder:
        (folder / "data").mkdir()
        assert remove_stale_folders(tmp_path / "runs") == []
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o711
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_a_dead_owner_left_goes_at_the_next_start(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from mshare_bench.real.private_folder import private_folder\n"
        "with private_folder(Path(sys.argv[1])) as folder:\n    (folder / 'x').mkdir(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    with private_folder(tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]


def test_a_reused_pid_does_not_keep_a_folder(tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (folder / "owner.json").write_text(json.dumps({"pid": os.getpid(), "start": 1, "boot": boot}))
    assert remove_stale_folders(tmp_path) == [folder]


@pytest.mark.parametrize("attached", [False, True])
def test_a_sysv_segment_goes_with_it_unless_somebody_has_it(tmp_path, attached):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0, 4096, 0o1600)
    address = libc.shmat(segment, None, 0) if attached else None
    data = tmp_path / "left" / "data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"1\n/x\n0\n5432\n/s\n\n  0 {segment}\nready\n")
    remove_stale_folders(tmp_path)
    there = libc.shmctl(segment, 2, ctypes.create_string_buffer(256)) == 0
    libc.shmctl(segment, 0, None)
    if address:
        libc.shmdt(ctypes.c_void_p(address))
    assert there == attached


def test_where_none_can_be_made_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CapabilityError, match="no folder for a run's servers"), private_folder(tmp_path / "file"):
        pass
