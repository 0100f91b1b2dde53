"""Whether replicas can go without losing an answer, and which ways down must wait because they cannot.

Every way down ends pods, and an answer that its pod does not outlive is lost. So a variant whose pods would be
killed before their longest answer ends is named from `Observe` on and keeps its replicas in `Act`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from joulery.domain import reasons
from joulery.domain.drain import Drain, EndOrder, longest_answer_s, longest_class
from joulery.domain.fleet import Replica, ReplicaPhase, VariantState
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool, Variant
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.view import PoolView

_ORDINAL = re.compile(r"-(\d+)$")


def drain_problem(pool: Pool, variant: Variant, state: VariantState) -> Verdict | None:
    """Why replicas of a variant must not be taken away; None where they may, or where nothing is known of it."""
    drain = state.drain
    if drain is None:
        return None
    needed_s = longest_answer_s(pool.classes)
    told = f"pool {pool.key}, variant {variant.name}: "
    held = f"; until then no replica of {variant.target} is taken away"
    if drain.waits_s < needed_s:
        return Verdict(reasons.NO_DRAIN, told + _no_drain_text(pool, drain, needed_s) + held)
    if drain.grace_s < needed_s:
        return Verdict(reasons.GRACE_TOO_SHORT, told + _short_grace_text(pool, drain, needed_s) + held)
    if drain.order is EndOrder.UNKNOWN:
        text = (
            f"{drain.where} belongs to {drain.owner}, of which it is not known which replica ends first; "
            "serve from a Deployment, StatefulSet or LeaderWorkerSet"
        )
        return Verdict(reasons.VICTIM_UNKNOWN, told + text + held)
    return None


def drain_finding(view: PoolView) -> Finding | None:
    """The condition, in every mode; None where no workload of the pool can be seen."""
    known = [(v, s) for v, s in view.variants() if s.drain is not None]
    if not known:
        return None
    condition = ConditionType.DRAIN_SAFE
    problems = [p for v, s in known if (p := drain_problem(view.pool, v, s)) is not None]
    if problems:
        verdict = Verdict(problems[0].reason, "; ".join(p.message for p in problems))
        return Finding(condition, ConditionStatus.FALSE, verdict)
    longest_s = longest_answer_s(view.pool.classes)
    text = f"replicas of pool {view.key} may finish answers of {longest_s:.0f} s before they end"
    return Finding(condition, ConditionStatus.TRUE, Verdict(reasons.DRAINS, text))


def may_shrink(view: PoolView, name: str) -> Verdict | None:
    """Why a variant of a pool keeps its replicas, None where it need not."""
    return drain_problem(view.pool, view.pool.variant(name), view.state.variant(name))


def safe_changes(
    view: PoolView, changes: Iterable[ScaleChange]
) -> tuple[tuple[ScaleChange, ...], tuple[Verdict, ...]]:
    """The changes that lose no answer and no serving replica by surprise, and why the others wait."""
    kept: list[ScaleChange] = []
    waits: list[Verdict] = []
    for change in changes:
        problem = _obstacle(view, change) if change.want < change.seen else None
        if problem is None:
            kept.append(change)
        else:
            waits.append(problem)
    return tuple(kept), tuple(waits)


def _obstacle(view: PoolView, change: ScaleChange) -> Verdict | None:
    state = view.state.variant(change.variant)
    problem = may_shrink(view, change.variant)
    if problem is not None or state.drain is None or state.drain.order is EndOrder.BY_COST:
        return problem
    return _out_of_turn(view, state, change)


def _out_of_turn(view: PoolView, state: VariantState, change: ScaleChange) -> Verdict | None:
    """Whole ordinals go, ready or not: a ready one must not go while one that stays does not serve."""
    going = [r for r in state.in_phase(ReplicaPhase.READY) if _ordinal(r) >= change.want]
    living = [r for r in state.replicas if r.phase is not ReplicaPhase.TERMINATING]
    idle = [r for r in living if _ordinal(r) < change.want and r.phase is not ReplicaPhase.READY]
    if not going or not idle:
        return None
    text = (
        f"pool {view.key}: {change.target} ends its highest ordinals first, so {going[-1].name} would go, which "
        f"serves, while {idle[0].name} is not ready; it waits for {idle[0].name}"
    )
    return Verdict(reasons.VICTIM_NOT_READY, text)


def _ordinal(replica: Replica) -> int:
    found = _ORDINAL.search(replica.name)
    return int(found.group(1)) if found is not None else -1


def _no_drain_text(pool: Pool, drain: Drain, needed_s: float) -> str:
    stands = (
        f"stops after {drain.waits_s:.0f} s of waiting" if drain.waits_s else "aborts running answers at once"
    )
    return (
        f"an engine that is ended {stands} ({drain.where}), but {_longest_text(pool, needed_s)}; give its container a "
        f"preStop hook that waits until no request runs, or start it with --shutdown-timeout {math.ceil(needed_s)}"
        f"{_grace_cure(drain, needed_s)}"
    )


def _short_grace_text(pool: Pool, drain: Drain, needed_s: float) -> str:
    return (
        f"terminationGracePeriodSeconds is {drain.grace_s:.0f} in {drain.where}, but {_longest_text(pool, needed_s)}; "
        f"set it to at least {math.ceil(needed_s)} in the pod template"
    )


def _grace_cure(drain: Drain, needed_s: float) -> str:
    if drain.grace_s >= needed_s:
        return ""
    return f", and set terminationGracePeriodSeconds to at least {math.ceil(needed_s)}"


def _longest_text(pool: Pool, needed_s: float) -> str:
    longest = longest_class(pool.classes)
    return (
        f"an answer of class {longest.name} may run {math.ceil(needed_s)} s "
        f"({longest.output_tokens.maximum} tokens at {longest.objective.time_per_output_token_ms} ms)"
    )
