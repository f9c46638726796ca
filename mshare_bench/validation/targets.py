"""Published results in one YAML form, packaged or the user's own, checked when they are read (`docs/validation.md`).

The form is also a JSON schema, `published/schema.json`, for editors; what is read here is what counts.
"""

import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mshare_bench.errors import ConfigError

__all__ = ["SCHEMA_VERSION", "Expected", "NotPredicted", "Target", "all_targets", "packaged_targets", "read_targets"]

SCHEMA_VERSION = 1

_KEYS = {
    "id", "model", "source", "given", "expect", "rows", "fit", "unit", "tolerance", "columns", "replicas", "replicated",
    "not_predicted",
}  # fmt: skip
_REQUIRED = ("id", "model", "source", "tolerance")


@dataclass(frozen=True, slots=True)
class Expected:
    """One number that a model must give.

    Attributes
    ----------
    quantity
        As the model calls it.
    value, at_least
        What it must be near, or must reach; one of them.
    unit
        Unit of the number; empty for the quantity's own.
    given
        Coordinates that differ from the target's.
    """

    quantity: str
    value: float | None
    at_least: float | None
    unit: str
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotPredicted:
    """Published numbers that stand for reference only: values by what they belong to, and why no model predicts them."""

    quantity: str
    rows: Mapping[Any, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """One published result.

    Attributes
    ----------
    id, model, source
        Its name, which model predicts it, and where it stands.
    given
        Inputs of the model.
    expect
        Single numbers.
    rows
        A series (x to y), several of them by name, or rows of `columns`.
    fit
        Points, or columns, that may set a parameter; they are no predictions.
    unit
        Units of `x` and `y`.
    tolerance
        Relative error that passes; by quantity where there are several. 0 where it must be exact, None where the error is
        reported and neither passes nor fails.
    not_predicted
        Numbers beside it that are kept for reference.
    extra
        What else the model reads: `columns`, `replicas`, `replicated`.
    """

    id: str
    model: str
    source: str
    tolerance: float | Mapping[str, float] | None
    given: Mapping[str, Any] = field(default_factory=dict)
    expect: tuple[Expected, ...] = ()
    rows: Mapping[Any, Any] = field(default_factory=dict)
    fit: tuple[Any, ...] = ()
    unit: Mapping[str, str] = field(default_factory=dict)
    not_predicted: tuple[NotPredicted, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def tolerance_of(self, quantity: str) -> float | None:
        """Tolerance of one quantity."""
        return self.tolerance.get(quantity) if isinstance(self.tolerance, Mapping) else self.tolerance


def all_targets(path: str | Path | None = None) -> tuple[Target, ...]:
    """Targets that come with the package, and those of a file.

    Raises
    ------
    ConfigError
        As `read_targets` does, and for an id that the package has.
    """
    return _unique([*packaged_targets(), *(() if path is None else read_targets(path))])


def packaged_targets() -> tuple[Target, ...]:
    """Targets that come with the package."""
    folder = importlib.resources.files("mshare_bench.validation") / "published"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name)
    return _unique(target for file in files for target in _parse(file.read_text(encoding="utf-8"), file.name))


def read_targets(path: str | Path) -> tuple[Target, ...]:
    """Read a file of targets.

    Raises
    ------
    ConfigError
        When it can't be read, or is not of the form; the message names file, target and key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--targets={path}: can't be read: {error}") from error
    return _unique(_parse(text, str(path)))


def _parse(text: str, name: str) -> list[Target]:
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("targets"), Sequence):
        raise ConfigError(f"{name}: must be a mapping with schema_version and a list of targets")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ConfigError(
            f"{name}: schema_version={content.get('schema_version')}: this version reads {SCHEMA_VERSION}"
        )
    return [_target(one, name) for one in content["targets"]]


def _target(row: Any, name: str) -> Target:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{name}: {row}: a target must be a mapping")
    where = f"{name}: {row.get('id', 'a target without id')}"
    for key in _REQUIRED:
        if row.get(key) in (None, ""):
            raise ConfigError(f"{where}: {key} is missing")
    for key in row:
        if key not in _KEYS:
            raise ConfigError(f"{where}: {key}={row[key]}: no such key; there are {', '.join(sorted(_KEYS))}")
    if not row.get("expect") and not row.get("rows"):
        raise ConfigError(f"{where}: has neither expect nor rows")
    for key in ("given", "rows", "unit", "replicated"):
        if not isinstance(row.get(key, {}), Mapping):
            raise ConfigError(f"{where}: {key}={row[key]}: must be a mapping")
    for key in ("expect", "fit", "columns", "not_predicted"):
        if not isinstance(row.get(key, ()), list | tuple):
            raise ConfigError(f"{where}: {key}={row[key]}: must be a list")
    return Target(
        str(row["id"]),
        str(row["model"]),
        str(row["source"]),
        _tolerance(row["tolerance"], where),
        dict(row.get("given", {})),
        tuple(_expected(one, where) for one in row.get("expect", ())),
        dict(row.get("rows", {})),
        tuple(row.get("fit", ())),
        dict(row.get("unit", {})),
        tuple(_not_predicted(one, where) for one in row.get("not_predicted", ())),
        {key: row[key] for key in ("columns", "replicas", "replicated") if key in row},
    )


def _expected(row: Any, where: str) -> Expected:
    if not isinstance(row, Mapping) or not row.get("quantity"):
        raise ConfigError(f"{where}: expect={row}: must be a mapping with a quantity and a value")
    ends = {key: row.get(key) for key in ("value", "at_least")}
    if sum(one is not None for one in ends.values()) != 1:
        raise ConfigError(f"{where}: expect {row['quantity']}: has one of value and at_least")
    for key, number in ends.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            raise ConfigError(f"{where}: expect {row['quantity']}: {key}={number}: not a number")
    given = {key: value for key, value in row.items() if key not in ("quantity", "value", "at_least", "unit")}
    return Expected(str(row["quantity"]), ends["value"], ends["at_least"], str(row.get("unit") or ""), given)


def _not_predicted(row: Any, where: str) -> NotPredicted:
    if (
        not isinstance(row, Mapping)
        or set(row) != {"quantity", "rows", "reason"}
        or not isinstance(row["rows"], Mapping)
    ):
        raise ConfigError(f"{where}: not_predicted={row}: must be a mapping with a quantity, rows and a reason")
    return NotPredicted(str(row["quantity"]), dict(row["rows"]), str(row["reason"]))


def _tolerance(value: Any, where: str) -> float | Mapping[str, float] | None:
    if value == "exact":
        return 0.0
    if value == "reported":
        return None
    if isinstance(value, Mapping):
        return {str(key): _share(one, f"{where}: tolerance.{key}") for key, one in value.items()}
    return _share(value, f"{where}: tolerance")


def _share(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"{where}={value}: must be exact, reported, or a relative error such as 0.1")
    return float(value)


def _unique(targets: Iterable[Target]) -> tuple[Target, ...]:
    found: dict[str, Target] = {}
    for one in targets:
        if one.id in found:
            raise ConfigError(f"target {one.id}: there are two of that id")
        found[one.id] = one
    return tuple(found.values())
