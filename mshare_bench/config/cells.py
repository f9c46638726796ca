"""From composed values to cells: what a cell is made of is made once per choice of the keys that decide it."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mshare_bench.config.composer import Composition
from mshare_bench.config.parts import (
    CellContext,
    Claims,
    MechanismPart,
    mechanism_part,
    rest_part,
    split_names,
    workload_part,
)
from mshare_bench.domain.cell import Cell, Point
from mshare_bench.domain.workload import Placed, Region, Workload, WorkloadSpec, placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.workloads.registry import workloads

__all__ = ["Candidate", "CellMaker", "picker"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cell, and why it can't run, where that is known beforehand."""

    cell: Cell
    refused: str | None = None


class CellMaker:
    """Makes the cells of assignments that share a composition.

    What a cell is made of falls into three parts that do not depend on each other: the workload with its sizes and pattern, the
    mechanisms with their options, and the rest. Each is made once per distinct choice of the keys that it reads.

    Parameters
    ----------
    composition
        With every key that is not a leaf of an assignment.
    context, claims
        See there; `claims.check()` belongs after the last assignment.
    """

    def __init__(self, composition: Composition, context: CellContext, claims: Claims) -> None:
        self._composition = composition
        self._context = context
        self._claims = claims
        self._of_workload = {key: composition.values[key] for key in split_names(tuple(composition.values))[0]}
        self._parts_of: dict[tuple[str, ...], _Parts] = {}
        # By the ids of regions and of what is made of them; both are kept, so that no other object gets their ids.
        self._placed: dict[tuple[int, int], tuple[tuple[Region, ...], tuple[Placed, ...]]] = {}
        self._refusals: dict[tuple[int, int], tuple[str | None, MechanismPart, tuple[Placed, ...]]] = {}

    def cells(self, names: tuple[str, ...] = (), leaves: tuple[Any, ...] = ()) -> Iterator[Candidate]:
        """Make the cells of one assignment: of each mechanism that it names, under each engine.

        Parameters
        ----------
        names, leaves
            Keys of the assignment, and their values.

        Raises
        ------
        ConfigError
            For a value that can't be; of a mechanism that was not named by the user only what concerns all.
        """
        workload, mechanisms_, rest = self._parts(names, leaves)
        spec = workloads()[workload.workload.name]
        runners = _runners(spec, rest.runners, self._context)
        for one in mechanisms_:
            if not self._context.mechanism_named and spec.mechanisms and one.name not in spec.mechanisms + spec.beside:
                continue  # of a real program's mechanisms, those that say something of it
            refused = self._refusal(one, workload.placed)
            if refused is not None and self._context.mechanism_named:
                raise ConfigError(refused)
            point = Point(
                workload.workload,
                one.name,
                one.variant,
                one.page,
                workload.offset,
                workload.access,
                workload.write_fraction,
                rest.populate,
                rest.topology,
                rest.placement,
                one.options,
                rest.machines,
            )
            for runner in runners:
                if runner["engine"] == "real" and spec.mechanisms and one.name not in spec.mechanisms:
                    if self._context.mechanism_named and len(runners) == 1:
                        yield Candidate(Cell(point, **runner), _not_offered(spec, one.name))
                    continue
                yield Candidate(Cell(point, **runner), refused)

    def _refusal(self, one: "MechanismPart", placed: tuple[Placed, ...]) -> str | None:
        """Why a mechanism can't map regions; those of all numbers of processes are the same in most workloads."""
        key = id(one), id(placed)
        known = self._refusals.get(key)
        if known is None:
            try:
                for region in placed:
                    one.mechanism.check(region, one.page)
                refused = None
            except ConfigError as error:
                refused = str(error)
            known = self._refusals[key] = (refused, one, placed)
        return known[0]

    def _place(self, workload: Workload, offset: int) -> tuple[Placed, ...]:
        key = id(workload.regions), offset
        if key not in self._placed:
            self._placed[key] = workload.regions, placed_regions(workload, offset)
        return self._placed[key][1]

    def _parts(self, names: tuple[str, ...], leaves: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        if self._composition.interpolated:  # any leaf may change any part
            values = self._composition.with_values(dict(zip(names, leaves, strict=True)))
            return workload_part(values), mechanism_part(values, self._claims), rest_part(values, self._context)
        parts = self._parts_of.get(names)
        if parts is None:
            of_workload, of_mechanism, of_rest = split_names(names)
            values = self._composition.values
            parts = self._parts_of[names] = (
                _Part(names, of_workload, self._of_workload, lambda own: workload_part(own, self._place)),
                _Part(names, of_mechanism, values, lambda own: mechanism_part(own, self._claims)),
                _Part(names, of_rest, values, lambda own: rest_part(own, self._context)),
            )
        one, two, three = parts
        return one.of(leaves), two.of(leaves), three.of(leaves)


class _Part:
    """What some of the keys decide, made once for each of their values.

    Parameters
    ----------
    names
        Keys of all assignments, in their order.
    own
        Those that it reads.
    composed
        Values of all others that it reads.
    make
        Makes it of values by key.
    """

    def __init__(
        self,
        names: Sequence[str],
        own: tuple[str, ...],
        composed: Mapping[str, Any],
        make: Callable[[Mapping[str, Any]], Any],
    ) -> None:
        self._own = own
        self._pick = picker(names, own)
        self._composed = composed
        self._make = make
        self._made: dict[tuple[Any, ...], Any] = {}

    def of(self, leaves: tuple[Any, ...]) -> Any:
        """The part of an assignment."""
        key = self._pick(leaves)
        try:
            return self._made[key]
        except KeyError:
            made = self._made[key] = self._make({**self._composed, **dict(zip(self._own, key, strict=True))})
            return made
        except TypeError:  # a list: wrong most likely, and parsing says how
            return self._make({**self._composed, **dict(zip(self._own, key, strict=True))})


_Parts = tuple[_Part, _Part, _Part]


def picker(names: Sequence[str], own: Sequence[str]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Make a function that picks from the values of all names those of its own."""
    at = [names.index(name) for name in own]
    if len(at) > 1:
        return operator.itemgetter(*at)
    return (lambda values: (values[at[0]],)) if at else (lambda _values: ())


def _runners(
    spec: WorkloadSpec, runners: tuple[dict[str, Any], ...], context: CellContext
) -> tuple[dict[str, Any], ...]:
    """Who runs the cells of a workload: a real program that is run as well is predicted from what is watched of it."""
    if spec.driver is None:
        return runners
    model = context.model("application")
    return tuple(
        {**one, "model": model, "cost": ""} if len(runners) > 1 or one["engine"] == "real" else one for one in runners
    )


def _not_offered(spec: WorkloadSpec, mechanism: str) -> str:
    return f"mechanism={mechanism}: {spec.name} can be started with {', '.join(spec.mechanisms)}"
