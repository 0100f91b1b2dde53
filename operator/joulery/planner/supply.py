"""GPUs that a plan may use: free ones and those held by replicas that the plan may move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulery.domain.fleet import Fleet, PoolState, ReplicaPhase
from joulery.domain.pool import Variant
from joulery.optimizer.problem import GpuQuota, Supply, supply_of
from joulery.planner.limits import quota_left
from joulery.planner.replicas import holds_gpus
from joulery.planner.view import PoolView


def supplies(fleet: Fleet, movable: Iterable[tuple[PoolView, str]]) -> tuple[Supply, ...]:
    """Supply per accelerator; `movable` are the (pool, variant) whose replicas the plan decides on.

    A node that takes no new pods, or none of these, offers what our own replicas hold there and nothing more.
    """
    movable = tuple(movable)
    held = gpus_held(movable)
    bars = [view.state.variant(name).limits.barred for view, name in movable]
    available: dict[str, list[int]] = {}
    for node in fleet.nodes:
        is_open = node.schedulable and any(node.name not in barred for barred in bars)
        free = node.free_gpus if is_open else 0
        available.setdefault(node.accelerator, []).append(min(node.gpus, free + held[node.name]))
    return tuple(supply_of(accelerator, gpus) for accelerator, gpus in sorted(available.items()))


def quotas(fleet: Fleet, movable: Iterable[tuple[PoolView, str]]) -> tuple[GpuQuota, ...]:
    """By namespace what its quotas leave and what replicas that the plan decides on hold of it already."""
    own: Counter[str] = Counter()
    for view, variant in movable:
        gpus = view.pool.variant(variant).tensor_parallel_size
        own[view.key.namespace] += gpus * len(view.state.variant(variant).replicas)
    left = quota_left(fleet)
    return tuple(GpuQuota(name, gpus + own[name]) for name, gpus in sorted(left.items()))


def gpus_held(movable: Iterable[tuple[PoolView, str]]) -> Counter[str]:
    """GPUs by node that replicas of these variants occupy, terminating ones included: they come free."""
    held: Counter[str] = Counter()
    for view, variant in movable:
        gpus = view.pool.variant(variant).tensor_parallel_size
        for replica in view.state.variant(variant).replicas:
            if replica.node is not None and holds_gpus(replica):
                held[replica.node] += gpus
    return held


def _gpus_coming(fleet: Fleet) -> Counter[str]:
    coming: Counter[str] = Counter()
    for state in fleet.pools:
        for variant in state.variants:
            gpus = state.pool.variant(variant.variant).tensor_parallel_size
            for replica in variant.in_phase(ReplicaPhase.TERMINATING):
                if replica.node is not None:
                    coming[replica.node] += gpus
    return coming


@dataclass(frozen=True, slots=True)
class FreeGpus:
    """GPUs free right now on nodes that take new pods, as `(accelerator, node, GPUs)`, seen from one pool.

    Attributes:
        quotas: GPUs that new pods may ask for, by namespace; those without a quota are left out.
        namespace: of the pool.
        barred: nodes that a variant of the pool may not use, by variant.
        coming: GPUs by node that pods on their way out still hold.
    """

    nodes: tuple[tuple[str, str, int], ...]
    quotas: Mapping[str, int] = field(default_factory=dict)
    namespace: str = ""
    barred: Mapping[str, frozenset[str]] = field(default_factory=dict)
    coming: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, fleet: Fleet) -> FreeGpus:
        """What the snapshot shows as free."""
        nodes = tuple((n.accelerator, n.name, n.free_gpus) for n in fleet.nodes if n.schedulable)
        return cls(nodes, quota_left(fleet), coming=_gpus_coming(fleet))

    def seen_from(self, pool: PoolState) -> FreeGpus:
        """The same GPUs under one pool's quota and what its pods tolerate."""
        barred = {v.variant: v.limits.barred for v in pool.variants if v.limits.barred}
        return replace(self, namespace=pool.pool.key.namespace, barred=barred)

    def with_coming(self) -> FreeGpus:
        """The same once all pods that end are gone."""
        return replace(self, nodes=tuple((a, n, free + self.coming.get(n, 0)) for a, n, free in self.nodes))

    def given(self, nodes: Sequence[str], gpus: int) -> FreeGpus:
        """What is free once so many GPUs on each of these nodes are given back."""
        back = Counter(nodes)
        return replace(self, nodes=tuple((a, n, free + back[n] * gpus) for a, n, free in self.nodes))

    def open_nodes(self, variant: Variant) -> dict[str, int]:
        """Free GPUs by node, of nodes that take a variant's pods."""
        return {node: free for name, node, free in self.nodes if self._is_open(variant, name, node)}

    def slots(self, variant: Variant) -> int:
        """Instances of a variant that find room."""
        gpus = variant.tensor_parallel_size
        fitting = sum(free // gpus for name, node, free in self.nodes if self._is_open(variant, name, node))
        quota = self.quotas.get(self.namespace)
        return fitting if quota is None else min(fitting, quota // gpus)

    def _is_open(self, variant: Variant, accelerator: str, node: str) -> bool:
        return accelerator == variant.accelerator and node not in self.barred.get(variant.name, frozenset())

    def taken(self, variant: Variant, instances: int) -> FreeGpus:
        """What is left after instances of a variant took theirs, fullest node first."""
        gpus = variant.tensor_parallel_size
        left = instances
        nodes: list[tuple[str, str, int]] = []
        for name, node, free in sorted(self.nodes, key=lambda n: (n[2], n[1])):
            here = min(left, free // gpus) if self._is_open(variant, name, node) else 0
            left -= here
            nodes.append((name, node, free - here * gpus))
        quotas = dict(self.quotas)
        if self.namespace in quotas:
            quotas[self.namespace] = max(0, quotas[self.namespace] - instances * gpus)
        return replace(self, nodes=tuple(nodes), quotas=quotas)
