"""What two stores were made on, and what of it differs."""

from collections.abc import Iterable
from dataclasses import dataclass

from mshare_bench.errors import StoreError
from mshare_bench.results.store import Store

__all__ = ["KINDS", "Fact", "Where", "differing_facts", "kind_of_fact", "refuse_strangers"]

KINDS = ("hardware", "kernel", "software")
"""Kinds of facts of an environment. Hardware and kernel must be equal, or named; software is shown."""

_HARDWARE = ("machine", "cpu", "architecture", "cpus", "nodes", "memory_gib", "virtualisation", "microcode")
_SOFTWARE = ("python", "libc", "git_commit")

Where = tuple[str | None, str | None]
"""A row's `env` and `machine`."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something of the environment that differs."""

    kind: str
    key: str
    first: str | None
    second: str | None


def kind_of_fact(key: str) -> str:
    """Say what a fact is about: `hardware`, `software`, or else the `kernel` and its switches."""
    if key in _HARDWARE:
        return "hardware"
    return "software" if key in _SOFTWARE or key.startswith("package_") else "kernel"


def differing_facts(first: Store, second: Store, pairs: Iterable[tuple[Where, Where]]) -> tuple[Fact, ...]:
    """Find what differs between the environments of rows that are compared.

    Parameters
    ----------
    first, second
        The stores.
    pairs
        Where the rows of each pair were made; without any, only the software of the stores is compared.
    """
    one, two = _environments(first), _environments(second)
    found: dict[Fact, None] = {}
    seen = set(pairs)
    software_only = not seen
    if software_only and one and two:
        seen = {((next(iter(one)), None), (next(iter(two)), None))}
    for (env, machine), (other_env, other_machine) in sorted(seen, key=str):
        before = {"machine": machine, **one.get(env or "", {})}
        after = {"machine": other_machine, **two.get(other_env or "", {})}
        for key in dict.fromkeys((*before, *after)):
            kind = kind_of_fact(key)
            if before.get(key) != after.get(key) and (kind == "software" or not software_only):
                found[Fact(kind, key, before.get(key), after.get(key))] = None
    return tuple(sorted(found, key=lambda fact: (KINDS.index(fact.kind), fact.key)))


def refuse_strangers(facts: Iterable[Fact], across: Iterable[str], first: Store, second: Store) -> None:
    """Refuse machines that differ in hardware or kernel, but for the kinds and facts named in `across`.

    Raises
    ------
    StoreError
        Naming what differs and how to allow it, or a name in `across` that means nothing.
    """
    named = set(across)
    keys = {key for store in (first, second) for one in _environments(store).values() for key in one}
    for name in sorted(named - {*KINDS, "machine"} - keys):
        raise StoreError(f"across={name}: neither a fact of these environments nor one of {', '.join(KINDS)}")
    strange = [fact for fact in facts if fact.kind != "software" and not {fact.kind, fact.key} & named]
    if strange:
        shown = "; ".join(f"{fact.key}: {fact.first} / {fact.second}" for fact in strange[:4])
        kinds = ",".join(dict.fromkeys(fact.kind for fact in strange))
        more = f" and {len(strange) - 4} more" if len(strange) > 4 else ""
        raise StoreError(f"the machines differ in {shown}{more}; to compare across that, say --across {kinds}")


def _environments(store: Store) -> dict[str, dict[str, str | None]]:
    found: dict[str, dict[str, str | None]] = {}
    for row in store.table("environments").to_pylist():
        found.setdefault(row["env"], {})[row["key"]] = row["value"]
    return found
