"""From composed values to cells: what a cell is made of is made once per choice of the keys that decide it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mshare_bench.config.composer import Composition
from mshare_bench.config.parts import CellContext, Claims, MechanismPart, mechanism_part, rest_part, split_names
from mshare_bench.config.workload_part import SIZES, WorkloadPart, workload_part, workload_setting
from mshare_bench.domain.cells import Cells, Mapper, Place, Runner, Task
from mshare_bench.domain.workload import Placed, Region, Workload, WorkloadSpec, placed_regions
from mshare_bench.errors import ConfigError
from mshare_bench.sweep.axes import Assignments, in_order
from mshare_bench.workloads.registry import workloads

__all__ = ["Candidates", "CellMaker"]

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Cells that were asked for.

    Attributes
    ----------
    cells
        In the order of the assignments that they are from.
    refused
        Why each can't run, where that is known beforehand, else None.
    origins
        Number of each one's assignment.
    """

    cells: Cells
    refused: npt.NDArray[np.object_]
    origins: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: "Sequence[Candidates]") -> "Candidates":
        """Those of several, in the order of their assignments."""
        if len(parts) == 1:
            return parts[0]
        origins = np.concatenate([part.origins for part in parts])
        order = np.argsort(origins, kind="stable")
        refused = np.concatenate([part.refused for part in parts])
        return cls(Cells.joined([part.cells for part in parts]).take(order), refused[order], origins[order])


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
        # Only what a workload reads: there are thousands of them, and all keys are many.
        own = split_names(tuple(composition.values))[0]
        values = composition.values if composition.interpolated else {key: composition.values[key] for key in own}
        self._of_workload = replace(composition, values=values)
        # By the ids of regions and of what is made of them; both are kept, so that no other object gets their ids.
        self._placed: dict[tuple[int, int], tuple[tuple[Region, ...], tuple[Placed, ...]]] = {}
        self._refusals: dict[tuple[int, int], tuple[str | None, MechanismPart, tuple[Placed, ...]]] = {}

    def cells(self, assignments: Assignments | None = None) -> Candidates:
        """Make the cells of assignments, in order: of each mechanism that one names, under each engine.

        Parameters
        ----------
        assignments
            Of leaves; without any the composition's own cells.

        Raises
        ------
        ConfigError
            For a value that can't be; of a mechanism that was not named by the user only what concerns all.
        """
        given = Assignments.of_axes(()) if assignments is None else assignments
        names = tuple(given.values)
        # Where values refer to each other any leaf may change any part.
        of_workload, of_mechanism, of_rest = (names,) * 3 if self._composition.interpolated else split_names(names)
        task_of, tasks = self._tasks(given, of_workload)
        by_of, mechanisms_ = self._made(
            given, of_mechanism, lambda own: mechanism_part(own, self._claims), self._composition
        )
        rest_of, rests = self._made(given, of_rest, lambda own: rest_part(own, self._context), self._composition)
        mappers: dict[int, tuple[int, MechanismPart]] = {}
        runners: dict[Runner, int] = {}
        offered: list[list[tuple[int, int, str | None]]] = []
        alike = self._alike(tasks)
        kinds, firsts = in_order((alike[task_of] * len(mechanisms_) + by_of) * len(rests) + rest_of)
        for first in firsts:
            task, rest = tasks[task_of[first]], rests[rest_of[first]]
            offers = self._offers(task, mechanisms_[by_of[first]], rest.runners)
            offered.append(
                [
                    (mappers.setdefault(id(one), (len(mappers), one))[0], runners.setdefault(runner, len(runners)), why)
                    for one, runner, why in offers
                ]
            )
        counts = np.array([len(one) for one in offered], np.int64)
        which = np.array([pair[:2] for one in offered for pair in one], np.int64).reshape(-1, 2)
        reasons = np.array([why for one in offered for _, _, why in one], object)
        origins = np.repeat(np.arange(len(given)), counts[kinds])
        starts, own = np.cumsum(counts) - counts, np.cumsum(counts[kinds]) - counts[kinds]
        at = starts[kinds[origins]] + np.arange(len(origins)) - own[origins]
        columns = np.stack([task_of[origins], which[at, 0], rest_of[origins], which[at, 1], np.zeros_like(at)], axis=1)
        parts = (
            [Task(one.workload, one.offset, one.access, one.write_fraction) for one in tasks],
            [Mapper(one.name, one.variant, one.page, one.options) for _, one in mappers.values()],
            [Place(one.populate, one.topology, one.placement, one.machines) for one in rests],
            list(runners),
        )
        return Candidates(Cells(parts, columns), reasons[at], origins)

    def _tasks(self, given: Assignments, own: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], list[WorkloadPart]]:
        """The workloads, and per assignment which of them it has."""
        composed = self._of_workload
        of_size, of_setting, sizes = own, own, composed
        if not composed.interpolated:
            of_size, of_setting = (tuple(key for key in own if (key in SIZES) == is_size) for is_size in (True, False))
            sizes = replace(composed, values={key: composed.values[key] for key in SIZES})
        setting_of, settings = self._made(given, of_setting, workload_setting, composed)
        size_of, _ = given.distinct(of_size)
        kinds, firsts = in_order(size_of * len(settings) + setting_of)
        return kinds, [
            workload_part(settings[setting_of[first]], sizes.with_values(given.at(first, of_size)), self._place)
            for first in firsts
        ]

    def _made(
        self,
        given: Assignments,
        own: Iterable[str],
        make: Callable[[Mapping[str, Any]], _Part],
        composition: Composition,
    ) -> tuple[npt.NDArray[np.int64], list[_Part]]:
        """What these keys decide, made once for each of their combinations, and per assignment which of them it has."""
        kinds, firsts = given.distinct(own)
        return kinds, [make(composition.with_values(given.at(first, own))) for first in firsts]

    def _alike(self, tasks: Sequence[WorkloadPart]) -> npt.NDArray[np.int64]:
        """Number workload parts so that those have the same to which the same can be offered."""
        known: dict[tuple[str, int], int] = {}
        return np.array([known.setdefault((one.workload.name, id(one.placed)), len(known)) for one in tasks], np.int64)

    def _offers(
        self, task: WorkloadPart, mechanisms_: Iterable[MechanismPart], runners: tuple[Runner, ...]
    ) -> Iterable[tuple[MechanismPart, Runner, str | None]]:
        """With which mechanisms, under whom a workload is run, and why that can't be."""
        spec = workloads()[task.workload.name]
        runners = _runners(spec, runners, self._context)
        named = self._context.mechanism_named
        for one in mechanisms_:
            if not named and spec.mechanisms and one.name not in spec.mechanisms + spec.beside:
                continue  # of a real program's mechanisms, those that say something of it
            refused = self._refusal(one, task.placed)
            if refused is not None and named:
                raise ConfigError(refused)
            for runner in runners:
                if runner.engine == "real" and spec.mechanisms and one.name not in spec.mechanisms:
                    if named and len(runners) == 1:
                        yield one, runner, _not_offered(spec, one.name)
                    continue
                yield one, runner, refused

    def _refusal(self, one: MechanismPart, placed: tuple[Placed, ...]) -> str | None:
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


def _runners(spec: WorkloadSpec, runners: tuple[Runner, ...], context: CellContext) -> tuple[Runner, ...]:
    """Who runs the cells of a workload: a real program that is run as well is predicted from what is watched of it."""
    if spec.driver is None:
        return runners
    model = context.model("application")
    return tuple(
        one._replace(model=model, cost="") if len(runners) > 1 or one.engine == "real" else one for one in runners
    )


def _not_offered(spec: WorkloadSpec, mechanism: str) -> str:
    return f"mechanism={mechanism}: {spec.name} can be started with {', '.join(spec.mechanisms)}"
