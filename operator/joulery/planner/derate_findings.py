"""What users are told about a profile that is known to be off, and of instances added to it."""

from __future__ import annotations

from datetime import UTC, datetime

from joulery.domain import reasons
from joulery.domain.memory import VariantMemory
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.history import PoolHistory
from joulery.planner.view import PoolView
from joulery.serving.parameters import HELD_OUT_LIMIT_PERCENT, EngineProfile, worst_mean_error


def accuracy_finding(view: PoolView) -> Finding | None:
    """The condition `ProfileAccurate`.

    None until a window of latency was judged on this profile, but where the profile itself states large errors.
    """
    if view.profile is None:
        return None
    condition = ConditionType.PROFILE_ACCURATE
    known = [v for v in view.past.memory.variants if v.derate.profile is not None]
    optimistic = [v for v in known if v.derate.optimistic_since_s is not None]
    if optimistic:
        verdict = Verdict(reasons.PROFILE_OPTIMISTIC, _optimistic(view, optimistic))
        return Finding(condition, ConditionStatus.FALSE, verdict)
    if (stated := _stated_error(view, view.profile)) is not None:
        return Finding(condition, ConditionStatus.FALSE, stated)
    if not known:
        return None
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


def _stated_error(view: PoolView, profile: EngineProfile) -> Verdict | None:
    """What to say of a profile that was accepted although it misses points that it was not fitted to."""
    for name in dict.fromkeys(v.accelerator for v in view.pool.variants):
        known = profile.accelerators.get(name)
        worst = worst_mean_error(known) if known is not None else None
        if worst is not None and worst.mean_percent > HELD_OUT_LIMIT_PERCENT:
            message = (
                f"EnergyProfile {view.pool.profile_name!r} of pool {view.key} states an error of "
                f"{worst.mean_percent:.1f} % on average in {worst.quantity} on {name} for points that it was not "
                f"fitted to ({worst.held_out}), above {HELD_OUT_LIMIT_PERCENT:g} %: plans and savings are that "
                f"uncertain; measure more points (joulery profile fit), create the result under a new name and set "
                f"spec.profileRef to it"
            )
            return Verdict(reasons.PROFILE_ERROR_LARGE, message)
    return None


def _optimistic(view: PoolView, variants: list[VariantMemory]) -> str:
    each = "; ".join(_variant(v) for v in variants)
    return (
        f"EnergyProfile {view.pool.profile_name!r} is faster than pool {view.key} measures at equal load: {each}. "
        f"Capacity and clock tables follow the measured speed, at the price of energy; calibrate the engine as it "
        f"runs (joulery profile fit), create the result under a new name and set spec.profileRef to it"
    )


def _variant(known: VariantMemory) -> str:
    derate = known.derate
    since = datetime.fromtimestamp(derate.optimistic_since_s or 0.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"{known.variant} counts with {100.0 * derate.applied:.0f} % of its speed "
        f"({100.0 * (1.0 / derate.applied - 1.0):.0f} % too optimistic, since {since})"
    )
