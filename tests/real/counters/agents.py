"""Small processes for the counter tests: each maps, touches and waits, or shares its parent's address space."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

__all__ = ["python_child", "sharing_child"]

_CLONE_VM = 0x100


@contextlib.contextmanager
def python_child(body: str) -> Iterator[subprocess.Popen]:
    """Run `body`, in which `ready(*values)` prints and waits for the end of the ``with`` block; `.values` has them."""
    prelude = "import ctypes, mmap, os, sys\ndef ready(*v):\n print(*v, flush=True); sys.stdin.readline()\n"
    child = subprocess.Popen([sys.executable, "-c", prelude + body], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.values = [int(value) for value in child.stdout.readline().split()]
        # It has printed and is on its way into the read that it waits in: until then its pages still change.
        while _state(child.pid) == "R":
            time.sleep(0.001)
        yield child
    finally:
        child.kill()
        child.communicate()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def sharing_child() -> Iterator[int]:
    """Clone a process that sleeps on this process's own address space (CLONE_VM without CLONE_THREAD)."""
    libc = ctypes.CDLL(None, use_errno=True)
    stack = ctypes.create_string_buffer(1 << 16)
    # The child runs libc's pause() straight away: it touches nothing of the interpreter.
    entry = ctypes.cast(libc.pause, ctypes.c_void_p)
    top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~15)
    libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    pid = libc.clone(entry, top, _CLONE_VM | signal.SIGCHLD, None)
    assert pid > 0, os.strerror(ctypes.get_errno())
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
