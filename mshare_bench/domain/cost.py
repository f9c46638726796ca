"""Unit costs: what one step of the kernel or the hardware takes on one machine, and a machine's collection of them.

Times are predicted as sums of counts times unit costs (`mshare_bench.sim.time`); the counts are exact, so what a prediction is
worth is what these numbers are worth. Each therefore carries an interval and where it comes from. Intervals are 95 %; a
published figure without one has `low == high == value`. A cost that a machine can't show, or not well enough, is null:
what needs it is then null too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from mshare_bench.domain.cell import digest
from mshare_bench.domain.unit_costs import UNIT_COSTS
from mshare_bench.errors import ConfigError

__all__ = ["BASES", "CostModel", "UnitCost"]

BASES = ("calibrated", "published", "assumed")
"""Where a number can come from: measured here, taken from a publication, or neither."""

_KEYS = ("name", "value", "low", "high", "unit", "source", "basis")


@dataclass(frozen=True, slots=True)
class UnitCost:
    """One unit cost.

    Attributes
    ----------
    value, low, high
        The number and its 95 % interval, in `unit`.
    unit
        As `UNIT_COSTS` has it.
    source
        Publication, or how it was measured.
    basis
        One of `BASES`.
    """

    value: float
    low: float
    high: float
    unit: str
    source: str
    basis: Literal["calibrated", "published", "assumed"]


@dataclass(frozen=True, slots=True)
class CostModel:
    """The unit costs of one machine.

    Attributes
    ----------
    name
        Of the profile; what `cost=` says.
    machine
        The machine that they hold for: a digest of its hardware where calibrated.
    costs
        By name; None for what could not be determined, absent for what nobody tried.
    basis
        What a time that is computed from them is.
    environment
        Facts of the machine when it was calibrated.
    """

    name: str
    machine: str
    costs: Mapping[str, UnitCost | None]
    basis: Literal["calibrated", "published", "assumed"] = "published"
    description: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "CostModel":
        """Read a profile from plain values, as its YAML has them.

        Parameters
        ----------
        values
            `name`, `machine`, `basis`, `costs` (a list of mappings with `name`, `value`, `unit`, `source` and, where there is an
            interval, `low` and `high`), `clock_ghz` (needed where a number is in cycles), `description`, `environment`.

        Raises
        ------
        ConfigError
            For a cost that is unknown, negative, without a unit or in another unit than it has, an interval that does not hold
            the value, or a source that is missing.
        """
        name = str(values.get("name") or "")
        if not name:
            raise ConfigError("cost.name: a cost profile needs a name")
        basis = str(values.get("basis") or "published")
        _require(basis in BASES, f"cost.basis={basis}: not one of {', '.join(BASES)}")
        rows = values.get("costs")
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ConfigError(f"cost.costs={rows}: must be a list of unit costs ({name})")
        clock = values.get("clock_ghz")
        _require(
            clock is None or (_is_number(clock) and clock > 0), f"cost.clock_ghz={clock}: must be a positive number"
        )
        costs: dict[str, UnitCost | None] = {}
        for row in rows:
            key, cost = _read(row, basis, None if clock is None else float(clock))
            _require(key not in costs, f"cost.{key}: given twice in the profile {name}")
            costs[key] = cost
        return cls(
            name,
            str(values.get("machine") or name),
            costs,
            cast(Literal["calibrated", "published", "assumed"], basis),
            str(values.get("description") or ""),
            dict(values.get("environment") or {}),
        )

    @property
    def digest(self) -> str:
        """Digest of the numbers: what a time computed from them depends on."""
        return digest({key: None if one is None else [one.value, one.low, one.high] for key, one in self.costs.items()})

    def get(self, name: str) -> UnitCost | None:
        """The cost of that name; None where the profile has none.

        Raises
        ------
        ConfigError
            When no unit cost is called so.
        """
        _require(name in UNIT_COSTS, f"cost.{name}: no such unit cost")
        return self.costs.get(name)

    def values(self) -> dict[str, Any]:
        """The profile as plain values, from which `of` makes it again."""
        rows: list[dict[str, Any]] = []
        for key, one in self.costs.items():
            row: dict[str, Any] = {"name": key, "value": None, "unit": UNIT_COSTS[key].unit}
            if one is not None:
                row |= {"value": one.value, "low": one.low, "high": one.high, "source": one.source}
                row |= {} if one.basis == self.basis else {"basis": one.basis}
            rows.append(row)
        return {
            "name": self.name,
            "machine": self.machine,
            "description": self.description,
            "basis": self.basis,
            "environment": dict(self.environment),
            "costs": rows,
        }


def _read(row: Any, basis: str, clock_ghz: float | None) -> tuple[str, UnitCost | None]:
    if not isinstance(row, Mapping) or "name" not in row:
        raise ConfigError(f"cost.costs={row}: must be a mapping with a name, a value and a unit")
    name = str(row["name"])
    _require(
        name in UNIT_COSTS, f"cost.{name}={row.get('value')}: no such unit cost; there are {', '.join(UNIT_COSTS)}"
    )
    for key in row:
        _require(key in _KEYS, f"cost.{name}.{key}={row[key]}: a unit cost has {', '.join(_KEYS)}")
    wanted, unit = UNIT_COSTS[name].unit, row.get("unit")
    _require(bool(unit), f"cost.{name}={row.get('value')}: has no unit; it is in {wanted}")
    scale = 1.0
    if unit == "cycles" and wanted == "ns":
        if clock_ghz is None:
            raise ConfigError(f"cost.{name}.unit=cycles: needs cost.clock_ghz")
        scale = 1 / clock_ghz
    else:
        _require(unit == wanted, f"cost.{name}.unit={unit}: it is in {wanted}")
    if row.get("value") is None:
        return name, None
    value = _number(name, "value", row["value"])
    low, high = (value if row.get(key) is None else _number(name, key, row[key]) for key in ("low", "high"))
    _require(low <= value <= high, f"cost.{name}={value}: lies outside its interval [{low}, {high}]")
    source = str(row.get("source") or "")
    _require(bool(source), f"cost.{name}={value}: has no source")
    own = str(row.get("basis") or basis)
    _require(own in BASES, f"cost.{name}.basis={own}: not one of {', '.join(BASES)}")
    kind = cast(Literal["calibrated", "published", "assumed"], own)
    return name, UnitCost(value * scale, low * scale, high * scale, wanted, source, kind)


def _number(name: str, key: str, number: object) -> float:
    if not isinstance(number, int | float) or not _is_number(number):
        raise ConfigError(f"cost.{name}.{key}={number}: not a number")
    _require(number >= 0, f"cost.{name}.{key}={number}: must not be negative")
    return float(number)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) != float("inf")
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)
