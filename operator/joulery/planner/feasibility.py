"""Whether a pool's objective and its GPUs suffice, in words that name what is missing and the cure."""

from __future__ import annotations

from joulery.domain import reasons
from joulery.domain.verdict import ConditionStatus, ConditionType, Finding, Verdict
from joulery.planner.joint import Outcome
from joulery.planner.options import Target
from joulery.planner.pricing import Pricing
from joulery.planner.view import PoolView


def judge(
    view: PoolView, pricing: Pricing, target: Target, outcome: Outcome | None, *, is_reachable: bool
) -> Finding:
    """The condition `Feasible` of one pool after planning."""
    if not is_reachable:
        return _no(Verdict(reasons.OBJECTIVE_UNREACHABLE, _unreachable(view, pricing)))
    if outcome is not None and view.key in outcome.shed:
        return _no(_short(view, pricing, target, outcome))
    held_rps = pricing.capacity_rps(target.variant, target.replicas)
    message = (
        f"pool {view.key}: {target.replicas} x {target.variant} carry {held_rps:.2f} requests/s"
        f"{_spared(pricing)}, peak {pricing.peak_rps:.2f}"
    )
    cramped = _cramped(view, outcome) if held_rps < pricing.peak_rps else None
    if cramped is not None:
        return _no(Verdict(reasons.INSUFFICIENT_GPUS, f"{message}; {cramped}"))
    return Finding(ConditionType.FEASIBLE, ConditionStatus.TRUE, Verdict(reasons.FEASIBLE, message))


def _cramped(view: PoolView, outcome: Outcome | None) -> str | None:
    """Why the GPUs that are free do not take what was chosen: they suffice in number, not where they are."""
    told = outcome.verdicts.get(view.key, ()) if outcome is not None else ()
    if outcome is None or not any(v.reason == reasons.INSUFFICIENT_GPUS for v in told):
        return None
    wish = outcome.wishes[view.key]
    variant = view.pool.variant(wish.variant)
    return (
        f"{wish.replicas} x {wish.variant} would carry it, but no way there is open: each needs "
        f"{variant.tensor_parallel_size} free GPUs of {variant.accelerator} on one node: free such GPUs or add "
        f"a node"
    )


def _spared(pricing: Pricing) -> str:
    spares, added = pricing.sharing.spares, pricing.sharing.added
    lost = f" with {spares} {'instances' if spares > 1 else 'instance'} lost" if spares else ""
    more = f" with {added} more than the profile asks for" if added else ""
    return f"{lost} and{more}" if lost and more else lost or more


def _no(verdict: Verdict) -> Finding:
    return Finding(ConditionType.FEASIBLE, ConditionStatus.FALSE, verdict)


def _unreachable(view: PoolView, pricing: Pricing) -> str:
    """The best that any variant can do alone, at its highest clock."""
    objective = view.pool.objective
    best = min(
        (float(p.best_ttft_ms[-1]), float(p.best_tpot_ms[-1]), name) for name, p in pricing.points.items()
    )
    return (
        f"no variant of pool {view.key} meets TTFT {objective.time_to_first_token_ms} ms and TPOT "
        f"{objective.time_per_output_token_ms} ms at any allowed clock; best is {best[2]} with "
        f"TTFT {best[0]:.0f} ms and TPOT {best[1]:.1f} ms at {pricing.points[best[2]].clocks_mhz[-1]} MHz; "
        f"it runs at its highest clock: relax the objective, lower the token budget or add a variant with "
        f"more GPUs"
    )


def _short(view: PoolView, pricing: Pricing, target: Target, outcome: Outcome) -> Verdict:
    shed = pricing.shed(target.variant, target.replicas)
    only_spares = pricing.sharing.reserve > 0 and shed <= 1e-6
    peak = f"the planned peak of {pricing.peak_rps:.2f} requests/s"
    reach = f"{peak}, but not{_spared(pricing)}" if only_spares else f"{100.0 * (1.0 - shed):.0f} % of {peak}"
    what = f"pool {view.key}: {target.replicas} x {target.variant} serve {reach}"
    if not outcome.shortage:
        return Verdict(reasons.INSUFFICIENT_REPLICAS, what)
    at_most = "at most " if outcome.solution.engine == "fallback" else ""
    missing = " and ".join(f"{at_most}{s.gpus_missing} GPUs of {s.accelerator}" for s in outcome.shortage)
    order = "" if only_spares else f"; pools of lower weight are shed first: {_order(outcome)}"
    return Verdict(reasons.INSUFFICIENT_GPUS, f"{what}; {missing} missing{order}")


def _order(outcome: Outcome) -> str:
    shed = sorted((key for key, share in outcome.shed.items() if share > 1e-6))
    return ", ".join(f"{key} {100.0 * outcome.shed[key]:.0f} %" for key in shed)
