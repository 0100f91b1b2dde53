"""A pool with its operating points, its load and what it is on; or the reason why it cannot be planned."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulery.domain import reasons
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import Verdict
from joulery.planner.burstiness import accepted_dispersion
from joulery.planner.candidates import beside, choosable, points_of, running
from joulery.planner.history import VariantRate
from joulery.planner.load import accepted_mix
from joulery.planner.options import Target
from joulery.planner.pricing import PointSource, Pricing
from joulery.planner.terms import Terms
from joulery.planner.view import PoolView
from joulery.serving.points import OperatingPoints


@dataclass(frozen=True, slots=True, eq=False)
class PricedPool:
    """A pool whose operating points are known."""

    view: PoolView
    pricing: Pricing
    current: Target

    @property
    def is_reachable(self) -> bool:
        """Whether any variant that may be chosen, or stays, meets the objective."""
        names = {v.name for v in choosable(self.view)} | {b.variant for b in self.pricing.beside}
        return any(n in self.pricing.points and self.pricing.max_rate_rps(n) > 0.0 for n in names)


def price_pool(view: PoolView, catalog: PointSource, terms: Terms) -> PricedPool | Verdict | None:
    """The pool with its operating points, or why it is not planned; None where nothing is asked of the
    planner.
    """
    if view.mode is Mode.OBSERVE:
        return None
    mix = accepted_mix(view.past.mix, view.past.lengths, terms.settings)
    ahead = view.forecast
    if mix is None or ahead is None:
        return _no_demand(view)
    dispersion = accepted_dispersion(view.past.dispersion, view.past.bursts, terms.settings)
    points = points_of(view, mix, dispersion, ahead.peak_rps, catalog)
    if isinstance(points, Verdict):
        return points
    if not choosable(view) and not beside(view):
        return _nothing_to_plan(view)
    rates = tuple(_rate(view, name, p) for name, p in points.items())
    view = replace(view, past=replace(view.past, mix=mix, dispersion=dispersion, rates=rates))
    pricing = Pricing(
        points=points,
        beside=beside(view),
        mean_rps=ahead.mean_rps,
        peak_rps=ahead.peak_rps * terms.margin(view.key),
        present_rps=ahead.peak_now_rps,
        clocks_move=view.has(Knob.CLOCKS),
        sharing=view.sharing,
        absent={name: counts.absent for name, counts in view.counts.items() if counts.absent},
    )
    return PricedPool(view, pricing, _current(view, pricing))


def _rate(view: PoolView, name: str, points: OperatingPoints) -> VariantRate:
    top = points.rate_at(-1)
    least = next((float(rate) for rate in points.max_rate_rps if rate > 0.0), top)
    moves = view.acts and view.has(Knob.CLOCKS)
    return VariantRate(name, top, least if moves else top)


def _current(view: PoolView, pricing: Pricing) -> Target:
    now = running(view)
    if now is None:  # every variant is held: what runs most is what there is
        most = max(pricing.beside, key=lambda b: b.instances, default=None)
        name = most.variant if most is not None else next(iter(pricing.points))
        return Target(name, 0, pricing.price(name, 0).clock_mhz)
    if now.variant not in pricing.points:
        return Target(next(iter(pricing.points)), 0, next(iter(pricing.points.values())).clocks_mhz[-1])
    return Target(now.variant, now.replicas, pricing.price(now.variant, now.replicas).clock_mhz)


def _nothing_to_plan(view: PoolView) -> Verdict:
    held = next((s.hold for s in view.state.variants if s.hold is not None), None)
    message = f"no workload of pool {view.key} exists; create one of its scaleTargetRefs"
    return held or Verdict(reasons.TARGET_NOT_FOUND, message)


def _no_demand(view: PoolView) -> Verdict:
    problem = view.demand.problem if view.demand is not None else None
    if problem is not None:
        return problem
    message = f"pool {view.key} has served no request yet, so neither rate nor lengths are known"
    return Verdict(reasons.NO_DEMAND_YET, f"{message}; it is held as it is until requests come")
