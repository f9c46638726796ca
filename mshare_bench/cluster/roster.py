"""Which machines there are: those that join, those that die, those that fall silent.

The driver asks every machine's actor, six times per `cluster.silence`, whether it is there. A link that is cut leaves the
question without an answer, and after `cluster.silence` the machine is given up; Ray itself takes more than a minute. A machine
that was given up stays so: what it may still do is no longer listened to, so that no cell is counted twice.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mshare_bench.cluster.labels import matches, spelled
from mshare_bench.cluster.member import WATCH, Report, actor_class
from mshare_bench.cluster.stamp import Where
from mshare_bench.domain.ports import Engine
from mshare_bench.domain.units import format_size
from mshare_bench.errors import ConfigError

__all__ = ["ClusterOptions", "Member", "Roster"]

_START_SECONDS = 60.0  # a worker starts and imports: on a busy machine that takes far longer than an answer
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.5
_ASKS_PER_SILENCE = 6


class ClusterOptions(Protocol):
    """What an executor must know of the machines."""

    @property
    def address(self) -> str | None:
        """Address of a Ray cluster; None for this machine alone."""

    @property
    def silence_ns(self) -> int:
        """A machine that says nothing for so long is given up."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the machines that are used; see `cluster.labels`."""


@dataclass(eq=False, slots=True)
class Member:
    """A machine of the cluster.

    Attributes
    ----------
    node
        Ray's id of it.
    name
        What people know it by: its address, or the name that it was started with.
    cpus
        That Ray gives to simulated cells.
    actor
        None on this machine alone without real cells.
    where
        As it reported; None until it has.
    answering
        Answers go on; false from the moment that a worker of it died until it answers again.
    """

    node: str
    name: str
    cpus: int
    actor: Any = None
    where: Where | None = None
    answering: bool = True
    asked: float = 0.0
    question: Any = None
    failing: float | None = None

    @property
    def memory(self) -> int:
        """Bytes of its memory; 0 where unknown."""
        topology = self.where.topology if self.where is not None else None
        return topology.memory if topology is not None else 0

    @property
    def kind(self) -> str:
        """Digest of its hardware: like machines share it."""
        return self.where.machine if self.where is not None else ""


class Roster:
    """The machines of a cluster that have the labels wanted.

    Parameters
    ----------
    ray
        The module, connected.
    engines, where
        As the actors take them.
    here
        The driver's own environment: machines with another version of this program are not used.
    exclusive
        Whether a machine is taken as a whole, which real cells need: two sweeps do not measure on one machine at a time.
    note
        Is told who comes and who goes, and why.

    Raises
    ------
    ConfigError
        When no machine has the labels.

    Attributes
    ----------
    members
        Machines that have reported, and are there.
    cpus
        Of all machines that were there at the start, at least 1.
    """

    def __init__(
        self,
        ray: Any,
        options: ClusterOptions,
        engines: Mapping[str, Engine],
        where: Callable[[], Where],
        here: Where,
        exclusive: bool,
        note: Callable[[str], None],
    ) -> None:
        self._ray = ray
        self._options = options
        self._engine = engines.get("real") if exclusive else None
        self._where = where
        self._here = here
        self._exclusive = exclusive
        self._note = note
        self._silence = options.silence_ns / 1e9
        self._alone = options.address is None
        self._looked = 0.0
        self._waiting: dict[Any, Member] = {}
        self._known: set[str] = set()
        self._gone: dict[str, str] = {}
        self.members: list[Member] = []
        nodes = [node for node in ray.nodes() if node["Alive"] and self._wanted(node)]
        if not nodes:
            raise ConfigError(self._no_labels())
        self.cpus = max(1, sum(_cpus(node) for node in nodes))

    @property
    def pending(self) -> bool:
        """Whether a machine has joined that has not reported yet."""
        return bool(self._waiting)

    @property
    def last_loss(self) -> str:
        """Why the machine that went last is gone."""
        return next(reversed(self._gone.values()), "none has joined")

    def references(self) -> list[Any]:
        """What there is to wait for: reports and answers."""
        return [*self._waiting, *(one.question for one in self.members if one.question is not None)]

    def update(self) -> list[tuple[Member, str]]:
        """Look who is there, and say who went and why."""
        lost = []
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            lost += self._look()
        lost += self._reports()
        for member in list(self.members):
            reason = self._listen(member)
            if reason is not None:
                lost.append((member, reason))
                self._drop(member, reason)
        return [(member, reason) for member, reason in lost if member.where is not None]

    def doubt(self, member: Member) -> None:
        """A worker there died, or its machine did: nothing goes there until it answers."""
        member.answering = False
        self._looked = 0.0
        if member.actor is not None and member.question is None:
            self._ask(member)

    def close(self) -> None:
        """Let the actors go."""
        for member in [*self.members, *self._waiting.values()]:
            self._kill(member)

    def _wanted(self, node: Mapping[str, Any]) -> bool:
        if self._alone:
            return bool(node["NodeID"] == self._ray.get_runtime_context().get_node_id())
        return matches(node["Labels"], self._options.labels)

    def _no_labels(self) -> str:
        have = "; ".join(
            f"{node['NodeName']}: {spelled(node['Labels'])}" for node in self._ray.nodes() if node["Alive"]
        )
        return f"cluster.labels={{{spelled(self._options.labels)}}}: no machine has these labels ({have})"

    def _look(self) -> list[tuple[Member, str]]:
        """Ask Ray who is there."""
        nodes = {node["NodeID"]: node for node in self._ray.nodes()}
        for node in nodes.values():
            if node["Alive"] and node["NodeID"] not in self._known and self._wanted(node):
                self._join(node)
        lost = []
        for member in [*self.members, *self._waiting.values()]:
            node = nodes.get(member.node)
            if node is None or not node["Alive"]:
                told = (node or {}).get("DeathReasonMessage") or ""
                reason = f"it died ({' '.join(told.split()) or 'Ray does not say of what'})"
                lost.append((member, reason))
                self._drop(member, reason)
        return lost

    def _join(self, node: Mapping[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        taken = {one.name for one in [*self.members, *self._waiting.values()]} | set(self._gone)
        name = node["NodeName"] if node["NodeName"] not in taken else f"{node['NodeName']}/{node['NodeID'][:6]}"
        member = Member(node["NodeID"], name, _cpus(node))
        self._known.add(member.node)
        if self._alone and not self._exclusive:
            member.where = self._here
            self.members.append(member)
            return
        member.actor = (
            actor_class(self._ray)
            .options(
                num_cpus=0,
                max_restarts=-1,
                resources={f"node:{node['NodeManagerAddress']}": 1.0} if self._exclusive else {},
                scheduling_strategy=NodeAffinitySchedulingStrategy(member.node, soft=False),
            )
            .remote(self._engine, self._here if self._alone else self._where)
        )
        member.asked = time.monotonic()
        self._waiting[member.actor.report.options(concurrency_group=WATCH).remote()] = member

    def _reports(self) -> list[tuple[Member, str]]:
        """Take in what machines that joined report of themselves."""
        lost = []
        done = self._done(list(self._waiting))
        for reference, member in list(self._waiting.items()):
            late = time.monotonic() - member.asked > max(self._silence, _START_SECONDS)
            if reference not in done and not late:
                continue
            reason = "it never reported: another sweep measures there, or it hangs"
            try:
                if reference in done:
                    reason = self._refusal(self._ray.get(reference), member) or ""
            except Exception as error:  # whatever the other machine's Python raises
                reason = _last_line(error)
            del self._waiting[reference]
            if not reason:
                self.members.append(member)
                continue
            lost.append((member, reason))
            self._drop(member, reason)
        return lost

    def _refusal(self, report: Report, member: Member) -> str | None:
        """Why a machine is of no use; None where it is, and then its report is kept."""
        for name in ("package_mshare-bench", "git_commit"):  # Ray checks its own
            theirs, ours = report.where.facts.get(name), self._here.facts.get(name)
            if theirs != ours:
                return f"it has {name.removeprefix('package_')} {theirs}, the driver {ours}"
        member.where = report.where
        if self._alone:
            return None
        memory = f", {format_size(member.memory)} of memory" if member.memory else ""
        topology = report.where.topology
        nodes = f" in {len(topology.nodes)} NUMA nodes" if topology is not None and len(topology.nodes) > 1 else ""
        self._note(f"machine {member.name}: {member.cpus} CPUs{memory}{nodes}, of kind {member.kind}")
        if report.nice > 0 or report.oom_score_adj > 0:
            self._note(
                f"machine {member.name}: what it runs has nice {report.nice} and oom_score_adj {report.oom_score_adj}; "
                "start Ray there with RAY_worker_niceness=0 RAY_worker_oom_score_adjustment=0"
            )
        return None

    def _listen(self, member: Member) -> str | None:
        """Take a machine's answer, or ask again; says why it is given up."""
        now = time.monotonic()
        if member.actor is None:
            member.answering = True
        elif member.question is None:
            pause = self._silence / _ASKS_PER_SILENCE
            if now - member.asked > (pause if member.answering else min(pause, _AGAIN_SECONDS)):
                self._ask(member)
        elif self._done([member.question]):
            question, member.question = member.question, None
            try:
                self._ray.get(question)
                member.answering, member.failing = True, None
            except self._ray.exceptions.RayError as error:  # its worker starts again, or it is dead: Ray will say so
                member.answering, member.failing = False, member.failing or now
                if now - member.failing > (_START_SECONDS if self._alone else self._silence):
                    return f"its worker does not come back ({_last_line(error)})"
        elif now - member.asked > self._silence and not self._alone:
            return f"it has said nothing for {self._silence:g} s"
        return None

    def _ask(self, member: Member) -> None:
        member.asked = time.monotonic()
        member.question = member.actor.clock.options(concurrency_group=WATCH).remote()

    def _done(self, references: list[Any]) -> set[Any]:
        if not references:
            return set()
        return set(self._ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[0])

    def _drop(self, member: Member, reason: str) -> None:
        self._note(f"machine {member.name} is given up: {reason}")
        self._gone[member.name] = reason
        if member in self.members:
            self.members.remove(member)
        self._waiting = {key: one for key, one in self._waiting.items() if one is not member}
        self._kill(member)

    def _kill(self, member: Member) -> None:
        if member.actor is None:
            return
        with contextlib.suppress(Exception):  # it may be gone, and Ray with it
            self._ray.kill(member.actor, no_restart=True)


def _cpus(node: Mapping[str, Any]) -> int:
    return int(node["Resources"].get("CPU", 0))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
