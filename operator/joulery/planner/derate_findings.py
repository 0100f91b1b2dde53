"""What users are told about a profile that measured latency contradicts, and of instances added to it."""

from __future__ import annotations

from datetime import UTC, datetime

from joulery.domain import reasons
from joulery.domain.memory import VariantMemory
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.history import PoolHistory
from joulery.planner.view import PoolView


def accuracy_finding(view: PoolView) -> Finding | None:
    """The condition `ProfileAccurate`; None until a window of latency was judged on this profile."""
    known = [v for v in view.past.memory.variants if v.derate.profile is not None]
    if not known or view.profile is None:
        return None
    condition = ConditionType.PROFILE_ACCURATE
    optimistic = [v for v in known if v.derate.optimistic_since_s is not None]
    if optimistic:
        verdict = Verdict(reasons.PROFILE_OPTIMISTIC, _optimistic(view, optimistic))
        return Finding(condition, ConditionStatus.FALSE, verdict)
    judged = ", ".join(v.variant for v in known)
    message = (
        f"measured latency of pool {view.key} bears out EnergyProfile {view.pool.profile_name!r} for {judged}"
    )
    return Finding(condition, ConditionStatus.TRUE, Verdict(reasons.PROFILE_CONFIRMED, message))


def reinforcement_told(view: PoolView, before: PoolHistory | None) -> tuple[Verdict, ...]:
    """What to say where the number of added instances changed since the last poll."""
    added = view.past.memory.reinforcement.instances
    past = before.memory.reinforcement.instances if before is not None else added
    if added == past:
        return ()
    if added > past:
        message = (
            f"pool {view.key} missed its objectives with every instance at its highest clock: {added} more than "
            f"EnergyProfile {view.pool.profile_name!r} asks for are planned, as far as maxReplicas and GPUs allow"
        )
        return (Verdict(reasons.REINFORCED, message),)
    message = f"pool {view.key} keeps its objectives: {added} more than the profile asks for stay planned"
    return (Verdict(reasons.REINFORCEMENT_ENDED, message),)


def _optimistic(view: PoolView, variants: list[VariantMemory]) -> str:
    each = "; ".join(_variant(v) for v in variants)
    return (
        f"EnergyProfile {view.pool.profile_name!r} is faster than pool {view.key} measures at equal load: {each}. "
        f"Capacity and clock tables follow the measured speed, at the price of energy; calibrate the engine as it "
        f"runs (joulery profile), create the result under a new name and set spec.profileRef to it"
    )


def _variant(known: VariantMemory) -> str:
    derate = known.derate
    since = datetime.fromtimestamp(derate.optimistic_since_s or 0.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"{known.variant} counts with {100.0 * derate.applied:.0f} % of its speed "
        f"({100.0 * (1.0 / derate.applied - 1.0):.0f} % too optimistic, since {since})"
    )
