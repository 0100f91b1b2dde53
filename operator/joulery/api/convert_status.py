"""Domain reports as InferencePool status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from joulery.api.convert_memory import memory_model
from joulery.api.times import whole_time_of
from joulery.api.v1alpha1 import inference_pool_status as api
from joulery.api.v1alpha1.common import Condition
from joulery.domain.pool import Mode
from joulery.domain.report import PoolReport, VariantReport
from joulery.domain.verdict import Finding, Verdict

_DECISIONS_KEPT = 5
_MESSAGE_LENGTH = 1024
_CONDITION_MESSAGE_LENGTH = 4096


def pool_status(
    report: PoolReport,
    previous: Mapping[str, Any] | None,
    now_s: float,
    *,
    tensor_parallel: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The status that tells a report.

    A condition's time is kept unless its status flips, a decision's unless it is new: an unchanged pool gives
    an equal status, which need not be written. `tensor_parallel` gives the size of each variant for the TP
    column.
    """
    before = _previous(previous)
    return api.InferencePoolStatus(
        observed_generation=report.generation,
        plan_id=report.plan_id,
        conditions=_conditions(report.findings, report.generation, before.conditions, now_s),
        summary=_summary(report, tensor_parallel or {}),
        variants=tuple(_variant(variant) for variant in report.variants),
        predicted_watts=_whole(report.predicted_w),
        measured_watts=_whole(report.measured_w),
        requests_per_minute=_whole(None if report.requests_per_s is None else report.requests_per_s * 60),
        attainment_percent=_percent(report.attainment_percent),
        recommendation=_recommendation(report),
        decisions=_decisions(report, before.decisions, now_s),
        memory=memory_model(report.memory),
    ).manifest()


def rejected_status(
    generation: int, findings: Sequence[Finding], previous: Mapping[str, Any] | None, now_s: float
) -> dict[str, Any]:
    """The status of a pool that cannot be taken over: its findings, and what was remembered of it."""
    before = _previous(previous)
    return api.InferencePoolStatus(
        observed_generation=generation,
        conditions=_conditions(findings, generation, before.conditions, now_s),
        decisions=before.decisions,
        memory=before.memory,
    ).manifest()


def _previous(status: Mapping[str, Any] | None) -> api.InferencePoolStatus:
    try:
        return api.InferencePoolStatus.model_validate(status or {})
    except ValidationError:
        return api.InferencePoolStatus()


def _whole(value: float | None) -> int | None:
    return None if value is None else max(round(value), 0)


def _percent(value: float | None) -> str | None:
    # Rounded down: a status never claims more than was attained.
    return None if value is None else f"{int(min(max(value, 0.0), 100.0) * 100 + 1e-6) / 100:.2f}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _conditions(
    findings: Iterable[Finding], generation: int, before: Sequence[Condition], now_s: float
) -> tuple[Condition, ...]:
    """One condition per type; of several findings on one type the first gives the reason, all the message."""
    known = {condition.type: condition for condition in before}
    grouped: dict[str, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.condition.value, []).append(finding)
    return tuple(
        _condition(name, group, generation, known.get(name), now_s) for name, group in sorted(grouped.items())
    )


def _condition(
    name: str, group: Sequence[Finding], generation: int, known: Condition | None, now_s: float
) -> Condition:
    worst = min(group, key=lambda f: _SEVERITY[f.status.value])
    same = [f for f in group if f.status is worst.status]
    message = "; ".join(dict.fromkeys(f.verdict.message for f in same))
    kept = known is not None and known.status == worst.status.value
    return Condition(
        type=name,
        status=worst.status.value,
        reason=worst.verdict.reason,
        message=_cut(message, _CONDITION_MESSAGE_LENGTH),
        observed_generation=generation,
        last_transition_time=known.last_transition_time if known and kept else whole_time_of(now_s),
    )


_SEVERITY = {"False": 0, "Unknown": 1, "True": 2}


def _variant(variant: VariantReport) -> api.VariantStatus:
    return api.VariantStatus(
        name=variant.variant,
        current_replicas=variant.current,
        ready_replicas=variant.ready,
        target_replicas=variant.target,
        clock_mhz=variant.clock_mhz,
        derate_percent=_percent(None if variant.derate is None else 100.0 * variant.derate),
        hold_reason=variant.hold.reason if variant.hold else None,
        hold_message=_cut(variant.hold.message, _MESSAGE_LENGTH) if variant.hold else None,
    )


def _summary(report: PoolReport, tensor_parallel: Mapping[str, int]) -> api.Summary:
    current = sum(v.current for v in report.variants)
    target = sum(v.current if v.target is None else v.target for v in report.variants)
    clocks = [v.clock_mhz for v in report.variants if v.clock_mhz is not None]
    attained = _percent(report.attainment_percent)
    return api.Summary(
        replicas=f"{current}/{target}",
        shards=_shards(report.variants, tensor_parallel),
        clock=f"{max(clocks)} MHz" if clocks else "-",
        watts=f"{_shown(_whole(report.measured_w))}/{_shown(_whole(report.predicted_w))}",
        slo=f"{attained}%" if attained else "-",
    )


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)


def _shards(variants: Sequence[VariantReport], tensor_parallel: Mapping[str, int]) -> str:
    running = [v for v in variants if v.current > 0]
    texts = (
        f"TP{tensor_parallel[v.variant]}x{v.current}"
        if v.variant in tensor_parallel
        else f"{v.variant} x{v.current}"
        for v in running
    )
    return _cut(" ".join(texts) or "-", 128)


def _recommendation(report: PoolReport) -> api.Recommendation | None:
    """The plan's variant: the one with replicas to have, or with a planned clock where it is to have none."""
    planned = [v for v in report.variants if v.target or (v.target == 0 and v.clock_mhz is not None)]
    if report.mode != Mode.RECOMMEND.value or not planned:
        return None
    most = max(planned, key=lambda v: v.target or 0)
    return api.Recommendation(variant=most.variant, replicas=most.target or 0, clock_mhz=most.clock_mhz)


def _decisions(report: PoolReport, before: Sequence[api.Decision], now_s: float) -> tuple[api.Decision, ...]:
    known = {(d.reason, d.message, d.plan_id) for d in before}
    new = [
        decision
        for decision in (_decision(v, report.plan_id, now_s) for v in report.decisions)
        if (decision.reason, decision.message, decision.plan_id) not in known
    ]
    return (*new, *before)[:_DECISIONS_KEPT]


def _decision(verdict: Verdict, plan_id: str | None, now_s: float) -> api.Decision:
    return api.Decision(
        reason=verdict.reason,
        message=_cut(verdict.message, _MESSAGE_LENGTH),
        time=whole_time_of(now_s),
        plan_id=plan_id,
    )
