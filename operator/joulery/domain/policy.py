"""What the administrator allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from joulery.domain.pool import Mode


@dataclass(frozen=True, slots=True)
class ClockBounds:
    """SM clocks allowed on one accelerator; the floor bounds what a lost node is left with."""

    accelerator: str
    floor_mhz: int
    ceiling_mhz: int


@dataclass(frozen=True, slots=True)
class Guardrails:
    """Limits on how fast and for how little a plan may change."""

    dwell_s: float = 600.0
    max_step_down_percent: int = 50
    minimum_gain_percent: int = 3


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often each layer runs."""

    plan_epoch_s: float = 300.0
    demand_poll_s: float = 15.0
    clock_epoch_s: float = 5.0
    lease_timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds on pools of some namespaces; only the one named `default` carries cadence and solver limits."""

    name: str
    priority: int = 0
    namespaces: tuple[str, ...] = ()
    max_mode: Mode = Mode.RECOMMEND
    clocks: tuple[ClockBounds, ...] = ()
    guardrails: Guardrails = field(default_factory=Guardrails)
    cadence: Cadence = field(default_factory=Cadence)
    solver_time_limit_s: float = 5.0
    max_starts_per_plan: int | None = None

    def governs(self, namespace: str) -> bool:
        """Whether pools of that namespace fall under this policy; no namespaces named means all."""
        return not self.namespaces or namespace in self.namespaces

    def clock_bounds(self, accelerator: str) -> ClockBounds | None:
        """Bounds for one accelerator, None where the policy sets none."""
        return next((b for b in self.clocks if b.accelerator == accelerator), None)


def governing(policies: Sequence[Policy], namespace: str) -> Policy | None:
    """The policy with the highest priority, then the first name; None where no policy governs."""
    matching = sorted((p for p in policies if p.governs(namespace)), key=lambda p: (-p.priority, p.name))
    return matching[0] if matching else None


def cluster_wide(policies: Sequence[Policy]) -> Policy | None:
    """The policy named `default`, which holds what one joint solve needs once."""
    return next((p for p in policies if p.name == "default"), None)
