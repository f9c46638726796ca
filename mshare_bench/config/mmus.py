"""MMUs from composed configurations: `mmu=NAME` finds `conf/mmu/NAME.yaml`, bundled or the user's own."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mshare_bench.domain.mmu import geometry_from_mapping
from mshare_bench.domain.mmu_setting import MmuSetting
from mshare_bench.domain.units import parse_count, parse_duration
from mshare_bench.errors import ConfigError

__all__ = ["mmu_of"]

_OPTIONS = ("tags", "quantum", "access", "cores", "passes", "sample", "stream", "trace", "base")


def mmu_of(values: Mapping[str, Any]) -> MmuSetting | None:
    """Read the MMU and its settings out of composed values; None where none was chosen.

    Raises
    ------
    ConfigError
        Naming the key and the value: a number that is missing or wrong, a TLB whose sets are no power of two, a setting
        without an MMU, a trace that can't be read.
    """
    tree = _nested({key[len("mmu.") :]: value for key, value in values.items() if key.startswith("mmu.")})
    options = {key: tree.pop(key, None) for key in _OPTIONS}
    if not tree.get("name"):
        for key in ("stream", "trace"):
            if options[key] is not None:
                raise ConfigError(f"mmu.{key}={options[key]}: needs an MMU; say mmu=NAME")
        return None
    stream, trace = options["stream"], options["trace"]
    params = dict(stream) if isinstance(stream, Mapping) else {"kind": stream}
    sample = options["sample"]
    return MmuSetting(
        geometry=geometry_from_mapping(tree),
        tags=options["tags"],
        quantum_ns=parse_duration(options["quantum"], "mmu.quantum"),
        access_ns=parse_duration(options["access"], "mmu.access"),
        cores=parse_count(options["cores"], "mmu.cores", 1),
        passes=parse_count(options["passes"], "mmu.passes", 1),
        sample_processes=parse_count(sample["processes"], "mmu.sample.processes", 1),
        sample_accesses=parse_count(sample["accesses"], "mmu.sample.accesses", 1),
        stream="" if stream is None else str(params.pop("kind", None)),
        stream_params=() if stream is None else tuple(sorted(params.items())),
        trace="" if trace is None else str(trace),
        trace_digest="" if trace is None else _content(str(trace)),
        trace_base=_address(options["base"]),
    )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return tree


def _content(trace: str) -> str:
    """Digest of a file's content: another trace under the same name runs again."""
    try:
        with Path(trace).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise ConfigError(f"mmu.trace={trace}: {error.strerror or 'cannot be read'}") from error


def _address(value: object) -> int:
    """An address as a number, in hexadecimal too."""
    try:
        found = int(str(value), 0)
    except ValueError:
        found = -1
    if found < 0:
        raise ConfigError(f"mmu.base={value}: not an address such as 0x7f0000000000")
    return found
