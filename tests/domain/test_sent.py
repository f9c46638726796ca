"""Values that are sent: the same on the other side, shared where they were."""

import pickle
from dataclasses import dataclass, field

import pytest

from mshare_bench.domain.access import AccessPattern
from mshare_bench.domain.sent import sent_by_fields
from mshare_bench.workloads.registry import workloads


@sent_by_fields
@dataclass(frozen=True, slots=True)
class Pair:
    first: int
    second: object
    found: list[int] = field(default_factory=list, init=False, compare=False)


def test_fields_come_back_and_what_was_found_meanwhile_stays() -> None:
    pair = Pair(1, Pair(2, None))
    pair.found.append(3)
    again = pickle.loads(pickle.dumps(pair))
    assert again == pair and again.found == []


@pytest.mark.parametrize("name", sorted(workloads()))
def test_a_workload_is_the_same_and_shares_what_it_shared(name: str) -> None:
    spec = workloads()[name]
    workload = spec.resolve(
        processes=24, access=AccessPattern("fraction", fraction=0.5), params={key: ["a"] for key in spec.required}
    )
    again = pickle.loads(pickle.dumps(workload))
    assert again == workload

    def shared(groups: tuple[object, ...]) -> list[bool]:
        touches = [touch for group in groups for cohort in group.cohorts for touch in cohort.touches]  # type: ignore[attr-defined]
        return [touch.written is touch.touched for touch in touches] + [touch is touches[0] for touch in touches]

    assert shared(again.groups) == shared(workload.groups)
