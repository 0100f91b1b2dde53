"""Costs of lanes from operating points of their own mix: one variant and one clock, equal shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from joulery.domain import reasons
from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.costs import Estimate, LaneCost
from joulery.optimizer.lanes.curves import Curves, Offer, best_offer
from joulery.serving.class_mix import Lengths, of_rates
from joulery.serving.lane_rates import LaneRates
from joulery.serving.mix import LengthMix
from joulery.serving.points import LOAD_GRID, OperatingPoints

# By how much an estimate may lie above the cost of the lane's actual mix: at most 0.174 in 1,092 lanes of the public
# conversation mix at 5, 20 and 100 requests/s, where one instance less makes the difference; usually within 0.08.
ESTIMATE_ERROR = 0.19


class LanePoints(Protocol):
    """Operating points of a pool's variants."""

    def __call__(self, variant: Variant, lengths: Lengths, objective: Objective) -> OperatingPoints:
        """Points of one variant at its clocks; KeyError where the profile does not hold it."""
        ...


class PointLaneCosts:
    """What lanes of one pool cost.

    Args:
        gpu_price_w: what a GPU of an accelerator is worth to others, in watts; 0 where not given.
        spares: instances of every lane that may be lost while the rest still carries it.
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        points: LanePoints,
        *,
        gpu_price_w: Mapping[str, float] | None = None,
        spares: int = 0,
    ) -> None:
        self.variants = tuple(sorted(variants, key=lambda variant: variant.name))
        self._points = points
        self._price_w = dict(gpu_price_w or {})
        self.spares = spares

    def at_price(self, watts: float) -> PointLaneCosts:
        """The same with every GPU at this price."""
        prices = {variant.accelerator: watts for variant in self.variants}
        return PointLaneCosts(self.variants, self._points, gpu_price_w=prices, spares=self.spares)

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        """The cheapest variant, count and clock that carry the lane; a verdict where none does."""
        curves = self.curves(lane)
        if isinstance(curves, Verdict):
            return curves
        offer = best_offer(curves, lane.rate_rps, self._price_w, self.spares)
        return _unreachable(lane, curves) if offer is None else _cost_of(offer)

    def curves(self, lane: LaneLoad) -> tuple[Curves, ...] | Verdict:
        """What its variants draw with the lane's own mix; a verdict where that cannot be told."""
        known = [(arrival.rate_rps, arrival.load.mix) for arrival in lane.arrivals]
        mixes = [(rate, mix) for rate, mix in known if mix is not None]
        if len(mixes) < len(known):
            names = ", ".join(each.load.name for each in lane.arrivals if each.load.mix is None)
            return Verdict(reasons.METRICS_INCOMPLETE, f"lane {lane.name}: lengths of {names} are not known")
        lengths = of_rates(mixes)
        found: list[Curves] = []
        for variant in self.variants:
            try:
                points = self._points(variant, lengths, lane.objective)
            except KeyError:
                continue
            found.append(_curves(variant, points))
        if not found:
            said = f"lane {lane.name}: the profile holds none of its variants; add them to the profile"
            return Verdict(reasons.PROFILE_LACKS_VARIANT, said)
        return tuple(found)

    def estimate(self, lane: LaneLoad) -> Estimate | None:
        """What it may cost, from its classes alone under the lane's objective.

        Rates are mixed by `LaneRates`, watts by the share of time that each class takes. None where a class
        alone is not served by any variant, or its lengths are not known.
        """
        mixes = {arrival.load.name: arrival.load.mix for arrival in lane.arrivals}
        known = {name: mix for name, mix in mixes.items() if mix is not None}
        if len(known) < len(mixes):
            return None
        curves = []
        for variant in self.variants:
            try:
                curves.append(self._mixed(variant, lane, known))
            except KeyError:
                continue
        offer = best_offer(curves, lane.rate_rps, self._price_w, self.spares)
        return None if offer is None else Estimate(offer.cost_w, ESTIMATE_ERROR)

    def _mixed(self, variant: Variant, lane: LaneLoad, mixes: Mapping[str, LengthMix]) -> Curves:
        points = {
            name: self._points(variant, of_rates([(1.0, mix)]), lane.objective) for name, mix in mixes.items()
        }
        clocks_mhz = next(iter(points.values())).clocks_mhz
        shares = {each.load.name: each.rate_rps / lane.rate_rps for each in lane.arrivals}
        classes = [each.load.request_class for each in lane.arrivals]
        rates, watts = np.zeros(len(clocks_mhz)), np.zeros((len(clocks_mhz), len(LOAD_GRID)))
        for i in range(len(clocks_mhz)):
            alone = LaneRates(classes, lambda each, _, i=i: points[each.name].rate_at(i))  # type: ignore[misc]
            rates[i] = alone.mixed_rps(shares)
            if rates[i] > 0.0:
                watts[i] = sum(
                    (shares[name] * rates[i] / alone.rates_rps[name]) * points[name].watts[i]
                    for name in points
                )
        return Curves(variant, clocks_mhz, rates, rates[:, None] * np.array(LOAD_GRID), watts)


def _curves(variant: Variant, points: OperatingPoints) -> Curves:
    return Curves(variant, points.clocks_mhz, points.max_rate_rps, points.rates_rps, points.watts)


def _cost_of(offer: Offer) -> LaneCost:
    gpus = offer.instances * offer.variant.tensor_parallel_size
    how = f"{offer.instances} x {offer.variant.name} at {offer.clock_mhz} MHz"
    return LaneCost(offer.cost_w, offer.watts, ((offer.variant.accelerator, gpus),), how)


def _unreachable(lane: LaneLoad, curves: Sequence[Curves]) -> Verdict:
    names = ", ".join(each.variant.name for each in curves)
    objective = lane.objective
    return Verdict(
        reasons.OBJECTIVE_UNREACHABLE,
        f"lane {lane.name}: none of {names} holds {objective.time_to_first_token_ms} ms to the first token and "
        f"{objective.time_per_output_token_ms} ms per token at any clock and load. Give it a longer objective, a "
        "larger size, or its long prompts a lane of their own",
    )
