"""The archive, unpacked again by cpio."""

import io
import os
import shutil
import subprocess
from pathlib import Path

from mshare_bench.real.guest.initramfs import Initramfs
from tests.requirements import require


def test_cpio_unpacks_what_was_put_in(tmp_path: Path) -> None:
    require("guest", shutil.which("cpio") is not None, "apt install cpio")
    source = tmp_path / "tool"
    source.write_bytes(b"odd")
    source.chmod(0o700)
    os.utime(source, (1_600_000_000, 1_600_000_000))
    stream = io.BytesIO()
    archive = Initramfs(stream)
    archive.data("/a/b/empty", b"")
    archive.data("/init", b"#!/bin/sh\n", executable=True)
    archive.file(source, "/a/tool")
    archive.data("/a/tool", b"a second file of that name")
    archive.link("/lib64", "usr/lib64")
    archive.close()
    target = tmp_path / "unpacked"
    target.mkdir()
    unpacked = subprocess.run(
        ["cpio", "--extract", "--preserve-modification-time", "--quiet"],
        input=stream.getvalue(),
        cwd=target,
        capture_output=True,
        check=True,
    )
    assert unpacked.stderr == b""
    assert (target / "a/b/empty").read_bytes() == b""
    assert (target / "a/tool").read_bytes() == b"odd"
    assert (target / "a/tool").stat().st_mtime == 1_600_000_000
    assert (target / "a/tool").stat().st_mode & 0o777 == 0o755
    assert (target / "init").read_bytes() == b"#!/bin/sh\n"
    assert (target / "lib64").readlink() == Path("usr/lib64")


def test_a_folder_goes_in_with_all_that_it_holds(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one.ko").write_bytes(b"1")
    (tmp_path / "two").symlink_to("inner/one.ko")
    archive = Initramfs(io.BytesIO())
    archive.tree(tmp_path, "/extra")
    assert "/extra/inner/one.ko" in archive
    assert "/extra/two" in archive
    assert "/inner" not in archive
