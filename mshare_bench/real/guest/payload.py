"""The part of the running Python that the real engine needs, found by loading it once in a process of its own.

What that process has loaded then (modules, their compiled form, extension modules and the shared libraries behind them) is the
whole payload: some 70 MB, whatever kind of Python this is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.guest.debian import cache_folder

__all__ = ["Payload", "find_payload", "loaded_files"]

_ENTRY = "mshare_bench.real.guest.inside"
_ROOTS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Payload:
    """Files to take along, and how the interpreter is started there.

    Attributes
    ----------
    files
        Absolute paths, the same in the guest.
    links
        Symbolic links by their absolute path: other names of libraries, and where `/lib` and its like are links here.
    command
        The interpreter with its arguments.
    environment
        Variables that it needs.
    """

    files: tuple[Path, ...]
    links: dict[str, str]
    command: tuple[str, ...]
    environment: dict[str, str]


def loaded_files() -> list[str]:
    """Files that this process has loaded: modules with their compiled form, and everything that is mapped to be executed."""
    found: set[str] = set()
    for module in list(sys.modules.values()):
        for name in ("__file__", "__cached__"):
            path = getattr(module, name, None)
            if isinstance(path, str) and Path(path).is_file():
                found.add(path)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            words = line.rstrip("\n").split(maxsplit=5)
            if len(words) == 6 and words[5].startswith("/") and "x" in words[1] and Path(words[5]).is_file():
                found.add(words[5])
    return sorted(found)


def find_payload() -> Payload:
    """Load the guest's side in a process of its own and take what it has loaded.

    Raises
    ------
    CapabilityError
        When it can't be loaded, with the last line of what it said.
    """
    command = [sys.executable, "-m", _ENTRY, "--files"]
    # Compiling the modules would take the guest longer than all else, so they come compiled, whatever is installed here.
    compiled = str(cache_folder() / "compiled")
    # An editable install is found by a hook that does not go along, so the folder that holds the package is named too.
    path = os.pathsep.join([str(Path(__file__).parents[3]), *(one for one in sys.path if one)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": compiled, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise CapabilityError(f"host=guest: the guest's side can't be loaded: {last}")
    files = tuple(Path(one) for one in json.loads(done.stdout))
    folders = _library_folders(files)
    variables = {
        "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}",
        "PYTHONPATH": path,
        "PYTHONPYCACHEPREFIX": compiled,
        "PYTHONUTF8": "1",
        "LD_LIBRARY_PATH": ":".join(folders),
        "OPENBLAS_NUM_THREADS": "1",
        "NUMPY_MADVISE_HUGEPAGE": "0",
        "PATH": "/bin:/sbin:/usr/bin:/usr/sbin",
        "HOME": "/",
        "XDG_CACHE_HOME": str(cache_folder().parents[1]),
    }
    interpreter = os.path.realpath(sys.executable)
    return Payload(files, {**_top_links(), **_aliases(files)}, (interpreter, "-S", "-m", _ENTRY), variables)


def _library_folders(files: Sequence[Path]) -> list[str]:
    return sorted({str(one.parent) for one in files if one.name.startswith("lib") and ".so" in one.name})


def _top_links() -> dict[str, str]:
    """`/lib64` and its like, which are links into `/usr` on most distributions: the loader is named by such a path."""
    return {root: str(Path(root).readlink()) for root in _ROOTS if Path(root).is_symlink()}


def _aliases(files: Sequence[Path]) -> dict[str, str]:
    """Other names of the libraries, in their own folders: programs ask for `libz.so.1`, the file is `libz.so.1.3`."""
    wanted = {str(one) for one in files if ".so" in one.name}
    links: dict[str, str] = {}
    # The loader is named by a path of the second kind in every program.
    for folder in {*(one.parent for one in files if ".so" in one.name), *(Path(root).resolve() for root in _ROOTS)}:
        for entry in os.scandir(folder) if folder.is_dir() else ():
            if entry.is_symlink() and ".so" in entry.name and os.path.realpath(entry.path) in wanted:
                links[entry.path] = os.path.realpath(entry.path)
    return links
