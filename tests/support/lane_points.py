"""Made-up operating points of the variants of the scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from joulery.domain.pool import Variant
from joulery.domain.request_class import Objective
from joulery.serving.class_mix import Lengths
from joulery.serving.points import LOAD_GRID, OperatingPoints
from joulery.simulator.scenario import variants_of

VARIANTS = variants_of("x", 120.0)
CLOCKS_MHZ = (1200, 1600, 1980)


@dataclass
class MadeUp:
    """Engines that carry `rps` per GPU at full clock, times what a mix is worth; watts rise with a root of load."""

    rps: float = 1.0
    exponent: float = 0.9
    worth: Callable[[Lengths], float] = lambda lengths: 1.0
    asked: list[Objective] = field(default_factory=list)

    def __call__(self, variant: Variant, lengths: Lengths, objective: Objective) -> OperatingPoints:
        self.asked.append(objective)
        size = variant.tensor_parallel_size
        phi = np.array(CLOCKS_MHZ) / 1980.0
        rates = self.rps * size**self.exponent * phi**0.7 * self.worth(lengths)
        grid = np.array(LOAD_GRID)
        watts = size * (90.0 + (300.0 * phi**2)[:, None] * np.sqrt(grid))
        ones = np.ones(len(phi))
        return OperatingPoints(
            CLOCKS_MHZ, rates, rates[:, None] * grid, watts, ones, ones, 3e3 * ones, 20.0 * ones, 10.0, 10.0,
            100, 0.01 * ones, 90.0 * size, 0.5,
        )  # fmt: skip
