"""What a lane of several classes can carry, estimated from what each class alone can: to rank, not to promise.

A request of class c takes the share 1 / r_c of a second's capacity, r_c being the highest rate of that class alone.
That holds only for rates under one objective, the lane's: under first come, first served one short prompt in a
hundred behind a long one breaks the short one's own objective, and rates under own objectives promise up to 18
times what the lane carries. Promises come from operating points of the lane's actual mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from joulery.domain.request_class import Objective, RequestClass, lane_objective

# Relative errors against the search on the actual mix (Azure 2023 mixes and pairs of classes, TP 2 to 8,
# 1200 and 1980 MHz, token budgets 512 and 1024): mostly within the first, at worst that far below.
USUAL_ERROR = 0.10
WORST_ERROR = -0.19


class LaneRates:
    """Highest rates of the classes of a lane, requests per second, each alone and under the lane's objective.

    Rates come in through `measure` only, which is told the objective: those measured under the classes' own
    objectives cannot be mixed.
    """

    def __init__(
        self, classes: Sequence[RequestClass], measure: Callable[[RequestClass, Objective], float]
    ) -> None:
        """Measure every class; ValueError where a rate is negative."""
        self.objective = lane_objective(classes)
        rates = {each.name: measure(each, self.objective) for each in classes}
        if min(rates.values()) < 0.0:
            raise ValueError(f"rates must not be negative, got {rates}")
        self.rates_rps: Mapping[str, float] = MappingProxyType(rates)

    def mixed_rps(self, shares: Mapping[str, float]) -> float:
        """Highest rate of a mix by shares of requests: 1 / sum(share / rate); 0 where a class cannot be served.

        Raises KeyError for a class that is not of the lane, ValueError for shares that are negative or do not
        sum to 1.
        """
        if min(shares.values()) < 0.0 or abs(sum(shares.values()) - 1.0) > 1e-6:
            raise ValueError(f"shares must not be negative and sum to 1, got {dict(shares)}")
        present = [(self.rates_rps[name], share) for name, share in shares.items() if share > 0.0]
        if any(rate == 0.0 for rate, _ in present):
            return 0.0
        return 1.0 / sum(share / rate for rate, share in present)
