"""A small cluster on which things go wrong: nodes, schedulability, starts, writes, drains; time moves when told.

It does what controllers, scheduler and kubelets would, one poll at a time, and is fast: nothing but lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fleets import H100, RATES_RPS, replica
from joulery.domain.fleet import Fleet, NodeState, PoolState, Replica, ReplicaPhase, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool
from joulery.domain.verdict import Verdict
from joulery.planner.sharing import Sharing

Place = tuple[ObjectKey, str]
GPUS_PER_NODE = 8
_FIRST_TO_GO = (ReplicaPhase.UNSCHEDULED, ReplicaPhase.STARTING, ReplicaPhase.READY)


@dataclass(slots=True)
class RoughCluster:
    """Pools on nodes of eight GPUs.

    Attributes:
        foreign: GPUs by node that others hold.
        cordoned: nodes that take no new pods.
        lost: nodes that are gone with their pods.
        barred: variants whose pods no node takes, whatever is free.
        starts_s: how long starts take from now on.
        drain_s: how long a pod that ends keeps its GPUs.
    """

    pools: tuple[Pool, ...]
    nodes: tuple[str, ...]
    now_s: float
    starts_s: float = 120.0
    drain_s: float = 45.0
    desired: dict[Place, int] = field(default_factory=dict)
    pods: dict[Place, list[Replica]] = field(default_factory=dict)
    ends_s: dict[str, float] = field(default_factory=dict)
    startup_s: dict[str, float] = field(default_factory=dict)
    holds: dict[Place, Verdict] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    cordoned: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    barred: set[Place] = field(default_factory=set)
    created: int = 0

    def begin(self, key: ObjectKey, name: str, replicas: int) -> None:
        """So many replicas that are serving."""
        self.desired[key, name] = replicas
        self._create_missing()
        self._schedule()
        self.pods[key, name] = [
            replace(p, phase=ReplicaPhase.READY, ready_since_s=self.now_s, running_requests=0)
            for p in self.pods[key, name]
        ]

    def fleet(self) -> Fleet:
        """The snapshot."""
        free = self.free()
        nodes = tuple(
            NodeState(n, H100, GPUS_PER_NODE, max(0, free[n]), n not in self.cordoned, agent_ready=True)
            for n in free
        )
        return Fleet(self.now_s, tuple(self._state(p) for p in self.pools), nodes)

    def carry_out(self, changes: Iterable[ScaleChange]) -> None:
        """What the workloads' controllers do after writes of `/scale`."""
        for change in changes:
            place = (change.pool, change.variant)
            assert self.desired.get(place, 0) == change.seen, f"decided on what is not there: {change}"
            self.desired[place] = change.want
            pods = self.pods.get(place, [])
            doomed = sorted(
                (p for p in pods if p.phase is not ReplicaPhase.TERMINATING),
                key=lambda p: (_FIRST_TO_GO.index(p.phase), p.name not in change.victims, -p.created_s),
            )
            self._end(place, {p.name for p in doomed[: max(0, len(doomed) - change.want)]})
        self._create_missing()

    def lose(self, node: str) -> None:
        """A node dies; its pods are gone and made anew."""
        self.lost.add(node)
        for place, pods in self.pods.items():
            self.pods[place] = [p for p in pods if p.node != node]
        self._create_missing()

    def pass_time(self, seconds: float) -> None:
        """Later: ended pods are gone, pods are placed where there is room, and started ones are ready."""
        self.now_s += seconds
        for place, pods in self.pods.items():
            self.pods[place] = [p for p in pods if self.ends_s.get(p.name, self.now_s + 1.0) > self.now_s]
        self._create_missing()
        self._schedule()
        for place, pods in self.pods.items():
            self.pods[place] = [self._risen(p) for p in pods]

    def free(self) -> dict[str, int]:
        """Free GPUs by node."""
        free = {n: GPUS_PER_NODE - self.foreign.get(n, 0) for n in self.nodes if n not in self.lost}
        for place, pod in self._placed():
            free[str(pod.node)] -= self._size(place)
        return free

    def ready(self, key: ObjectKey) -> dict[str, int]:
        """Ready replicas of a pool by variant."""
        return {
            name: sum(p.phase is ReplicaPhase.READY for p in pods)
            for (owner, name), pods in self.pods.items()
            if owner == key
        }

    def _placed(self) -> Iterator[tuple[Place, Replica]]:
        return ((place, p) for place, pods in self.pods.items() for p in pods if p.node is not None)

    def _size(self, place: Place) -> int:
        return next(p for p in self.pools if p.key == place[0]).variant(place[1]).tensor_parallel_size

    def _state(self, spec: Pool) -> PoolState:
        states = (
            VariantState(
                v.name,
                self.desired.get((spec.key, v.name), 0),
                tuple(self.pods.get((spec.key, v.name), ())),
                self.holds.get((spec.key, v.name)),
            )
            for v in spec.variants
        )
        return PoolState(spec, tuple(states))

    def _end(self, place: Place, names: set[str]) -> None:
        """Placed pods drain, others are gone at once."""
        self.ends_s |= dict.fromkeys(names, self.now_s + self.drain_s)
        self.pods[place] = [
            replace(p, phase=ReplicaPhase.TERMINATING) if p.name in names else p
            for p in self.pods.get(place, [])
            if p.name not in names or p.node is not None
        ]

    def _create_missing(self) -> None:
        for place, wanted in self.desired.items():
            pods = self.pods.setdefault(place, [])
            living = sum(p.phase is not ReplicaPhase.TERMINATING for p in pods)
            for _ in range(wanted - living):
                self.created += 1
                owner = f"{place[0].name}-{place[1]}"
                pod = replica(owner, self.created, ReplicaPhase.UNSCHEDULED, node=None, since_s=self.now_s)
                self.startup_s[pod.name] = self.starts_s
                pods.append(pod)

    def _schedule(self) -> None:
        free = self.free()
        for place, pods in self.pods.items():
            size = self._size(place)
            for i, pod in enumerate(pods):
                room = [n for n, gpus in free.items() if gpus >= size and n not in self.cordoned]
                if pod.phase is ReplicaPhase.UNSCHEDULED and room and place not in self.barred:
                    node = min(room, key=lambda n: (free[n], n))
                    free[node] -= size
                    pods[i] = replace(pod, phase=ReplicaPhase.STARTING, node=node, address="127.1.0.1")

    def _risen(self, pod: Replica) -> Replica:
        if pod.phase is not ReplicaPhase.STARTING:
            return pod
        if pod.created_s + self.startup_s[pod.name] > self.now_s:
            return pod
        return replace(pod, phase=ReplicaPhase.READY, ready_since_s=self.now_s, running_requests=0)


def carried_rps(ready: dict[str, int]) -> float:
    """What ready replicas carry, by what the made-up catalog says."""
    return Sharing().capacity_rps((n, RATES_RPS[int(name[2:])]) for name, n in ready.items())
