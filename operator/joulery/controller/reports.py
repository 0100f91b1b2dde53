"""What users are told after a cycle: observation, demand, decision and outcomes as pool reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulery.adapters.histograms import attainment_percent
from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.fleet import PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory
from joulery.domain.plan import PoolPlan
from joulery.domain.policy import governing
from joulery.domain.report import PoolReport, VariantReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.view import effective_mode
from joulery.ports import Observation

if TYPE_CHECKING:
    from joulery.planner.decide import Decision

_READY_NEEDS = (
    ConditionType.ACCEPTED,
    ConditionType.PROFILE_AVAILABLE,
    ConditionType.METRICS_AVAILABLE,
    ConditionType.FEASIBLE,
    ConditionType.PLANNED,
    ConditionType.ACTUATED,
)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of a cycle's writes: failures by pool, and what was done."""

    failed: Mapping[ObjectKey, Verdict] = field(default_factory=dict)
    done: Mapping[ObjectKey, tuple[Verdict, ...]] = field(default_factory=dict)


def reports_of(
    observation: Observation,
    demand: Mapping[ObjectKey, Demand],
    decision: Decision,
    outcomes: Outcomes,
) -> list[PoolReport]:
    """One report per accepted pool."""
    return [_report(state, observation, demand, decision, outcomes) for state in observation.fleet.pools]


def joules_per_token(watts: float | None, demand: Demand | None) -> float | None:
    """Measured GPU joules per generated token; None where either is unknown or nothing is generated."""
    if watts is None or demand is None or demand.problem is not None or demand.generation_tokens_per_s <= 0.0:
        return None
    return watts / demand.generation_tokens_per_s


def _report(
    state: PoolState,
    observation: Observation,
    demand: Mapping[ObjectKey, Demand],
    decision: Decision,
    outcomes: Outcomes,
) -> PoolReport:
    pool = state.pool
    measured = demand.get(pool.key)
    planned = decision.plan.pool(pool.key)
    mode, _ = effective_mode(pool, governing(observation.policies, pool.key.namespace))
    history = decision.history.pools.get(pool.key)
    own = _findings(state, observation, measured)
    findings = _merged(own, decision.findings.get(pool.key, ()), outcomes.failed.get(pool.key))
    return PoolReport(
        pool=pool.key,
        generation=pool.generation,
        mode=mode.value,
        findings=(*findings, _ready(findings)),
        variants=tuple(_variant_report(v, planned) for v in state.variants),
        plan_id=decision.plan.id if planned is not None else None,
        predicted_w=planned.predicted_w if planned is not None else None,
        measured_w=observation.measured_w.get(pool.key),
        requests_per_s=measured.requests_per_s if measured is not None and not measured.problem else None,
        attainment_percent=attainment_percent(measured.latency if measured is not None else None),
        decisions=decision.decisions.get(pool.key, ()) + outcomes.done.get(pool.key, ()),
        memory=history.memory if history is not None else observation.memories.get(pool.key, PoolMemory()),
    )


def _variant_report(state: VariantState, planned: PoolPlan | None) -> VariantReport:
    ours = planned is not None and planned.variant == state.variant
    return VariantReport(
        variant=state.variant,
        current=state.desired or 0,
        ready=state.ready,
        target=None if planned is None else (planned.replicas if ours else 0),
        clock_mhz=planned.clock_mhz if planned is not None and ours else None,
        hold=state.hold,
    )


def _merged(
    own: Iterable[Finding], decided: Iterable[Finding], failure: Verdict | None
) -> tuple[Finding, ...]:
    """The planner's findings win over ours on the same condition; a failed write wins over both."""
    decided = tuple(decided)
    spoken = {finding.condition for finding in decided}
    findings = [*decided, *(f for f in own if f.condition not in spoken)]
    if failure is not None:
        findings = [f for f in findings if f.condition is not ConditionType.ACTUATED]
        findings.append(Finding(ConditionType.ACTUATED, ConditionStatus.FALSE, failure))
    return tuple(findings)


def _findings(state: PoolState, observation: Observation, demand: Demand | None) -> tuple[Finding, ...]:
    return (
        _accepted(state),
        _profile(state, observation, demand),
        _metrics(demand),
        _slo(demand),
        _agents(state, observation),
        _held(state),
    )


def _accepted(state: PoolState) -> Finding:
    conflicts = [v.hold for v in state.variants if v.hold and v.hold.reason == reasons.TARGET_CONFLICT]
    if conflicts:
        text = "; ".join(c.message for c in conflicts)
        return _false(ConditionType.ACCEPTED, reasons.TARGET_CONFLICT, text)
    return _true(ConditionType.ACCEPTED, reasons.ACCEPTED, "the pool's specification is sound")


def _profile(state: PoolState, observation: Observation, demand: Demand | None) -> Finding:
    name = state.pool.profile_name
    if name in observation.profiles:
        return _true(ConditionType.PROFILE_AVAILABLE, reasons.PROFILE_FOUND, f"EnergyProfile {name} is sound")
    problem = observation.profile_problems.get(name)
    if problem is not None:
        text = f"EnergyProfile {name} is not usable: {problem}"
        return _false(ConditionType.PROFILE_AVAILABLE, reasons.PROFILE_INVALID, text)
    text = (
        f"there is no EnergyProfile {name}; make one from measurements with `joulery profile fit`"
        f"{_measured_text(observation.measured_w.get(state.pool.key), demand)}"
    )
    return _false(ConditionType.PROFILE_AVAILABLE, reasons.PROFILE_MISSING, text)


def _measured_text(watts: float | None, demand: Demand | None) -> str:
    joules = joules_per_token(watts, demand)
    if demand is None or demand.problem is not None:
        return ""
    load = f"; measured now: {demand.requests_per_s:.2g} requests/s"
    return load if joules is None else f"{load}, {joules:.2g} GPU joules per generated token"


def _metrics(demand: Demand | None) -> Finding:
    if demand is None:
        return _false(ConditionType.METRICS_AVAILABLE, reasons.METRICS_MISSING, "demand was not read yet")
    if demand.problem is not None:
        return Finding(ConditionType.METRICS_AVAILABLE, ConditionStatus.FALSE, demand.problem)
    if demand.note is not None:
        return Finding(ConditionType.METRICS_AVAILABLE, ConditionStatus.TRUE, demand.note)
    return _true(ConditionType.METRICS_AVAILABLE, reasons.METRICS_FRESH, "all demand queries answer freshly")


def _slo(demand: Demand | None) -> Finding:
    if demand is None or demand.latency is None or demand.problem is not None:
        verdict = Verdict(reasons.SLO_UNKNOWN, "latency is not measured while metrics are not available")
        return Finding(ConditionType.SLO_MET, ConditionStatus.UNKNOWN, verdict)
    return demand.latency.slo


def _agents(state: PoolState, observation: Observation) -> Finding:
    ready = {node.name for node in observation.fleet.nodes if node.agent_ready}
    used = {r.node for v in state.variants for r in v.replicas if r.node is not None}
    missing = sorted(used - ready)
    if not used:
        text = "no replica has a node yet"
        verdict = Verdict(reasons.AGENTS_MISSING, text)
        return Finding(ConditionType.NODE_AGENTS_READY, ConditionStatus.UNKNOWN, verdict)
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        text = f"no ready node agent on {names}; clocks stay as they are there: install the agent's DaemonSet"
        return _false(ConditionType.NODE_AGENTS_READY, reasons.AGENTS_MISSING, text)
    return _true(
        ConditionType.NODE_AGENTS_READY, reasons.AGENTS_READY, f"agents are ready on {len(used)} nodes"
    )


def _held(state: PoolState) -> Finding:
    holds = [v.hold for v in state.variants if v.hold is not None]
    if holds:
        text = "; ".join(hold.message for hold in holds)
        return _false(ConditionType.ACTUATED, holds[0].reason, text)
    return _true(ConditionType.ACTUATED, reasons.ACTUATED, "nothing is left to write")


def _ready(findings: Iterable[Finding]) -> Finding:
    by_type = {finding.condition: finding for finding in findings}
    for needed in _READY_NEEDS:
        finding = by_type.get(needed)
        if finding is not None and finding.status is ConditionStatus.FALSE:
            text = f"{needed.value}: {finding.verdict.message}"
            return _false(ConditionType.READY, finding.verdict.reason, text)
    return _true(ConditionType.READY, reasons.READY, "measured, planned and carried out")


def _true(condition: ConditionType, reason: str, message: str) -> Finding:
    return Finding(condition, ConditionStatus.TRUE, Verdict(reason, message))


def _false(condition: ConditionType, reason: str, message: str) -> Finding:
    return Finding(condition, ConditionStatus.FALSE, Verdict(reason, message))
