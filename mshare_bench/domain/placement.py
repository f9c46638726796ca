"""Which placement a cell asks for: the policy for process groups and their data, the one for page tables, and their options.

Rows carry it as one text, `local;tables=replicate`: the policy, then what is not as usual. The text says everything, so that it
can be placed again from a row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mshare_bench.domain.units import parse_count, parse_duration, parse_size
from mshare_bench.errors import ConfigError

__all__ = ["EpochChoice", "PlacementChoice"]

Nodes = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EpochChoice:
    """A stretch of time: `60s`, `60s drain 0:1`, `60s dead 2`, `60s share 0.5`, and any of these together.

    Attributes
    ----------
    seconds
        How long it lasts.
    share
        Of every group's processes that run.
    drained, dead
        Nodes (machine and node id) that must be left, and machines that are down.
    """

    seconds: float
    share: float = 1.0
    drained: Nodes = ()
    dead: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str, key: str = "placement.epochs") -> "EpochChoice":
        """Read one.

        Raises
        ------
        ConfigError
            For a word that means nothing, or one without its value.
        """
        first, *words = text.split()
        if len(words) % 2:
            raise ConfigError(f"{key}={text}: say a time, then drain M:N, dead M or share X")
        share, drained, dead = 1.0, list[tuple[int, int]](), list[int]()
        for word, value in zip(words[::2], words[1::2], strict=True):
            if word == "drain":
                drained += _nodes(value, key)
            elif word == "dead":
                dead.append(parse_count(value, key))
            elif word == "share":
                share = _share(value, key)
            else:
                raise ConfigError(f"{key}={text}: {word} is none of drain, dead and share")
        return cls(_seconds(first, key), share, tuple(drained), tuple(dead))


@dataclass(frozen=True, slots=True)
class PlacementChoice:
    """A placement by name.

    Attributes
    ----------
    policy, tables
        Names of the policies for groups with their data, and for page tables.
    exclusive
        Every process has a CPU of its own.
    overcommit
        Busy processes that a CPU takes; None for as many as it needs to seat all.
    nodes
        Pairs of machine and node id that `bind` may use; empty for all.
    reads_per_s, walk_share
        Reads of one process that reach memory, per second, and the share of them that are page walks: what `optimal` and the
        advice on moves weigh.
    time_limit
        Seconds that `optimal` may take.
    horizon
        Seconds for which the load stays as it is: with it, rows say what moving would cost and when it pays; None for without.
    epochs, strategy, budget
        Of `epochs`: stretches of time, who decides what moves (`planned`, `never`, `greedy`), and bytes that may move in each.
    """

    policy: str = "first_touch"
    tables: str = "first_touch"
    exclusive: bool = False
    overcommit: float | None = None
    nodes: Nodes = ()
    reads_per_s: float = 1e6
    walk_share: float = 0.3
    time_limit: float = 10.0
    horizon: float | None = None
    epochs: tuple[str, ...] = ()
    strategy: str = "planned"
    budget: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "PlacementChoice":
        """Read one from configuration values: `name`, and the attributes by their names; what is None stays as usual.

        Raises
        ------
        ConfigError
            For an option that does not exist or a value that it can't have.
        """
        found: dict[str, Any] = {"policy": str(values["name"])}
        for key, value in values.items():
            if key == "name" or value is None:
                continue
            if key not in _PARSERS:
                raise ConfigError(f"placement.{key}={value}: there is no such option; there are {', '.join(_PARSERS)}")
            found[key] = _PARSERS[key](value, f"placement.{key}")
        return cls(**found)

    @classmethod
    def parse(cls, text: str) -> "PlacementChoice":
        """Read the text of a row back."""
        name, *options = text.split(";")
        return cls.of({"name": name, **dict(option.split("=", 1) for option in options)})

    @property
    def text(self) -> str:
        """The policy, and the options that are not as usual."""
        parts = [self.policy]
        for one in fields(self)[1:]:
            value = getattr(self, one.name)
            if value != one.default:
                parts.append(f"{one.name}={_spelled(value)}")
        return ";".join(parts)


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return "|".join(value)
    if isinstance(value, tuple):
        return "+".join(f"{machine}:{node}" for machine, node in value)
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or set(value) & set(";="):
        raise ConfigError(f"{key}={value}: must be a name")
    return value


def _flag(value: object, key: str) -> bool:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: must be true or false")
    return value


def _number(value: object, key: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise ConfigError(f"{key}={value}: not a number") from None
    if isinstance(value, bool) or not 0 < number < float("inf"):
        raise ConfigError(f"{key}={value}: must be positive")
    return number


def _share(value: object, key: str) -> float:
    number = _number(value, key)
    if number > 1:
        raise ConfigError(f"{key}={value}: must be between 0 and 1")
    return number


def _seconds(value: Any, key: str) -> float:
    return _number(parse_duration(value, key) / 1e9, key)


def _nodes(value: object, key: str) -> Nodes:
    """`[0, 1]` are nodes of machine 0, `["1:0"]` names the machine too."""
    parts = value if isinstance(value, list | tuple) else str(value).split("+")
    found = []
    for part in parts:
        machine, colon, node = str(part).rpartition(":")
        found.append((parse_count(machine, key) if colon else 0, parse_count(node, key)))
    if len(set(found)) != len(found):
        raise ConfigError(f"{key}={value}: a node occurs twice")
    return tuple(found)


def _epochs(value: object, key: str) -> tuple[str, ...]:
    texts = value if isinstance(value, list | tuple) else str(value).split("|")
    found = tuple(" ".join(str(text).split()) for text in texts)
    for text in found:
        EpochChoice.parse(text, key)
    return found


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "tables": _text,
    "exclusive": _flag,
    "overcommit": _number,
    "nodes": _nodes,
    "reads_per_s": _number,
    "walk_share": _share,
    "time_limit": _seconds,
    "horizon": _seconds,
    "epochs": _epochs,
    "strategy": _text,
    "budget": parse_size,
}
