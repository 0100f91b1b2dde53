"""What each variant could have done at best, so that a plan can say what it rejected and why."""

from __future__ import annotations

from joulery.domain.verdict import Verdict
from joulery.planner.candidates import choosable, count_bounds
from joulery.planner.guardrails import needed_replicas
from joulery.planner.history import Candidate
from joulery.planner.options import Target
from joulery.planner.pricing import Pricing
from joulery.planner.view import PoolView


def alternatives(
    view: PoolView, pricing: Pricing, target: Target, verdicts: tuple[Verdict, ...], longest: int
) -> tuple[Candidate, ...]:
    """The target and, per other variant, the fewest instances that hold the peak, cheapest first."""
    movable = {v.name for v in choosable(view)}
    found: list[Candidate] = []
    for variant in view.pool.variants:
        if variant.name not in pricing.points:
            continue
        count = needed_replicas(pricing, variant.name, pricing.peak_rps)
        if variant.name == target.variant:
            count = target.replicas
        priced = pricing.price(variant.name, count)
        note = _objection(view, pricing, priced.instances, variant.name, movable, longest)
        if variant.name == target.variant:
            note = verdicts[0].reason if verdicts else ""
        found.append(
            Candidate(variant.name, count, priced.clock_mhz, priced.watts, priced.capacity_rps, note)
        )
    return tuple(sorted(found, key=lambda c: (bool(c.note), c.watts)))


def _objection(
    view: PoolView, pricing: Pricing, count: int, name: str, movable: set[str], longest: int
) -> str:
    """What keeps a variant from being chosen whatever it draws; empty where only watts speak against it."""
    state = view.state.variant(name)
    if state.hold is not None:
        return state.hold.reason
    if pricing.max_rate_rps(name) <= 0.0:
        return "does not meet the objective at any allowed clock"
    if name not in movable:
        return "knob Shards is not enabled"
    _, most = count_bounds(view, view.pool.variant(name), longest)
    return f"at most {most} instances allowed" if count > most else ""
