"""Named baselines: copies of stores to hold later runs against, and how a name given to `compare` becomes a store.

save_baseline(name, store) -> Path           copy a store's tables under a name
list_baselines() -> list[Baseline]
resolve(text, runs="mshare-runs") -> Store   a path, a baseline's name, or the id of a sweep
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.errors import StoreError
from mshare_bench.results.files import sync_folder, write_json
from mshare_bench.results.store import Store

__all__ = ["Baseline", "baselines_folder", "list_baselines", "resolve", "save_baseline"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A saved baseline."""

    name: str
    path: Path
    created: str
    sweep: str
    rows: int


def baselines_folder() -> Path:
    """Where baselines are kept: `$XDG_DATA_HOME/mshare-bench/baselines`."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "mshare-bench" / "baselines"


def save_baseline(name: str, store: Store, *, replace: bool = False) -> Path:
    """Copy the tables of a store under a name.

    Raises
    ------
    StoreError
        When the name is none, is taken (and not to be replaced), or the copy can't be written.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(f"baseline={name}: letters, digits, '.', '_' and '-' only")
    folder = baselines_folder()
    target, fresh = folder / name, folder / f".{name}.{os.getpid()}.tmp"
    if target.exists() and not replace:
        raise StoreError(f"baseline={name}: there is one already ({target}); say --replace to overwrite it")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        with Store.create(fresh, store.info.name, sweep=store.info.sweep, config=store.info.config) as copy:
            copy.append(store.tables())
            copy.compact()
            write_json(fresh / "store.json", {**dataclasses.asdict(store.info), "tracking": {}})
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
        sync_folder(folder)
    except OSError as error:
        raise StoreError(f"baseline={name}: can't be written to {folder} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def list_baselines() -> list[Baseline]:
    """Every baseline, by name; what can't be read is left out."""
    found = []
    for path in sorted(baselines_folder().glob("[!.]*/store.json")):
        try:
            store = Store.open(path.parent)
            rows = store.table("cells").num_rows
        except StoreError:
            continue
        found.append(Baseline(path.parent.name, path.parent, store.info.created, store.info.sweep, rows))
    return found


def resolve(text: str, runs: Path = Path("mshare-runs")) -> Store:
    """Find the store that a name means.

    Parameters
    ----------
    text
        A folder or one of its files, the name of a baseline, or the first eight digits or more of a sweep's id.
    runs
        Folder in which sweeps are looked for; the newest one counts.

    Raises
    ------
    StoreError
        When it means nothing.
    """
    if Path(text).exists():
        return Store.open(text)
    saved = baselines_folder() / text
    if _NAME.fullmatch(text) and saved.is_dir():
        return Store.open(saved)
    found = list(_sweeps(text, runs)) if len(text) >= 8 else []
    if found:
        return Store.open(max(found)[1])
    names = ", ".join(one.name for one in list_baselines()) or "none"
    raise StoreError(
        f"{text}: no results there, no sweep of that id in {runs}, and no such baseline (there are: {names})"
    )


def _sweeps(text: str, runs: Path) -> Iterator[tuple[str, Path]]:
    for path in runs.glob("*/store.json"):
        try:
            info = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(info, dict) and str(info.get("sweep", "")).startswith(text):
            yield str(info.get("created", "")), path.parent
