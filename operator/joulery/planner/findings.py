"""The conditions of a pool, from what was seen, planned and done."""

from __future__ import annotations

from joulery.domain import reasons
from joulery.domain.fleet import Fleet
from joulery.domain.plan import Plan, PlanKind, ScaleChange
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.absent import absent_reason, absent_replicas
from joulery.planner.candidates import profile_missing
from joulery.planner.drain import drain_finding
from joulery.planner.limit_findings import with_limits
from joulery.planner.traffic import traffic_finding
from joulery.planner.view import PoolView

_PROFILE_REASONS = frozenset(
    {reasons.PROFILE_MISSING, reasons.PROFILE_INVALID, reasons.PROFILE_LACKS_VARIANT}
)


def findings_of(
    view: PoolView,
    plan: Plan,
    fleet: Fleet,
    *,
    changes: tuple[ScaleChange, ...],
    waits: tuple[Verdict, ...],
    problem: Verdict | None,
    profile_problem: str | None,
) -> tuple[Finding, ...]:
    """All conditions of one pool but those of its acceptance and their sum."""
    found = (
        _profile(view, profile_problem),
        _metrics(view),
        view.past.feasible if view.mode is not Mode.OBSERVE else None,
        _planned(view, plan, problem),
        _actuated(view, changes, waits),
        drain_finding(view),
        traffic_finding(view.key, view.past.traffic),
        _slo(view),
        _agents(view, fleet),
    )
    return with_limits(view, fleet, tuple(f for f in found if f is not None))


def _profile(view: PoolView, profile_problem: str | None) -> Finding:
    condition = ConditionType.PROFILE_AVAILABLE
    if profile_problem is not None:
        named = f"EnergyProfile {view.pool.profile_name!r} is not usable: {profile_problem}"
        verdict = Verdict(reasons.PROFILE_INVALID, f"{named}; pool {view.key} is held as it is")
        return Finding(condition, ConditionStatus.FALSE, verdict)
    if view.profile is None:
        return Finding(condition, ConditionStatus.FALSE, profile_missing(view))
    obstacle = view.past.obstacle
    if obstacle is not None and obstacle.reason in _PROFILE_REASONS:
        return Finding(condition, ConditionStatus.FALSE, obstacle)
    return _true(condition, reasons.PROFILE_FOUND, f"EnergyProfile {view.pool.profile_name!r}")


def _metrics(view: PoolView) -> Finding:
    condition = ConditionType.METRICS_AVAILABLE
    if view.demand is None:
        message = f"no demand was read for pool {view.key}; its plan is held"
        return Finding(condition, ConditionStatus.FALSE, Verdict(reasons.METRICS_MISSING, message))
    if view.demand.problem is not None:
        return Finding(condition, ConditionStatus.FALSE, view.demand.problem)
    if view.unseen is not None:
        return Finding(condition, ConditionStatus.FALSE, view.unseen)
    return _true(condition, reasons.METRICS_FRESH, f"{view.demand.requests_per_s:.2f} requests/s")


def _planned(view: PoolView, plan: Plan, problem: Verdict | None) -> Finding:
    condition = ConditionType.PLANNED
    part = plan.pool(view.key)
    if view.mode is Mode.OBSERVE:
        verdict = view.ceiling or Verdict(
            reasons.OBSERVING, f"pool {view.key} is in Observe: nothing is planned"
        )
        return Finding(condition, ConditionStatus.FALSE, verdict)
    if problem is not None:
        return Finding(condition, ConditionStatus.FALSE, problem)
    if view.past.obstacle is not None:
        held = "" if part is None else f"; held at {part.replicas} x {part.variant}"
        verdict = Verdict(view.past.obstacle.reason, view.past.obstacle.message + held)
        return Finding(condition, ConditionStatus.FALSE, verdict)
    if view.is_stale:
        return Finding(condition, ConditionStatus.FALSE, Verdict(reasons.HELD, _held_text(view)))
    if part is None:
        message = f"pool {view.key} waits for its first plan"
        return Finding(condition, ConditionStatus.UNKNOWN, Verdict(reasons.NO_DEMAND_YET, message))
    message = (
        f"plan {plan.id}: {part.replicas} x {part.variant} at {part.clock_mhz} MHz, {part.predicted_w:.0f} W"
    )
    return _true(condition, _plan_reason(view, plan), _with_ceiling(view, message))


def _held_text(view: PoolView) -> str:
    return f"pool {view.key} keeps its plan and its replicas until its metrics can be trusted again"


def _with_ceiling(view: PoolView, message: str) -> str:
    return message if view.ceiling is None else f"{message}; {view.ceiling.message}"


def _plan_reason(view: PoolView, plan: Plan) -> str:
    if view.ceiling is not None:
        return view.ceiling.reason
    if plan.status == "Fallback":
        return reasons.FALLBACK_PLAN
    if plan.status == "Feasible":
        return reasons.SOLVER_TIME_LIMIT
    if view.mode is Mode.RECOMMEND:
        return reasons.RECOMMENDING
    return reasons.UP_ONLY_PLAN if plan.kind is PlanKind.UP_ONLY else reasons.PLANNED


def _actuated(view: PoolView, changes: tuple[ScaleChange, ...], waits: tuple[Verdict, ...]) -> Finding:
    condition = ConditionType.ACTUATED
    raised = next((c for c in changes if c.reason == reasons.REPLICAS_RAISED), None)
    if raised is not None:
        return Finding(condition, ConditionStatus.FALSE, Verdict(raised.reason, raised.message))
    held = next((s.hold for s in view.state.variants if s.hold is not None), None)
    if held is not None:
        return Finding(condition, ConditionStatus.FALSE, held)
    if not view.acts:
        verdict = view.ceiling or Verdict(
            reasons.NOT_ACTING, f"pool {view.key} is in {view.mode}: nothing is written"
        )
        return Finding(condition, ConditionStatus.FALSE, verdict)
    if changes:
        reason = reasons.RESHARDING if "Reshard" in changes[0].reason else reasons.SCALING
        return Finding(condition, ConditionStatus.FALSE, Verdict(reason, changes[0].message))
    if waits:
        return Finding(condition, ConditionStatus.FALSE, _with_absent(waits[0], view))
    missing = frozenset(Knob) - view.pool.knobs
    if not view.pool.knobs:
        message = (
            f"pool {view.key} is in Act but names no knobs; name Clocks, Replicas or Shards in spec.knobs"
        )
        return Finding(condition, ConditionStatus.FALSE, Verdict(reasons.KNOB_NOT_ENABLED, message))
    absent = absent_replicas(view)
    if absent is not None:
        return Finding(
            condition, ConditionStatus.FALSE, Verdict(absent_reason(view), f"pool {view.key}: {absent}")
        )
    left = f"; not enabled: {', '.join(sorted(missing))}" if missing else ""
    return _true(condition, reasons.ACTUATED, f"pool {view.key} is as planned{left}")


def _with_absent(waits: Verdict, view: PoolView) -> Verdict:
    absent = absent_replicas(view)
    return waits if absent is None else Verdict(waits.reason, f"{waits.message}; {absent}")


def _slo(view: PoolView) -> Finding:
    latency = view.demand.latency if view.demand is not None else None
    if latency is not None:
        return latency.slo
    message = f"no latency was measured for pool {view.key}"
    return Finding(ConditionType.SLO_MET, ConditionStatus.UNKNOWN, Verdict(reasons.SLO_UNKNOWN, message))


def _agents(view: PoolView, fleet: Fleet) -> Finding:
    condition = ConditionType.NODE_AGENTS_READY
    if not view.acts or not view.has(Knob.CLOCKS):
        message = f"clocks of pool {view.key} are not managed"
        return Finding(condition, ConditionStatus.UNKNOWN, Verdict(reasons.CLOCKS_NOT_MANAGED, message))
    used = {r.node for s in view.state.variants for r in s.replicas if r.node is not None}
    missing = sorted(n.name for n in fleet.nodes if n.name in used and not n.agent_ready)
    if missing:
        message = (
            f"no ready node agent on {', '.join(missing[:5])}: GPUs there run at their default clocks; see the "
            "pods of DaemonSet joulery-agent there, or take Clocks out of spec.knobs"
        )
        return Finding(condition, ConditionStatus.FALSE, Verdict(reasons.AGENTS_MISSING, message))
    return _true(
        condition, reasons.AGENTS_READY, f"agents are ready on all {len(used)} nodes of pool {view.key}"
    )


def _true(condition: ConditionType, reason: str, message: str) -> Finding:
    return Finding(condition, ConditionStatus.TRUE, Verdict(reason, message))
