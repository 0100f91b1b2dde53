"""What one instance of a variant draws against its rate, and the cheapest number of them for a load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulery.domain.pool import Variant
from joulery.optimizer.problem import Floats, Ints

# Counts that are tried between the fewest that carry the load and those for the lowest clock.
MOST_COUNTS = 512
# The last bit of a share must not cost an instance.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Of one variant: `[clock]` highest rates of an instance, `[clock, load]` rates and watts."""

    variant: Variant
    clocks_mhz: tuple[int, ...]
    max_rate_rps: Floats
    rates_rps: Floats
    watts: Floats


@dataclass(frozen=True, slots=True)
class Offer:
    """So many instances of a variant at one clock under equal shares; `cost_w` includes the price of GPUs."""

    variant: Variant
    instances: int
    clock_mhz: int
    watts: float
    cost_w: float


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Every count and clock of a variant that may be worth having, as arrays."""

    instances: Ints
    clock_mhz: Ints
    watts: Floats


def best_offer(
    curves: Sequence[Curves], rate_rps: float, gpu_price_w: Mapping[str, float], spares: int
) -> Offer | None:
    """The cheapest that carries a load and would with so many instances lost; None where none does."""
    offers = [
        _offer(each, options, gpu_price_w.get(each.variant.accelerator, 0.0))
        for each in curves
        if (options := options_of(each, rate_rps, spares)) is not None
    ]
    return min(offers, key=lambda offer: (offer.cost_w, offer.variant.name), default=None)


def options_of(curves: Curves, rate_rps: float, spares: int) -> Options | None:
    """Those that carry a load; None where no clock meets the objective."""
    able = np.flatnonzero(curves.max_rate_rps > 0.0)
    if not len(able):
        return None
    highest = curves.max_rate_rps[able]
    fewest = max(1, math.ceil(rate_rps / highest.max() - _ROUNDING)) + spares
    most = max(fewest, math.ceil(rate_rps / highest.min()) + spares + 1)
    counts = np.unique(np.linspace(fewest, most, MOST_COUNTS).round()).astype(np.int64)
    each_rps = rate_rps / counts
    watts = np.stack([np.interp(each_rps, curves.rates_rps[i], curves.watts[i]) for i in able])
    clock, count = np.nonzero(highest[:, None] * (1.0 + _ROUNDING) >= each_rps)
    clocks_mhz = np.array(curves.clocks_mhz, dtype=np.int64)[able]
    return Options(counts[count], clocks_mhz[clock], counts[count] * watts[clock, count])


def _offer(curves: Curves, options: Options, price_w: float) -> Offer:
    gpus = options.instances * curves.variant.tensor_parallel_size
    cost_w = options.watts + gpus * price_w
    least = int(np.argmin(cost_w))
    return Offer(
        curves.variant,
        int(options.instances[least]),
        int(options.clock_mhz[least]),
        float(options.watts[least]),
        float(cost_w[least]),
    )
