"""Compiles the C agent: when the package is built, and on first use where that was not possible.

The binary's name holds a digest of its sources, so a binary that belongs to other sources is never started. This module
imports nothing but the standard library: ``setup.py`` loads it by its path.

The agent needs no C library, only a compiler for x86-64 or arm64 Linux and the kernel's headers; the ``ziglang`` wheel
(extra ``compiler``) brings both.
"""

__all__ = ["SOURCES", "binary_name", "build_agent", "digest", "find_compilers", "prebuilt_path", "zig_command"]

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_CODE = ("entry.c", "ops.c", "agent.c", "zygote.c")
SOURCES = (*_CODE, "protocol.h", "sys.h", "tree.h")
"""Names of the files that make the agent, in this folder."""

# No C library, fixed addresses, and nothing that would need either at run time.
_FLAGS = (
    "-O2",
    "-std=gnu11",
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-pic",
    "-no-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-jump-tables",
    "-fno-sanitize=all",
)
_ZIG_HEADERS = {"x86_64": "x86-linux-any", "aarch64": "aarch64-linux-any"}


def digest() -> str:
    """First 12 hex digits of the SHA-256 over the sources and the compiler flags."""
    sha = hashlib.sha256(repr(_FLAGS).encode())
    for name in SOURCES:
        sha.update(name.encode() + b"\0" + (_FOLDER / name).read_bytes())
    return sha.hexdigest()[:12]


def binary_name() -> str:
    """File name of the binary that belongs to these sources on this architecture."""
    return f"mshare-agent-{platform.machine()}-{digest()}"


def prebuilt_path() -> Path:
    """Where the binary lies that was compiled with the package (it may not be there)."""
    return _FOLDER / "bin" / binary_name()


def find_compilers() -> list[list[str]]:
    """Commands that may compile the agent, the most likely first; empty when this machine has none."""
    found = [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    return [*found, *([zig] if (zig := zig_command(platform.machine())) else [])]


def zig_command(machine: str) -> list[str] | None:
    """The compiler of the ``ziglang`` wheel for an architecture of `platform.machine`; None if it is not installed.

    Without a C library it leaves out the kernel's headers too, so they are named.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None or machine not in _ZIG_HEADERS:
        return None
    headers = Path(spec.origin).parent / "lib" / "libc" / "include"
    includes = [str(headers / folder) for folder in (_ZIG_HEADERS[machine], "any-linux-any")]
    target = ["-target", f"{machine}-linux-musl"]
    return [sys.executable, "-m", "ziglang", "cc", *target, "-isystem", includes[0], "-isystem", includes[1]]


def build_agent(into: Path, compilers: list[list[str]] | None = None) -> tuple[Path | None, list[str]]:
    """Compile the agent into a folder, with the first compiler that can.

    Parameters
    ----------
    into
        Folder of the binary; made (mode 0700) if it is not there.
    compilers
        Commands to try instead of those of `find_compilers`.

    Returns
    -------
    tuple
        The binary, or None; and one line for each compiler that failed.

    Raises
    ------
    OSError
        If the folder can't be made or written.
    """
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = into / binary_name()
    failures: list[str] = []
    for compiler in find_compilers() if compilers is None else compilers:
        handle, name = tempfile.mkstemp(prefix=".agent-", dir=into)
        os.close(handle)
        scratch = Path(name)
        command = [*compiler, *_FLAGS, "-o", str(scratch), *(str(_FOLDER / name) for name in _CODE)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode == 0:
                scratch.chmod(0o755)
                scratch.rename(target)
                return target, failures
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            failures.append(f"{compiler[0]}: {next((line for line in lines if 'error' in line), lines[0])}")
        except (OSError, subprocess.TimeoutExpired) as error:
            failures.append(f"{compiler[0]}: {error}")
        finally:
            scratch.unlink(missing_ok=True)
    return None, failures
