"""Costs of lanes from operating points of their own mix: instances of one variant, one clock, equal shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from joulery.domain import reasons
from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.costs import Estimate, LaneCost
from joulery.optimizer.problem import Floats
from joulery.serving.class_mix import Lengths, of_rates
from joulery.serving.lane_rates import LaneRates
from joulery.serving.mix import LengthMix
from joulery.serving.points import LOAD_GRID, OperatingPoints

# By how much an estimate may lie above the cost of the lane's actual mix (docstring of `estimate`).
ESTIMATE_ERROR = 0.10


# Counts that are tried between the fewest that carry the load and those for the lowest clock.
_MOST_COUNTS = 512


class LanePoints(Protocol):
    """Operating points of a pool's variants."""

    def __call__(self, variant: Variant, lengths: Lengths, objective: Objective) -> OperatingPoints:
        """Points of one variant at its clocks; KeyError where the profile does not hold it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Watts of one instance against its rate: `[clock]` highest rates, `[clock, load]` rates and watts."""

    clocks_mhz: tuple[int, ...]
    max_rate_rps: Floats
    rates_rps: Floats
    watts: Floats


@dataclass(frozen=True, slots=True)
class _Offer:
    variant: Variant
    instances: int
    clock_mhz: int
    watts: float
    cost_w: float


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
        self._variants = tuple(sorted(variants, key=lambda variant: variant.name))
        self._points = points
        self._price_w = dict(gpu_price_w or {})
        self._spares = spares

    def cost(self, lane: LaneLoad) -> LaneCost | Verdict:
        """The cheapest variant, count and clock that carry the lane; a verdict where none does."""
        known = [(arrival.rate_rps, arrival.load.mix) for arrival in lane.arrivals]
        mixes = [(rate, mix) for rate, mix in known if mix is not None]
        if len(mixes) < len(known):
            names = ", ".join(each.load.name for each in lane.arrivals if each.load.mix is None)
            return Verdict(reasons.METRICS_INCOMPLETE, f"lane {lane.name}: lengths of {names} are not known")
        lengths = of_rates(mixes)
        found: list[tuple[Variant, OperatingPoints]] = []
        for variant in self._variants:
            try:
                found.append((variant, self._points(variant, lengths, lane.objective)))
            except KeyError:
                continue
        offer = self._best([(variant, _curves(points)) for variant, points in found], lane.rate_rps)
        return _unreachable(lane, found) if offer is None else _cost_of(offer)

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
        for variant in self._variants:
            try:
                curves.append((variant, self._mixed(variant, lane, known)))
            except KeyError:
                continue
        offer = self._best(curves, lane.rate_rps)
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
        return Curves(clocks_mhz, rates, rates[:, None] * np.array(LOAD_GRID), watts)

    def _best(self, curves: Sequence[tuple[Variant, Curves]], rate_rps: float) -> _Offer | None:
        offers = [self._offer(variant, each, rate_rps) for variant, each in curves]
        return min(
            (offer for offer in offers if offer is not None),
            key=lambda offer: (offer.cost_w, offer.variant.name),
            default=None,
        )

    def _offer(self, variant: Variant, curves: Curves, rate_rps: float) -> _Offer | None:
        """The cheapest count and clock of a variant; None where no clock meets the objective."""
        able = curves.max_rate_rps[curves.max_rate_rps > 0.0]
        if not len(able):
            return None
        fewest = max(1, math.ceil(rate_rps / able.max() - 1e-9)) + self._spares
        most = math.ceil(rate_rps / able.min()) + self._spares + 1
        counts = np.unique(np.linspace(fewest, max(fewest, most), _MOST_COUNTS).round())
        each_rps = rate_rps / counts
        watts = np.stack(
            [np.interp(each_rps, rates, w) for rates, w in zip(curves.rates_rps, curves.watts, strict=True)]
        )
        # The last bit of a share must not cost an instance.
        carries = curves.max_rate_rps[:, None] * (1.0 + 1e-9) >= each_rps
        carries &= curves.max_rate_rps[:, None] > 0.0
        price_w = variant.tensor_parallel_size * self._price_w.get(variant.accelerator, 0.0)
        cost = np.where(carries, counts * (watts + price_w), np.inf)
        clock, count = np.unravel_index(int(np.argmin(cost)), cost.shape)
        instances = int(counts[count])
        total_w = instances * float(watts[clock, count])
        return _Offer(variant, instances, curves.clocks_mhz[clock], total_w, float(cost[clock, count]))


def _curves(points: OperatingPoints) -> Curves:
    return Curves(points.clocks_mhz, points.max_rate_rps, points.rates_rps, points.watts)


def _cost_of(offer: _Offer) -> LaneCost:
    gpus = offer.instances * offer.variant.tensor_parallel_size
    how = f"{offer.instances} x {offer.variant.name} at {offer.clock_mhz} MHz"
    return LaneCost(offer.cost_w, offer.watts, ((offer.variant.accelerator, gpus),), how)


def _unreachable(lane: LaneLoad, found: Sequence[tuple[Variant, OperatingPoints]]) -> Verdict:
    if not found:
        return Verdict(
            reasons.PROFILE_LACKS_VARIANT,
            f"lane {lane.name}: the profile holds none of its variants; add them to the profile",
        )
    ttft_ms, tpot_ms = min(
        (float(points.best_ttft_ms[-1]), float(points.best_tpot_ms[-1])) for _, points in found
    )
    objective = lane.objective
    return Verdict(
        reasons.OBJECTIVE_UNREACHABLE,
        f"lane {lane.name}: no variant holds {objective.time_to_first_token_ms} ms to the first token and "
        f"{objective.time_per_output_token_ms} ms per token; alone on an engine requests take {ttft_ms:.0f} and "
        f"{tpot_ms:.1f} ms. Give it a longer objective, a larger size, or a lane for its long prompts",
    )
