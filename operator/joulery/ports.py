"""The Protocols that the controller's loop needs; adapters implement them, tests fake them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory
from joulery.domain.plan import NodeDirective, ScaleChange
from joulery.domain.policy import Policy
from joulery.domain.pool import Pool
from joulery.domain.report import PoolReport
from joulery.domain.verdict import Finding, Verdict
from joulery.serving.parameters import EngineProfile


@dataclass(frozen=True, slots=True)
class Rejected:
    """A pool that could not be taken over into the fleet, and why; its workloads are left as they are."""

    pool: ObjectKey
    generation: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """An EnergyPolicy that cannot be understood: which field, what holds instead, and whom it would govern."""

    message: str
    namespaces: tuple[str, ...] = ()

    def touches(self, namespace: str) -> bool:
        """Whether pools of that namespace may be governed by it; no namespaces known means all."""
        return not self.namespaces or namespace in self.namespaces


@dataclass(frozen=True, slots=True)
class Observation:
    """One LIST snapshot of the cluster, converted. `measured_w` holds watts per pool where agents report."""

    fleet: Fleet
    policies: tuple[Policy, ...]
    profiles: Mapping[str, EngineProfile]
    profile_problems: Mapping[str, str]
    rejected: tuple[Rejected, ...]
    memories: Mapping[ObjectKey, PoolMemory]
    measured_w: Mapping[ObjectKey, float]
    policy_problems: Mapping[str, PolicyProblem] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """Whether a write took effect, and the verdict to tell."""

    done: bool
    verdict: Verdict


class FleetReader(Protocol):
    """Reads the whole cluster once per cycle."""

    async def read(self) -> Observation:
        """The snapshot. Raises ClusterError where the API server cannot be read."""
        ...


class DemandReader(Protocol):
    """Reads measured load."""

    async def read(self, pools: Sequence[Pool], now_s: float) -> Mapping[ObjectKey, Demand]:
        """Demand of every pool asked for; trouble is in `Demand.problem`, never an exception."""
        ...


class Actuator(Protocol):
    """Writes replicas."""

    async def scale(self, change: ScaleChange, plan_id: str) -> WriteOutcome:
        """Mark the victims, then patch `/scale` with a test of the value decided on."""
        ...


class DirectiveWriter(Protocol):
    """Writes `GPUNode.spec`."""

    async def write(self, directives: Sequence[NodeDirective]) -> Mapping[str, WriteOutcome]:
        """Outcome by node; an equal spec is not written again."""
        ...


class StatusWriter(Protocol):
    """Writes pool status."""

    async def write(self, reports: Sequence[PoolReport]) -> Mapping[ObjectKey, WriteOutcome]:
        """Outcome by pool; an equal status is not written again."""
        ...

    async def write_rejected(self, rejected: Sequence[Rejected]) -> Mapping[ObjectKey, WriteOutcome]:
        """The same for pools that could not be taken over."""
        ...


class EventSink(Protocol):
    """Posts Events."""

    async def emit(self, pool: ObjectKey, verdict: Verdict, *, warning: bool = False) -> None:
        """One Event about a pool; repeats within two minutes are dropped."""
        ...


class Lease(Protocol):
    """The operator's heartbeat to the node agents."""

    async def renew(self, plan_id: str | None) -> None:
        """Renew the Lease, creating it where absent."""
        ...


class WallClock(Protocol):
    """Time, so that tests may turn it."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        ...
