"""What bounds the GPUs of a pool besides nodes: quotas, disruption budgets, and who may add nodes."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota on GPUs: `used_gpus` are those of all pods of the namespace, ours included."""

    namespace: str
    name: str
    hard_gpus: int
    used_gpus: int

    @property
    def left_gpus(self) -> int:
        """GPUs that new pods may still ask for."""
        return max(0, self.hard_gpus - self.used_gpus)


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget over a variant's pods: how many ready ones may go now, and why no more."""

    name: str
    disruptions_allowed: int
    rule: str


@dataclass(frozen=True, slots=True)
class Provisioner:
    """Who adds nodes to the cluster.

    Attributes:
        name: `Karpenter` or `cluster-autoscaler`.
        more_gpus: GPUs that it may still add, None where no readable limit says.
        node_start_s: longest recent wait of a pod for a node made for it, None where none was seen.
    """

    name: str
    more_gpus: int | None = None
    node_start_s: float | None = None

    @property
    def may_grow(self) -> bool:
        """Whether a pending pod may still get a new node."""
        return self.more_gpus is None or self.more_gpus > 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the replicas of one variant besides its own specification.

    Attributes:
        keep: why none of them may be taken away now (a rolling update, a drain), else None.
        barred: nodes that take pods, but not this variant's (taint, selector, affinity).
        budgets: PodDisruptionBudgets that select its pods.
        uncreated_since_s: since when its controller has failed to create pods, None where it has not.
        leaving: names of its pods that are evicted or on a node being drained: they serve, but not for long.
        notes: what users should know and what stops nothing.
    """

    keep: Verdict | None = None
    barred: frozenset[str] = frozenset()
    budgets: tuple[Budget, ...] = ()
    uncreated_since_s: float | None = None
    leaving: frozenset[str] = frozenset()
    notes: tuple[Verdict, ...] = ()


NO_LIMITS = Limits()
