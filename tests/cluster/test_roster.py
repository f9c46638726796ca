"""Who is in the cluster, with a clock and machines that do as they are told. Real ones are in `test_hosts`."""

from types import SimpleNamespace
from typing import Any

import pytest

from mshare_bench.cluster import roster
from mshare_bench.cluster.member import Report
from mshare_bench.cluster.roster import Roster
from mshare_bench.cluster.stamp import Where
from mshare_bench.config.settings import ClusterSettings
from mshare_bench.errors import ConfigError

VERSION = "package_mshare-bench"
A, B, C = "a1" * 28, "b2" * 28, "c3" * 28
"""Ray's numbers of machines."""
OPTIONS = ClusterSettings("10.0.0.1:6379", 30 * 10**9)


class Gone(Exception):
    pass


class Reference:
    def __init__(self) -> None:
        self.done, self.value = False, None

    def answer(self, value: Any) -> None:
        self.done, self.value = True, value


class Actor:
    """Keeps what it was asked; the test answers."""

    def __init__(self) -> None:
        self.reports: list[Reference] = []
        self.questions: list[Reference] = []
        self.report = self._method(self.reports)
        self.clock = self._method(self.questions)

    def _method(self, asked: list[Reference]) -> Any:
        def remote() -> Reference:
            asked.append(Reference())
            return asked[-1]

        return SimpleNamespace(options=lambda **_options: SimpleNamespace(remote=remote))


class Ray:
    """As much of Ray as a roster asks for."""

    exceptions = SimpleNamespace(RayError=Gone)

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.actors: dict[str, Actor] = {}
        self.killed: list[Actor] = []
        self.list: dict[str, dict[str, Any]] = {}
        for name, node in zip(names, (A, B), strict=True):
            self.join(name, node)

    def join(self, name: str, node: str) -> None:
        self.list[node] = {
            "NodeID": node,
            "NodeName": name,
            "NodeManagerAddress": name,
            "Alive": True,
            "Labels": {"zone": name},
            "Resources": {"CPU": 2.0},
        }

    def nodes(self) -> list[dict[str, Any]]:
        return list(self.list.values())

    def remote(self, **_options: Any) -> Any:
        def options(scheduling_strategy: Any, **_rest: Any) -> Any:
            def remote(*_arguments: Any) -> Actor:
                return self.actors.setdefault(scheduling_strategy.node_id, Actor())

            return SimpleNamespace(remote=remote)

        return lambda _class: SimpleNamespace(options=options)

    def wait(self, references: list[Reference], **_options: Any) -> tuple[list[Reference], list[Reference]]:
        return [one for one in references if one.done], []

    def get(self, reference: Reference) -> Any:
        if isinstance(reference.value, Exception):
            raise reference.value
        return reference.value

    def kill(self, actor: Actor, no_restart: bool) -> None:
        self.killed.append(actor)

    def reports(self, node: str, version: str = "1", kind: str = "k") -> None:
        self.actors[node].reports[-1].answer(Report(Where(kind, {VERSION: version}), 0, 0))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    made = Ray("a", "b")
    monkeypatch.setattr(roster, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def roster_of(ray: Ray, notes: list[str], options: ClusterSettings = OPTIONS) -> Roster:
    found = Roster(ray, options, {}, lambda: Where("k", {}), Where("k", {VERSION: "1"}), True, notes.append)
    assert found.update() == []
    return found


def both(ray: Ray, notes: list[str]) -> Roster:
    found = roster_of(ray, notes)
    for node in (A, B):
        ray.reports(node)
    assert found.update() == []
    assert [one.name for one in found.members] == ["a", "b"]
    return found


def test_a_machine_is_used_when_it_has_reported(ray: Ray) -> None:
    found = roster_of(ray, [])
    assert found.pending and not found.members and found.cpus == 4
    ray.reports(B, kind="other")
    found.update()
    assert [(one.name, one.kind, one.cpus) for one in found.members] == [("b", "other", 2)]
    assert found.pending


def test_another_version_is_not_used(ray: Ray) -> None:
    notes: list[str] = []
    found = roster_of(ray, notes)
    ray.reports(A, version="2")
    ray.reports(B)
    assert found.update() == []
    assert [one.name for one in found.members] == ["b"]
    assert "machine a is given up: it has mshare-bench 2, the driver 1" in notes


def test_one_that_never_reports_is_not_waited_for(ray: Ray) -> None:
    notes: list[str] = []
    found = roster_of(ray, notes)
    ray.reports(A)
    ray.now += 61
    found.update()
    assert not found.pending and [one.name for one in found.members] == ["a"]
    assert "machine b is given up: it never reported: another sweep measures there, or it hangs" in notes


def test_silence_ends_it_and_a_late_answer_does_not_bring_it_back(ray: Ray) -> None:
    found = both(ray, [])
    ray.now += 6
    found.update()  # asks both
    ray.actors[A].questions[-1].answer(1)
    ray.now += 29
    assert found.update() == []
    ray.now += 2
    ((member, reason),) = found.update()
    assert (member.name, reason) == ("b", "it has said nothing for 30 s")
    assert ray.actors[B] in ray.killed
    ray.actors[B].questions[-1].answer(1)
    ray.now += 5
    found.update()
    assert [one.name for one in found.members] == ["a"]


def test_a_driver_that_slept_does_not_take_that_for_silence(ray: Ray) -> None:
    found = both(ray, [])
    ray.now += 6
    found.update()
    for actor in ray.actors.values():
        actor.questions[-1].answer(1)
    ray.now += 500
    assert found.update() == []


def test_death_is_told_with_its_reason_and_a_machine_that_starts_again_is_a_new_one(ray: Ray) -> None:
    found = both(ray, [])
    ray.list[B] |= {"Alive": False, "DeathReasonMessage": "health check\n failed"}
    ray.join("b", C)
    ray.now += 2
    ((member, reason),) = found.update()
    assert (member.node, reason) == (B, "it died (health check failed)")
    ray.now += 2
    found.update()
    ray.reports(C)
    found.update()
    assert [one.node for one in found.members] == [A, C]
    assert len({one.name for one in found.members} | {"b"}) == 3


def test_one_whose_worker_died_gets_nothing_until_it_answers(ray: Ray) -> None:
    found = both(ray, [])
    member = found.members[0]
    found.doubt(member)
    ray.actors[A].questions[-1].answer(Gone("restarting"))
    found.update()
    assert not member.answering
    ray.now += 1
    found.update()  # asks again
    ray.actors[A].questions[-1].answer(1)
    found.update()
    assert member.answering


def test_labels_that_no_machine_has(ray: Ray) -> None:
    options = ClusterSettings(OPTIONS.address, OPTIONS.silence_ns, {"zone": "c"})
    with pytest.raises(
        ConfigError, match=r"cluster.labels=\{zone=c\}: no machine has these labels \(a: zone=a; b: zone=b\)"
    ):
        roster_of(ray, [], options)


def test_labels_choose(ray: Ray) -> None:
    found = roster_of(ray, [], ClusterSettings(OPTIONS.address, OPTIONS.silence_ns, {"zone": "!a"}))
    assert list(ray.actors) == [B] and found.cpus == 2
