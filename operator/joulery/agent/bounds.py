"""What the administrator allows here, read by the agent itself: no operator can exceed it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulery.domain import reasons
from joulery.domain.policy import ClockBounds, Policy, governing
from joulery.domain.pool import Mode
from joulery.domain.verdict import Verdict

_NO_LIMIT_MHZ = 100_000


def permission(policies: Sequence[Policy], namespace: str, accelerator: str) -> ClockBounds | Verdict:
    """The bounds for one pod's GPUs, or why its clocks must not be touched."""
    policy = governing(policies, namespace)
    if policy is None:
        return Verdict(
            reasons.NO_POLICY, f"no EnergyPolicy governs namespace {namespace}; create one with maxMode: Act"
        )
    if policy.max_mode is not Mode.ACT:
        return Verdict(
            reasons.MODE_CEILING,
            f"EnergyPolicy {policy.name} allows at most {policy.max_mode}; maxMode: Act lets clocks move",
        )
    return policy.clock_bounds(accelerator) or ClockBounds(accelerator, 0, _NO_LIMIT_MHZ)
