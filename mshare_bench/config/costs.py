"""Cost profiles from composed configurations: `cost=NAME` finds `conf/cost/NAME.yaml`, bundled or the user's own."""

from collections.abc import Iterable, Mapping
from typing import Any

from mshare_bench.config.composer import Composer
from mshare_bench.domain.cost import CostModel
from mshare_bench.errors import ConfigError

__all__ = ["profile", "profile_of", "profiles"]

_KEYS = ("name", "machine", "basis", "description", "clock_ghz", "costs")
_FACTS = "cost.environment."
_read: dict[int, tuple[object, CostModel]] = {}


def profile_of(values: Mapping[str, Any]) -> CostModel | None:
    """Read the cost profile out of composed values; None where none was chosen.

    Raises
    ------
    ConfigError
        For a number that is unknown, negative or without a unit, naming it.
    """
    if not values.get("cost.name"):
        return None
    rows = values.get("cost.costs")
    # Compositions are kept and share their lists, so every cell of one finds what the first has read.
    known = _read.get(id(rows))
    if known is not None and known[0] is rows and known[1].name == values["cost.name"]:
        return known[1]
    facts = {key.removeprefix(_FACTS): value for key, value in values.items() if key.startswith(_FACTS)}
    model = CostModel.of({**{key: values.get(f"cost.{key}") for key in _KEYS}, "environment": facts})
    _read[id(rows)] = (rows, model)
    return model


def profile(name: str, composer: Composer | None = None) -> CostModel:
    """Load a profile by its name.

    Raises
    ------
    ConfigError
        When there is none of that name, or it is wrong.
    """
    composer = composer or Composer()
    found = profile_of((composer.composed_with("cost.name", name) or composer.compose([f"cost={name}"])).values)
    if found is None:
        raise ConfigError(f"cost={name}: holds no unit costs")
    return found


def profiles(names: Iterable[str], composer: Composer) -> dict[str, CostModel]:
    """Load those profiles that are named, by name; empty names are left out."""
    return {name: profile(name, composer) for name in sorted(set(names)) if name}
