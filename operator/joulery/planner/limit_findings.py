"""The conditions of a pool, with what bounds it put into them: cause, object, since when, cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.fleet import Fleet
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.absent import absent_replicas
from joulery.planner.view import PoolView

_SHORT = frozenset({reasons.INSUFFICIENT_GPUS, reasons.INSUFFICIENT_REPLICAS})
_NO_PODS = (reasons.QUOTA_EXCEEDED, reasons.UNSCHEDULABLE)
_OWN_BOUNDS = (
    "its maxReplicas or knobs allow no more: raise maxReplicas, or name Replicas and Shards in spec.knobs"
)
# A message stays readable: what is left out is in `kubectl get nodes`.
_MOST_NODES = 3


def with_limits(view: PoolView, fleet: Fleet, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings, each that a limit explains with its words."""
    return tuple(_with_limits(view, fleet, finding) for finding in found)


def _with_limits(view: PoolView, fleet: Fleet, finding: Finding) -> Finding:
    match finding.condition:
        case ConditionType.FEASIBLE if finding.verdict.reason in _SHORT:
            return _told(finding, _shortage(view, fleet, finding.verdict.reason))
        case ConditionType.PROFILE_AVAILABLE if finding.status is ConditionStatus.TRUE:
            return _stale(view) or finding
        case ConditionType.ACTUATED:
            return _actuated(view, fleet, finding)
        case _:
            return finding


def _told(finding: Finding, texts: tuple[str, ...]) -> Finding:
    message = "; ".join((finding.verdict.message, *texts))
    return replace(finding, verdict=Verdict(finding.verdict.reason, message))


def _shortage(view: PoolView, fleet: Fleet, reason: str) -> tuple[str, ...]:
    """What else than the number of GPUs keeps a pool small; its own bounds where nothing else does."""
    wanted = {v.accelerator for v in view.pool.variants}
    troubles = [n.trouble.message for n in fleet.nodes if n.trouble is not None and n.accelerator in wanted]
    absent = absent_replicas(view)
    told = (*_quotas(view, fleet), *(() if absent is None else (absent,)), *_first(troubles), *_barred(view))
    own = (_OWN_BOUNDS,) if not told and reason == reasons.INSUFFICIENT_REPLICAS else ()
    return (*told, *own, *_provisioner(fleet))


def _quotas(view: PoolView, fleet: Fleet) -> Iterable[str]:
    return (
        f"ResourceQuota {q.namespace}/{q.name} allows {q.hard_gpus} GPUs, {q.used_gpus} are used: raise it"
        for q in fleet.quotas
        if q.namespace == view.key.namespace
    )


def _first(troubles: list[str]) -> tuple[str, ...]:
    rest = len(troubles) - _MOST_NODES
    return (*troubles[:_MOST_NODES], *((f"and {rest} nodes more",) if rest > 0 else ()))


def _barred(view: PoolView) -> tuple[str, ...]:
    return tuple(
        f"{len(s.limits.barred)} nodes are closed to {s.variant} by taint, selector or affinity "
        f"({', '.join(sorted(s.limits.barred)[:_MOST_NODES])}): tolerate the taint in its pod template to use them"
        for s in view.state.variants
        if s.limits.barred
    )


def _provisioner(fleet: Fleet) -> tuple[str, ...]:
    found = fleet.provisioner
    if found is None:
        return ()
    if not found.may_grow:
        return (f"{found.name} is at its limit: raise spec.limits of its NodePools",)
    more = "more GPUs" if found.more_gpus is None else f"up to {found.more_gpus} GPUs"
    took = "" if found.node_start_s is None else f"; a node took {found.node_start_s:.0f} s at most lately"
    return (f"{found.name} may add {more}{took}",)


def _stale(view: PoolView) -> Finding | None:
    holds = (s.hold for s in view.state.variants if s.hold is not None)
    stale = next((hold for hold in holds if hold.reason == reasons.PROFILE_STALE), None)
    return (
        Finding(ConditionType.PROFILE_AVAILABLE, ConditionStatus.FALSE, stale) if stale is not None else None
    )


def _actuated(view: PoolView, fleet: Fleet, finding: Finding) -> Finding:
    notes = [note for s in view.state.variants for note in s.limits.notes]
    reasoned = next((n for reason in _NO_PODS for n in notes if n.reason == reason), None)
    if finding.verdict.reason == reasons.UNSCHEDULABLE and reasoned is not None:
        texts = (reasoned.message, *_provisioner(fleet))
        return _told(replace(finding, verdict=Verdict(reasoned.reason, finding.verdict.message)), texts)
    keep = next((s.limits.keep for s in view.state.variants if s.limits.keep is not None), None)
    if finding.status is ConditionStatus.TRUE and keep is not None:
        return Finding(ConditionType.ACTUATED, ConditionStatus.FALSE, keep)
    asides = [n.message for n in notes if n.reason == reasons.DISRUPTABLE]
    return _told(finding, (*asides, *(n.message for n in fleet.unread)))
