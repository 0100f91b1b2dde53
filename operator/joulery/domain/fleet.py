"""An immutable snapshot of what runs: pools with their replicas, and nodes with their GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joulery.domain.drain import Drain
from joulery.domain.keys import ObjectKey
from joulery.domain.limits import NO_LIMITS, Limits, Provisioner, Quota
from joulery.domain.ownership import Claim
from joulery.domain.pool import Pool
from joulery.domain.verdict import Verdict

# Seconds that shares of requests per pod are measured over; a younger pod is not compared with others.
SHARE_WINDOW_S = 300.0


class ReplicaPhase(StrEnum):
    """Where a replica is between wish and end."""

    UNSCHEDULED = "Unscheduled"
    STARTING = "Starting"
    READY = "Ready"
    TERMINATING = "Terminating"


@dataclass(frozen=True, slots=True)
class Replica:
    """One running engine, its times in seconds since the Unix epoch.

    `running_requests` ran at `running_measured_s`, `requests_per_s` is over the last `SHARE_WINDOW_S`, `answers` how
    many requests it has begun to answer since its engine started; None where nobody measured. `killed_at_s` is the
    end of a terminating replica's grace period. `highest_since_s` is since when its load has held it at the highest
    clock of its table, by its node's agent; None where it has not, or where no agent told.
    """

    name: str
    uid: str
    phase: ReplicaPhase
    created_s: float
    node: str | None = None
    address: str | None = None
    ready_since_s: float | None = None
    running_requests: int | None = None
    deletion_cost: int = 0
    requests_per_s: float | None = None
    killed_at_s: float | None = None
    highest_since_s: float | None = None
    answers: int | None = None
    running_measured_s: float | None = None


@dataclass(frozen=True, slots=True)
class VariantState:
    """A variant's workload as observed; `desired` is `spec.replicas`, None where the target does not exist.

    `hold` says why its replicas must not be written (missing, autoscaled, claimed twice), else None. `drain`
    is how its replicas end, None where neither template nor pods can be seen. `limits` is what else bounds them.
    `claim` is what tells whose its replicas are, None where nothing was read of it.
    """

    variant: str
    desired: int | None
    replicas: tuple[Replica, ...] = ()
    hold: Verdict | None = None
    drain: Drain | None = None
    limits: Limits = NO_LIMITS
    claim: Claim | None = None

    def in_phase(self, phase: ReplicaPhase) -> tuple[Replica, ...]:
        """Replicas in one phase."""
        return tuple(r for r in self.replicas if r.phase is phase)

    @property
    def ready(self) -> int:
        """Replicas that serve."""
        return len(self.in_phase(ReplicaPhase.READY))


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool with its variants' workloads, in the order of the pool's variants."""

    pool: Pool
    variants: tuple[VariantState, ...]

    def variant(self, name: str) -> VariantState:
        """The state of the variant of that name; KeyError where there is none."""
        for candidate in self.variants:
            if candidate.variant == name:
                return candidate
        raise KeyError(f"pool {self.pool.key} has no variant {name!r}")


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node with GPUs; it counts until its Node object is gone, however it is drained.

    `free_gpus` are those that no pod holds, ours or foreign, terminating or not, and that no foreign pod ahead of
    ours in the scheduler's queue will take. `trouble` says why it takes no new pods, else None.
    """

    name: str
    accelerator: str
    gpus: int
    free_gpus: int
    schedulable: bool = True
    agent_ready: bool = False
    trouble: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """One snapshot; `observed_at_s` is the only clock the pure layers know.

    `unread` names what could not be read and is therefore not part of it; the rest is true without.
    """

    observed_at_s: float
    pools: tuple[PoolState, ...]
    nodes: tuple[NodeState, ...]
    quotas: tuple[Quota, ...] = ()
    provisioner: Provisioner | None = None
    unread: tuple[Verdict, ...] = ()

    def pool(self, key: ObjectKey) -> PoolState:
        """The pool of that key; KeyError where it is not in the snapshot."""
        for candidate in self.pools:
            if candidate.pool.key == key:
                return candidate
        raise KeyError(f"no pool {key} in the snapshot")
