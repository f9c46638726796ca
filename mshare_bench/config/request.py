"""What was asked for: overrides of the command line, read into sets of points with their axes, and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mshare_bench.config.cells import Candidates, CellMaker
from mshare_bench.config.composer import Composer, spelled
from mshare_bench.config.keys import MULTIRUN_ONLY, is_coordinate, near, require_choice
from mshare_bench.config.overrides import Override, parse_overrides, with_default_experiment
from mshare_bench.config.parts import ALL, CellContext, Claims
from mshare_bench.config.ranges import expand_range, with_ranges
from mshare_bench.config.settings import Settings, settings_of
from mshare_bench.domain.units import parse_count
from mshare_bench.errors import ConfigError
from mshare_bench.sweep.axes import Assignments

__all__ = ["Fit", "PointSet", "Request", "Shape", "candidates", "read_request", "read_where"]


_SECTIONS = ("workload.", "mechanism.", "access.", "placement.", "cost.", "mmu.")
"""Sections whose keys can be an axis; what has none of such a name says so itself."""

_COMMANDS = ("workload.start", "workload.load", "workload.stop")
"""What would be run as it stands: taken from the user's own words only, never from a file, which can be somebody else's."""

_POINT_KEYS = ("fit", "extrapolated")
"""What a set of points can say beside coordinates."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Real processes that this machine can hold: the largest count, at most `wanted`; None for as many as fit."""

    wanted: int | None


@dataclass(frozen=True, slots=True)
class PointSet:
    """Points that are composed alike.

    Attributes
    ----------
    overrides
        Composed, in order; config groups among them.
    leaves
        Values set on top without a compose.
    axes
        Keys with several values, outermost first.
    mechanism_named
        Whether the user named the mechanism.
    fit
        Whether processes are lowered to what this machine can hold.
    """

    overrides: tuple[str, ...]
    leaves: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    mechanism_named: bool = False
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How axes make cells.

    Attributes
    ----------
    zipped
        Groups of keys that change together.
    where, exclude
        Conditions; None where there is none.
    order
        Of the cells.
    """

    zipped: tuple[tuple[str, ...], ...] = ()
    where: str | None = None
    exclude: str | None = None
    order: str = "interleaved"


@dataclass(frozen=True, slots=True)
class Request:
    """A command, read.

    Attributes
    ----------
    settings
        Where and how.
    point_sets
        What, in the order in which it is planned.
    shape
        How their axes make cells.
    composer
        With what it has composed.
    overrides
        As given, with the default experiment where none was named.
    values
        Composed values of the first point set, for the record.
    """

    settings: Settings
    point_sets: tuple[PointSet, ...]
    shape: Shape
    composer: Composer
    overrides: tuple[str, ...]
    values: Mapping[str, Any]


def read_request(
    overrides: Sequence[str], *, multirun: bool = False, config_name: str = "config", config_dir: str | None = None
) -> Request:
    """Read overrides.

    Parameters
    ----------
    overrides
        In Hydra's grammar.
    multirun
        Whether several values of a key are an axis (`-m`); without it they are an error.
    config_name, config_dir
        Primary configuration and another folder of configurations.

    Raises
    ------
    ConfigError
        For unknown keys and groups, values that do not parse, an axis without `-m`.
    """
    texts = with_default_experiment(overrides) if config_name == "config" else list(overrides)
    composer = Composer(config_name, config_dir)
    given = [one for one in parse_overrides(texts) if not one.of_hydra]
    composer.check(given)
    axes = tuple((one.key, composer.expand(one)) for one in given if one.axis)
    if axes and not multirun:
        first = next(one for one in given if one.axis)
        shown = " ".join(one.text for one in given)
        raise ConfigError(f"{first.text}: several values make a sweep; say: mshare-bench run -m {shown}")
    for one in given:
        if one.axis and one.key.partition(".")[0] not in MULTIRUN_ONLY:
            advice = "use repeats=" if one.key == "seed" else "only coordinates can"
            raise ConfigError(f"{one.text}: {one.key} can't be an axis; {advice}")
    named = {one.key: one for one in given}
    fixed = tuple(one.text for one in given if not one.axis and not one.is_option)
    options = {one.key: one.values[0] for one in given if not one.axis and one.is_option}
    composed = composer.compose(composer.first(given))
    _refuse_commands(composed.values, named)
    settings = settings_of(composed.values)
    mechanism_named = "mechanism" in named and named["mechanism"].values != (ALL,)
    axes = (*_configured_axes(composed.values, named), *axes)
    points = composed.values.get("points")
    sets = [
        _point_set(point, fixed, options, axes, named, mechanism_named)
        for point in ([{}] if points is None else _checked(points))
    ]
    return Request(settings, tuple(sets), _shape(composed.values), composer, tuple(texts), composed.values)


def read_where(overrides: Sequence[str], verb: str) -> Request:
    """Read the overrides of a verb that chooses by itself what runs: where and how, and the cost profile.

    Returns
    -------
    Request
        Without points.

    Raises
    ------
    ConfigError
        For a coordinate, several values of a key, and as `read_request` does.
    """
    composer = Composer()
    given = parse_overrides(overrides)
    composer.check(given)
    for one in given:
        if (
            one.of_hydra
            or is_coordinate(one.key)
            or one.key.partition(".")[0] in ("experiment", "sweep", "points", "mmu")
        ):
            raise ConfigError(f"{one.text}: {verb} chooses by itself what runs; it takes where and how, and cost=")
        if one.axis:
            raise ConfigError(f"{one.text}: {verb} takes one value of each key")
    values = composer.compose([one.text for one in given]).values
    return Request(settings_of(values), (), Shape(), composer, tuple(overrides), values)


def candidates(request: Request, point_set: PointSet, assignments: Assignments, context: CellContext) -> Candidates:
    """Make the cells of assignments of a point set's axes, in order.

    Raises
    ------
    ConfigError
        As `CellMaker.cells` does, and for an option or page that no mechanism has.
    """
    composer, claims = request.composer, Claims()
    own = {key: value for key, value in point_set.leaves.items() if key not in assignments.values}
    # Every composition holds the options of all mechanisms: no compose for another choice.
    given = assignments.beside(own).renamed({"mechanism": "mechanism.name"})
    groups = tuple(name for name in given.values if name in composer.groups)
    leaves = tuple(name for name in given.values if name not in groups)
    kinds, firsts = given.distinct(groups)
    made = []
    for kind, first in enumerate(firsts):
        chosen = [f"{group}={spelled(choice)}" for group, choice in given.at(first, groups).items()]
        maker = CellMaker(composer.compose([*point_set.overrides, *chosen]), context, claims)
        places = np.flatnonzero(kinds == kind)
        found = maker.cells(given.take(places, leaves))
        made.append(replace(found, origins=places[found.origins]))
    claims.check()
    return Candidates.joined(made)


def _point_set(
    point: Mapping[str, Any],
    fixed: tuple[str, ...],
    options: Mapping[str, Any],
    axes: tuple[tuple[str, tuple[Any, ...]], ...],
    named: Mapping[str, Override],
    mechanism_named: bool,
) -> PointSet:
    for key, value in point.items():
        if key not in _POINT_KEYS and not _can_be_axis(key):
            raise ConfigError(
                f"points: {key}={value}: no key of a point; {near(key, MULTIRUN_ONLY.union(_POINT_KEYS))}"
            )
    own = {key: value for key, value in point.items() if key not in named and key != "fit"}  # the user's word counts
    fit = bool(point.get("fit")) and "processes" not in named
    wanted = own.get("processes")
    own_axes = tuple((key, values) for key, value in own.items() if (values := _axis_values(key, value)) is not None)
    of_axes = {key for key, _ in own_axes}
    leaves = {key: value for key, value in own.items() if key not in of_axes}
    axes = tuple(axis for axis in axes if axis[0] not in own)
    count: Fit | None = None
    if fit:
        count = Fit(None if wanted == "max" else parse_count(wanted or 0, "real.processes", at_least=1))
    return PointSet(fixed, {**leaves, **options}, (*own_axes, *axes), mechanism_named, count)


def _checked(points: Any) -> list[Mapping[str, Any]]:
    if not isinstance(points, list) or not points or not all(isinstance(one, dict) and one for one in points):
        raise ConfigError(f"points={points}: must be a list of mappings from keys to values")
    return points


def _refuse_commands(values: Mapping[str, Any], named: Mapping[str, Override]) -> None:
    """Refuse commands that a configuration file names, wherever in it."""
    points = values.get("points")
    of_points = [key for one in points if isinstance(one, dict) for key in one] if isinstance(points, list) else []
    for key in _COMMANDS:
        in_file = values.get(key) is not None and key not in named
        if in_file or f"sweep.axes.{key}" in values or key in of_points:
            raise ConfigError(
                f"{key}: a configuration file names a command; commands are taken from the command line only"
            )


def _configured_axes(
    values: Mapping[str, Any], named: Mapping[str, Override]
) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Axes of `sweep.axes`, but for keys that the user has given: his word counts."""
    found = []
    for key, value in values.items():
        if key.startswith("sweep.axes."):
            name = key.removeprefix("sweep.axes.")
            if not _can_be_axis(name):
                raise ConfigError(f"{key}={value}: {name} can't be an axis; {near(name, MULTIRUN_ONLY)}")
            if name not in named:
                found.append((name, _axis_values(name, value) or (value,)))
    return tuple(found)


def _can_be_axis(key: str) -> bool:
    return key in MULTIRUN_ONLY or key.startswith(_SECTIONS)


def _axis_values(key: str, value: Any) -> tuple[Any, ...] | None:
    """Values of an axis in a configuration file: a list or a range; None for a single value."""
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"{key}=[]: this axis has no value")
        return with_ranges(key, value)
    return expand_range(key, value)


def _shape(values: Mapping[str, Any]) -> Shape:
    zipped = values.get("sweep.zip") or []
    if isinstance(zipped, list) and all(isinstance(key, str) for key in zipped):
        zipped = [zipped] if zipped else []
    if not isinstance(zipped, list) or not all(isinstance(group, list) and len(group) > 1 for group in zipped):
        raise ConfigError(f"sweep.zip={zipped}: must be a list of at least two keys, or several such lists")
    conditions = []
    for key in ("sweep.where", "sweep.exclude"):
        text = values.get(key)
        if text is not None and not isinstance(text, str):
            raise ConfigError(f"{key}={text}: not a condition such as processes * region <= 1TiB")
        conditions.append(text)
    order = require_choice("sweep.order", values.get("sweep.order", "interleaved"))
    return Shape(tuple(tuple(map(str, group)) for group in zipped), conditions[0], conditions[1], order)
