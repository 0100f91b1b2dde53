"""What users are told after a cycle: observation, demand, decision and failed writes as reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.fleet import PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.latency import attainment_percent
from joulery.domain.memory import PoolMemory
from joulery.domain.policy import governing
from joulery.domain.pool import Mode
from joulery.domain.report import PoolReport, VariantReport
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.decision import Decision
from joulery.planner.view import effective_mode
from joulery.ports import Observation

# What a pool needs to be Ready, by how far it may go.
_OBSERVED = (ConditionType.ACCEPTED, ConditionType.METRICS_AVAILABLE)
_PLANNED = (*_OBSERVED, ConditionType.PROFILE_AVAILABLE, ConditionType.FEASIBLE, ConditionType.PLANNED)
_NEEDS = {
    Mode.OBSERVE: _OBSERVED,
    Mode.RECOMMEND: _PLANNED,
    Mode.ACT: (*_PLANNED, ConditionType.ACTUATED),
}
# A pool on its way to its plan is not out of order.
_UNDER_WAY = frozenset(
    {
        reasons.SCALING,
        reasons.RESHARDING,
        reasons.REPLICAS_MOVED,
        reasons.ROLLOUT_IN_PROGRESS,
        reasons.PODS_DISRUPTED,
        reasons.DISRUPTION_BUDGET,
    }
)


def reports_of(
    observation: Observation,
    demand: Mapping[ObjectKey, Demand],
    decision: Decision,
    failed: Mapping[ObjectKey, Verdict],
) -> list[PoolReport]:
    """One report per accepted pool; `failed` holds why a pool's write did not take effect."""
    return [
        _report(state, observation, demand.get(state.pool.key), decision, failed.get(state.pool.key))
        for state in observation.fleet.pools
    ]


def joules_per_token(watts: float | None, demand: Demand | None) -> float | None:
    """Measured GPU joules per generated token; None where either is unknown or nothing is generated."""
    if watts is None or demand is None or demand.problem is not None or demand.generation_tokens_per_s <= 0.0:
        return None
    return watts / demand.generation_tokens_per_s


def _report(
    state: PoolState,
    observation: Observation,
    demand: Demand | None,
    decision: Decision,
    failure: Verdict | None,
) -> PoolReport:
    pool = state.pool
    watts = observation.measured_w.get(pool.key)
    planned = decision.plan.pool(pool.key)
    mode, _ = effective_mode(pool, governing(observation.policies, pool.key.namespace))
    history = decision.history.pools.get(pool.key)
    decided = decision.findings.get(pool.key, ())
    completed = (_completed(f, watts, demand, failure) for f in decided)
    findings = (_accepted(state), *_with_policy_problems(completed, observation, pool.key.namespace))
    return PoolReport(
        pool=pool.key,
        generation=pool.generation,
        mode=mode.value,
        findings=(*findings, _ready(findings, mode)),
        variants=tuple(_variant_report(v, pool.key, decision) for v in state.variants),
        plan_id=decision.plan.id if planned is not None else None,
        predicted_w=planned.predicted_w if planned is not None else None,
        measured_w=watts,
        requests_per_s=demand.requests_per_s if demand is not None and demand.problem is None else None,
        attainment_percent=attainment_percent(demand.latency if demand is not None else None),
        decisions=decision.decisions.get(pool.key, ()),
        memory=history.memory if history is not None else observation.memories.get(pool.key, PoolMemory()),
    )


def _variant_report(state: VariantState, key: ObjectKey, decision: Decision) -> VariantReport:
    planned, history = decision.plan.pool(key), decision.history.pools.get(key)
    ours = planned is not None and planned.variant == state.variant
    return VariantReport(
        variant=state.variant,
        current=state.desired or 0,
        ready=state.ready,
        target=None if planned is None else (planned.replicas if ours else 0),
        clock_mhz=planned.clock_mhz if planned is not None and ours else None,
        hold=decision.holds.get((key, state.variant)) or state.hold,
        derate=history.derate(state.variant) if history is not None else None,
    )


def _completed(
    finding: Finding, watts: float | None, demand: Demand | None, failure: Verdict | None
) -> Finding:
    """The planner's finding with what it cannot know: failed writes, measured energy, notes on metrics."""
    reason, message = finding.verdict.reason, finding.verdict.message
    if failure is not None and finding.condition is ConditionType.ACTUATED:
        return Finding(finding.condition, ConditionStatus.FALSE, failure)
    if reason == reasons.PROFILE_MISSING and finding.condition is ConditionType.PROFILE_AVAILABLE:
        return replace(finding, verdict=Verdict(reason, message + _measured_text(watts, demand)))
    if reason == reasons.METRICS_FRESH and demand is not None and demand.note is not None:
        return replace(finding, verdict=demand.note)
    return finding


def _with_policy_problems(
    findings: Iterable[Finding], observation: Observation, namespace: str
) -> list[Finding]:
    """Whether and how a pool is planned, with the policies that could not be understood beside it."""
    problems = [p.message for p in observation.policy_problems.values() if p.touches(namespace)]
    return [_with_notes(f, problems) if f.condition is ConditionType.PLANNED else f for f in findings]


def _with_notes(finding: Finding, notes: Sequence[str]) -> Finding:
    message = "; ".join((finding.verdict.message, *notes))
    return replace(finding, verdict=replace(finding.verdict, message=message))


def _measured_text(watts: float | None, demand: Demand | None) -> str:
    if demand is None or demand.problem is not None:
        return ""
    load = f"; measured: {demand.requests_per_s:.2g} requests/s"
    joules = joules_per_token(watts, demand)
    return load if joules is None else f"{load}, {joules:.2g} GPU joules per generated token"


def _accepted(state: PoolState) -> Finding:
    conflicts = [
        v.hold.message for v in state.variants if v.hold and v.hold.reason == reasons.TARGET_CONFLICT
    ]
    if conflicts:
        verdict = Verdict(reasons.TARGET_CONFLICT, "; ".join(conflicts))
        return Finding(ConditionType.ACCEPTED, ConditionStatus.FALSE, verdict)
    verdict = Verdict(reasons.ACCEPTED, f"the specification of pool {state.pool.key} is sound")
    return Finding(ConditionType.ACCEPTED, ConditionStatus.TRUE, verdict)


def _ready(findings: Iterable[Finding], mode: Mode) -> Finding:
    for finding in findings:
        bad = finding.status is ConditionStatus.FALSE and finding.verdict.reason not in _UNDER_WAY
        if bad and finding.condition in _NEEDS[mode]:
            text = f"{finding.condition.value}: {finding.verdict.message}"
            return Finding(ConditionType.READY, ConditionStatus.FALSE, Verdict(finding.verdict.reason, text))
    verdict = Verdict(reasons.READY, f"nothing that {mode.value} needs is missing")
    return Finding(ConditionType.READY, ConditionStatus.TRUE, verdict)
