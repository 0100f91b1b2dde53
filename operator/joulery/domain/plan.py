"""Plans and the changes that lead to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from joulery.domain.clock_table import ClockTable
from joulery.domain.keys import ObjectKey, TargetRef


class PlanKind(StrEnum):
    """Why a plan was made."""

    EPOCH = "Epoch"
    UP_ONLY = "UpOnly"
    HOLD = "Hold"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one pool should become: `replicas` instances of one variant, a clock table per variant in use."""

    pool: ObjectKey
    variant: str
    replicas: int
    clock_mhz: int
    tables: tuple[tuple[str, ClockTable], ...]
    planned_rate_rps: float
    capacity_rps: float
    predicted_w: float
    shed_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One joint decision. `cost_w` and `bound_w` are the solver's, in watts at the planned rates."""

    id: str
    kind: PlanKind
    made_at_s: float
    pools: tuple[PoolPlan, ...]
    cost_w: float
    bound_w: float
    engine: str
    status: str

    def pool(self, key: ObjectKey) -> PoolPlan | None:
        """The part of one pool, None where the plan leaves it alone."""
        return next((p for p in self.pools if p.pool == key), None)


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """Write `want` to a target's `/scale`, provided it still says `seen`."""

    pool: ObjectKey
    variant: str
    target: TargetRef
    seen: int
    want: int
    reason: str
    message: str
    victims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """One instance on one node and the table that clocks it."""

    pod_uid: str
    namespace: str
    pod: str
    address: str
    metrics_port: int
    metrics_path: str
    table: str


@dataclass(frozen=True, slots=True)
class NodeDirective:
    """What one node's agent is told: tables by name, and which instance follows which."""

    node: str
    plan_id: str
    tables: tuple[ClockTable, ...]
    bindings: tuple[Binding, ...]
