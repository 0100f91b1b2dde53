"""GPUs that a plan may use: free ones and those held by replicas that the plan may move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from joulery.domain.fleet import Fleet
from joulery.domain.pool import Variant
from joulery.optimizer.problem import Supply, supply_of
from joulery.planner.replicas import holds_gpus
from joulery.planner.view import PoolView


def supplies(fleet: Fleet, movable: Iterable[tuple[PoolView, str]]) -> tuple[Supply, ...]:
    """Supply per accelerator; `movable` are the (pool, variant) whose replicas the plan decides on.

    A node that takes no new pods offers what our own replicas hold there and nothing more.
    """
    held = gpus_held(movable)
    available: dict[str, list[int]] = {}
    for node in fleet.nodes:
        free = node.free_gpus if node.schedulable else 0
        available.setdefault(node.accelerator, []).append(min(node.gpus, free + held[node.name]))
    return tuple(supply_of(accelerator, gpus) for accelerator, gpus in sorted(available.items()))


def gpus_held(movable: Iterable[tuple[PoolView, str]]) -> Counter[str]:
    """GPUs by node that replicas of these variants occupy, terminating ones included: they come free."""
    held: Counter[str] = Counter()
    for view, variant in movable:
        gpus = view.pool.variant(variant).tensor_parallel_size
        for replica in view.state.variant(variant).replicas:
            if replica.node is not None and holds_gpus(replica):
                held[replica.node] += gpus
    return held


@dataclass(frozen=True, slots=True)
class FreeGpus:
    """GPUs free right now on nodes that take new pods, as `(accelerator, node, GPUs)`."""

    nodes: tuple[tuple[str, str, int], ...]

    @classmethod
    def of(cls, fleet: Fleet) -> FreeGpus:
        """What the snapshot shows as free."""
        return cls(tuple((n.accelerator, n.name, n.free_gpus) for n in fleet.nodes if n.schedulable))

    def by_node(self, accelerator: str) -> dict[str, int]:
        """Free GPUs of one accelerator by node."""
        return {node: free for name, node, free in self.nodes if name == accelerator}

    def slots(self, variant: Variant) -> int:
        """Instances of a variant that find room."""
        gpus = variant.tensor_parallel_size
        return sum(free // gpus for name, _, free in self.nodes if name == variant.accelerator)

    def taken(self, variant: Variant, instances: int) -> FreeGpus:
        """What is left after instances of a variant took theirs, fullest node first."""
        gpus = variant.tensor_parallel_size
        left = instances
        nodes: list[tuple[str, str, int]] = []
        for name, node, free in sorted(self.nodes, key=lambda n: (n[2], n[1])):
            here = min(left, free // gpus) if name == variant.accelerator else 0
            left -= here
            nodes.append((name, node, free - here * gpus))
        return FreeGpus(tuple(nodes))
