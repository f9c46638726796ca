"""Raw reading of ``/proc`` and ``/sys`` files, for readers that are called ten thousand times in a row.

``open()`` builds three Python objects per file and decodes the text; for 10,000 processes that costs more than the
kernel needs to produce it. These functions go straight to ``open(2)`` and ``read(2)`` and hand out bytes.

A process that ended between two reads is not an error here: its files read as ``None``. What the caller may not read is
a :class:`~mshare_bench.errors.CapabilityError` that names the file.
"""

import os
from pathlib import Path

from mshare_bench.errors import CapabilityError

__all__ = ["keyed_kib", "read_file", "read_int", "read_process_file", "read_text", "start_time"]

_CHUNK = 1 << 16
_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)


def read_file(path: str) -> bytes | None:
    """
    Read a whole kernel file.

    Parameters
    ----------
    path : str
        A file below ``/proc`` or ``/sys``. Their size shows as 0, so reading goes on until an empty read.

    Returns
    -------
    bytes or None
        The contents; None where the file (or its process) is not there.

    Raises
    ------
    CapabilityError
        When the file is there and this user may not read it, or the kernel refuses with another error.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except _GONE:
        return None
    except OSError as error:
        raise CapabilityError(f"cannot read {path}: {error.strerror}") from error
    try:
        data = os.read(descriptor, _CHUNK)
        # A short read is not the end: the kernel stops before a record (a line with a long path) that does not fit.
        while more := os.read(descriptor, _CHUNK):
            data += more
        return data
    except _GONE:
        return None
    except OSError as error:
        raise CapabilityError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def read_process_file(pid: int, name: str) -> bytes | None:
    """
    Read ``/proc/<pid>/<name>``.

    Returns
    -------
    bytes or None
        None when the process has ended or the kernel has no such file.

    Raises
    ------
    CapabilityError
        When this user may not read it.
    """
    return read_file(f"/proc/{pid}/{name}")


def read_text(path: str | Path) -> str | None:
    """Read a small kernel file as stripped text; None where it is absent **or** may not be read."""
    try:
        data = read_file(str(path))
    except CapabilityError:
        return None
    return None if data is None else data.decode("utf-8", "replace").strip()


def read_int(path: str | Path) -> int | None:
    """Read a kernel file that holds one decimal integer; None where it is absent, unreadable or not a number."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return None


def keyed_kib(data: bytes, key: bytes) -> int | None:
    """
    Find a ``Key:   123 kB`` line and give its bytes.

    Parameters
    ----------
    data : bytes
        Contents in the layout of ``/proc/meminfo``, ``/proc/PID/status`` or one ``smaps`` entry.
    key : bytes
        The name without the colon; it must start a line (or, in a node's ``meminfo``, follow a blank).

    Returns
    -------
    int or None
        Bytes (the kernel prints units of 1024); None where there is no such line.
    """
    needle = key + b":"
    at = data.find(needle)
    while at > 0 and data[at - 1] not in b"\n ":
        at = data.find(needle, at + 1)
    if at < 0:
        return None
    end = data.find(b"kB", at)
    return int(data[at + len(needle) : end]) * 1024


def start_time(pid: int) -> int | None:
    """
    When a process started, in clock ticks since boot (field 22 of ``/proc/PID/stat``).

    Together with the pid it names a process for the time of one boot: pids are reused, start times are not.

    Returns
    -------
    int or None
        None when there is no such process, or only a zombie is left of it.
    """
    data = read_process_file(pid, "stat")
    if data is None:
        return None
    # The command name (field 2) may hold blanks and brackets; everything after its last ")" is regular.
    fields = data[data.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
