"""The simulated cluster: nodes, instances, placement, equal-share traffic, and what can be measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from joulery.domain.fleet import Fleet, NodeState, PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool
from joulery.serving.engine import FinishedRequests
from joulery.serving.instance import InstanceModel
from joulery.simulator.instances import Instance, Phase
from joulery.simulator.traces import Requests

# DynamoLLM (HPCA 2025), Fig. 3: an H100 without a model draws 0.55 kW / 8.
IDLE_EMPTY_GPU_W = 69.0


@dataclass(frozen=True, slots=True)
class Hardware:
    """Nodes that stay powered for the whole run."""

    nodes: int = 6
    gpus_per_node: int = 8
    accelerator: str = "H100-SXM-80GB"

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.nodes * self.gpus_per_node


@dataclass(slots=True)
class PoolWorld:
    """One pool's instances, its requests at the door and its finished ones."""

    pool: Pool
    models: Mapping[str, InstanceModel]
    highest_mhz: int
    desired: dict[str, int]
    instances: list[Instance] = field(default_factory=list)
    created: int = 0
    next_instance: int = 0
    turned_away: int = 0
    gone_energy_j: float = 0.0
    clock_changes: int = 0
    finished: list[FinishedRequests] = field(default_factory=list)

    def living(self, variant: str) -> list[Instance]:
        """Instances that count as replicas of a variant's workload."""
        return [i for i in self.instances if i.variant.name == variant and i.phase is not Phase.DRAINING]

    def serving(self) -> list[Instance]:
        """Instances that the Service sends requests to."""
        return [i for i in self.instances if i.phase is Phase.READY]

    def dispatch(self, requests: Requests) -> None:
        """Equal shares over ready instances, in turn; without any, requests are turned away and count as missed."""
        serving = self.serving()
        if not len(requests):
            return
        if not serving:
            self.turned_away += len(requests)
            return
        turn = (np.arange(len(requests)) + self.next_instance) % len(serving)
        self.next_instance = (self.next_instance + len(requests)) % len(serving)
        for index, instance in enumerate(serving):
            mine = turn == index
            if mine.any():
                instance.submit(
                    Requests(
                        requests.arrival_ns[mine], requests.input_tokens[mine], requests.output_tokens[mine]
                    )
                )

    def collect(self) -> list[FinishedRequests]:
        """Requests that ended since the last call, kept for the final figures."""
        batches = [f for f in (i.finished() for i in self.instances) if f is not None and len(f)]
        self.finished.extend(batches)
        return batches

    def energy_j(self) -> float:
        """Joules of all GPUs that instances of this pool held."""
        return self.gone_energy_j + sum(i.energy_j() for i in self.instances)

    def bury(self) -> None:
        """Drop instances that are gone, keeping their joules and requests."""
        for instance in [i for i in self.instances if i.phase is Phase.GONE]:
            self.gone_energy_j += instance.energy_j()
            self.clock_changes += instance.clock_changes
            last = instance.finished()
            if last is not None and len(last):
                self.finished.append(last)
            self.instances.remove(instance)


class World:
    """All pools on one set of nodes; times in seconds from the start of the run."""

    def __init__(
        self,
        hardware: Hardware,
        pools: Iterable[PoolWorld],
        *,
        startup_s: float | None,
        seed: int = 0,
    ) -> None:
        self.hardware = hardware
        self.pools: dict[ObjectKey, PoolWorld] = {p.pool.key: p for p in pools}
        self.free_gpus = [hardware.gpus_per_node] * hardware.nodes
        self.gpu_seconds = 0.0
        self._startup_s = startup_s
        self._rng = np.random.default_rng([seed, 0x57A7])

    def start_ready(self, key: ObjectKey, variant: str, replicas: int, now_s: float) -> None:
        """Instances that are already serving when the run begins."""
        world = self.pools[key]
        world.desired[variant] = replicas
        for _ in range(replicas):
            instance = self._create(world, variant, now_s, startup_s=0.0)
            self._place(instance, now_s)
            if instance.node is None:
                raise ValueError(f"pool {key}: {replicas} x {variant} do not fit on {self.hardware}")
            instance.serve()

    def apply(self, change: ScaleChange, now_s: float) -> None:
        """Carry out a scale change as a Deployment's controller would."""
        world = self.pools[change.pool]
        if world.desired.get(change.variant, 0) != change.seen:
            raise ValueError(
                f"{change.pool}: decided on {change.seen} replicas, found {world.desired.get(change.variant)}"
            )
        world.desired[change.variant] = change.want
        living = world.living(change.variant)
        for _ in range(change.want - len(living)):
            self._create(world, change.variant, now_s, startup_s=None)
        for instance in living:
            instance.deletion_cost = -100 if instance.name in change.victims else 0
        # A ReplicaSet drops unscheduled pods first, then unready ones, then by deletion cost, then newest.
        order = {Phase.PENDING: 0, Phase.STARTING: 1, Phase.READY: 2}
        doomed = sorted(living, key=lambda i: (order[i.phase], i.deletion_cost, -i.created_s))
        for instance in doomed[: max(0, len(living) - change.want)]:
            instance.drain(now_s)

    def advance(self, start_s: float, end_s: float, arrivals: Mapping[ObjectKey, Requests]) -> None:
        """Schedule, start, dispatch and serve over one step."""
        for world in self.pools.values():
            for instance in world.instances:
                if instance.phase is Phase.PENDING:
                    self._place(instance, start_s)
                if instance.phase is Phase.STARTING and instance.ready_s <= start_s:
                    instance.serve()
            world.dispatch(arrivals[world.pool.key])
            for instance in world.instances:
                instance.advance(end_s)
                if instance.phase is Phase.GONE and instance.node is not None:
                    self.free_gpus[instance.node] += instance.gpus
            world.bury()
        self.gpu_seconds += (self.hardware.gpus - sum(self.free_gpus)) * (end_s - start_s)

    def snapshot(self, now_s: float, epoch_s: float) -> Fleet:
        """The cluster as the planner would see it; `epoch_s` is the wall time of the run's start."""
        pools = tuple(self._pool_state(world, now_s, epoch_s) for world in self.pools.values())
        nodes = tuple(
            NodeState(
                f"node-{i}", self.hardware.accelerator, self.hardware.gpus_per_node, free, agent_ready=True
            )
            for i, free in enumerate(self.free_gpus)
        )
        return Fleet(epoch_s + now_s, pools, nodes)

    def _pool_state(self, world: PoolWorld, now_s: float, epoch_s: float) -> PoolState:
        states = []
        for variant in world.pool.variants:
            replicas = [i.replica(now_s, epoch_s) for i in world.instances if i.variant.name == variant.name]
            states.append(VariantState(variant.name, world.desired.get(variant.name, 0), tuple(replicas)))
        return PoolState(world.pool, tuple(states))

    def _create(self, world: PoolWorld, variant: str, now_s: float, startup_s: float | None) -> Instance:
        spec = world.pool.variant(variant)
        mean_s = spec.startup_s if self._startup_s is None else self._startup_s
        drawn = mean_s * float(self._rng.uniform(0.9, 1.1)) if startup_s is None else startup_s
        world.created += 1
        instance = Instance(
            name=f"{world.pool.key.name}-{variant}-{world.created}",
            pool=world.pool.key,
            variant=spec,
            model=world.models[variant],
            created_s=now_s,
            startup_s=drawn,
            clock_mhz=world.highest_mhz,
        )
        world.instances.append(instance)
        return instance

    def _place(self, instance: Instance, now_s: float) -> None:
        """Fullest node that still fits (MostAllocated); stays pending where none does."""
        fitting = [n for n, free in enumerate(self.free_gpus) if free >= instance.gpus]
        if fitting:
            node = min(fitting, key=lambda n: (self.free_gpus[n], n))
            self.free_gpus[node] -= instance.gpus
            instance.schedule(node, now_s)


def finished_arrays(batches: Sequence[FinishedRequests], field_name: str) -> np.ndarray:
    """One field of all batches as one array."""
    return (
        np.concatenate([getattr(b, field_name) for b in batches]) if batches else np.zeros(0, dtype=np.int64)
    )
