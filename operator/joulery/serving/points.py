"""Operating points: for one variant and mix, the highest rate within the objective and the watts, by clock.

The highest rate is searched on the very engine that emulator and replay run: arrivals as bursty as the pool's,
one sample of requests for all clocks and rates (common random numbers). How much its parts differ tells how
much the rate would with another sample. Watts against load are strongly concave, so they are a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulery.domain.clock_table import ClockRow
from joulery.domain.request_class import Objective
from joulery.serving.class_mix import Lengths
from joulery.serving.frontier import frontier
from joulery.serving.instance import InstanceModel
from joulery.serving.sample import Samples
from joulery.serving.trial import Trial

Floats = npt.NDArray[np.float64]

# Shares of the highest rate at which watts are tabulated: dense where the curve bends.
LOAD_GRID: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)

# Operating points are computed to this attainment so that transients have room above the promise of 99 %.
ATTAINMENT = 0.995

# Requests of a sample to begin with; most classes then spread by 1 to 2 % over samples.
SAMPLE_REQUESTS = 46_000

# From the seed of one draw of a sample to that of the next; far from seeds that callers count up.
_NEXT_DRAW = 1_000_003


@dataclass(frozen=True)
class OperatingPoints:
    """What one instance can do at each clock; `max_rate_rps` is 0 where not even a request alone attains.

    Attributes:
        rates_rps: `[clock, load]`, the rates at which `watts` of the whole instance are tabulated, first 0.
        p99_ttft_ms, p99_tpot_ms: `[clock]`, within 2 % of the highest rate, of a clock alone within 4 %.
        best_ttft_ms, best_tpot_ms: `[clock]`, what the required share of requests stays within, each alone.
        requests: Size of the sample of requests.
        seed_spread: `[clock]`, relative standard deviation of the highest rate over such samples.
        prompt_time_share: Share of the time that one more request costs which its prompt takes.
    """

    clocks_mhz: tuple[int, ...]
    max_rate_rps: Floats
    rates_rps: Floats
    watts: Floats
    p99_ttft_ms: Floats
    p99_tpot_ms: Floats
    best_ttft_ms: Floats
    best_tpot_ms: Floats
    mean_input_tokens: float
    mean_output_tokens: float
    requests: int
    seed_spread: Floats
    idle_w: float
    prompt_time_share: float

    def rate_at(self, clock_index: int) -> float:
        """Highest rate within the objective at a clock, requests per second."""
        return float(self.max_rate_rps[clock_index])

    def watts_at(self, clock_index: int, rate_rps: float) -> float:
        """Watts of the whole instance at a rate; those of the highest rate beyond it."""
        return float(np.interp(rate_rps, self.rates_rps[clock_index], self.watts[clock_index]))

    @property
    def is_feasible(self) -> bool:
        """Whether any clock meets the objective."""
        return bool((self.max_rate_rps > 0).any())


def operating_points(
    model: InstanceModel,
    *,
    token_budget: int,
    max_num_seqs: int,
    mix: Lengths,
    objective: Objective,
    clocks_mhz: Sequence[int],
    dispersion: float = 1.0,
    attainment: float = ATTAINMENT,
    requests: int = SAMPLE_REQUESTS,
    seed: int = 0,
    samples: Samples | None = None,
) -> OperatingPoints:
    """Operating points at rising clocks, from one sample of so many requests, or of twice as many.

    Twice as many are drawn where rates would spread too much over samples. `dispersion` is that of the arrivals
    at one instance: variance over mean of their counts per second. `samples` holds those drawn before.

    Raises ValueError for clocks that do not rise, and what `Engine` raises for its options.
    """
    clocks = tuple(clocks_mhz)
    if not clocks or any(b <= a for a, b in pairwise(clocks)):
        raise ValueError(f"clocks must rise, got {clocks}")

    drawn = samples or Samples()

    def trial_of(count: int, draw: int) -> Trial:
        longest, its_seed = model.longest_request_tokens, seed + _NEXT_DRAW * draw
        sample = drawn.of_mix(mix, count, seed=its_seed, longest=longest, dispersion=dispersion)
        return Trial(model, token_budget, max_num_seqs, sample, objective, attainment)

    found = frontier(trial_of, requests, clocks)
    trial, limits = found.trial, found.limits
    rates = np.array([limit.rate_rps for limit in limits])
    grid = rates[:, None] * np.array(LOAD_GRID)
    tails = np.array([limit.p99_ms for limit in limits])
    alone = np.array([trial.alone_ms(clock) for clock in clocks])
    return OperatingPoints(
        clocks_mhz=clocks,
        max_rate_rps=rates,
        rates_rps=grid,
        watts=np.array([_watts(trial, clock, row) for clock, row in zip(clocks, grid, strict=True)]),
        p99_ttft_ms=tails[:, 0],
        p99_tpot_ms=tails[:, 1],
        best_ttft_ms=alone[:, 0],
        best_tpot_ms=alone[:, 1],
        mean_input_tokens=float(trial.sample.input_tokens.mean()),
        mean_output_tokens=float(trial.sample.output_tokens.mean()),
        requests=found.requests,
        seed_spread=np.array([limit.crossing.deviation for limit in limits]),
        idle_w=model.idle_loaded_w,
        prompt_time_share=_prompt_time_share(trial),
    )


def between(slow: OperatingPoints, fast: OperatingPoints, share: float) -> OperatingPoints:
    """Points of an engine of a speed between two: linear in all arrays, `share` of the way to the fast one.

    A clock at which the slow one meets no objective counts for nothing. Against points computed at the
    speed itself rates are off by at most 4 %.
    """

    def mixed(low: Floats, high: Floats) -> Floats:
        return np.asarray((1.0 - share) * low + share * high)

    able = slow.max_rate_rps > 0.0
    return replace(
        fast,
        max_rate_rps=np.where(able, mixed(slow.max_rate_rps, fast.max_rate_rps), 0.0),
        rates_rps=np.where(able[:, None], mixed(slow.rates_rps, fast.rates_rps), 0.0),
        watts=mixed(slow.watts, fast.watts),
        p99_ttft_ms=mixed(slow.p99_ttft_ms, fast.p99_ttft_ms),
        p99_tpot_ms=mixed(slow.p99_tpot_ms, fast.p99_tpot_ms),
        best_ttft_ms=mixed(slow.best_ttft_ms, fast.best_ttft_ms),
        best_tpot_ms=mixed(slow.best_tpot_ms, fast.best_tpot_ms),
    )


def _prompt_time_share(trial: Trial) -> float:
    """Prompt tokens against a sequence's own time and context per answer token, at the highest clock.

    Iterations also have costs that no request adds to (launch, streaming of weights); those count for neither.
    """
    at_top = trial.model.at_clock(trial.model.max_clock_mhz)
    inputs, outputs = float(trial.sample.input_tokens.mean()), float(trial.sample.output_tokens.mean())
    prompt_ps = at_top.compute_token_ps * inputs
    answer_ps = (at_top.sequence_ps + at_top.context_token_ps * (inputs + outputs / 2.0)) * outputs
    return prompt_ps / (prompt_ps + answer_ps)


def clock_table(
    points: OperatingPoints, *, headroom: float, floor_mhz: int, ceiling_mhz: int
) -> tuple[ClockRow, ...]:
    """Rows by rising load: the clock of least energy that attains it with `headroom` (a share) to spare.

    Clocks never fall from row to row. The last row is the ceiling's; beyond it the ceiling holds as well.
    Empty where no clock between the bounds meets the objective.
    """
    usable = [
        i
        for i, c in enumerate(points.clocks_mhz)
        if floor_mhz <= c <= ceiling_mhz and points.rate_at(i) > 0.0
    ]
    rows: list[ClockRow] = []
    highest = 0
    for index in usable:
        load = points.rate_at(index) * (1.0 - headroom)
        able = [i for i in usable if points.rate_at(i) * (1.0 - headroom) >= load]
        least = usable[-1] if index == usable[-1] else min(able, key=lambda i: points.watts_at(i, load))
        highest = max(highest, points.clocks_mhz[least])
        rows.append(ClockRow(load * points.mean_input_tokens, load * points.mean_output_tokens, highest))
    return tuple(rows)


def _watts(trial: Trial, clock_mhz: int, rates: Floats) -> Floats:
    """Watts at rising rates, never falling."""
    idle = trial.model.idle_loaded_w
    watts = [idle if rate <= 0.0 else trial.mean_watts(clock_mhz, float(rate)) for rate in rates]
    rising: Floats = np.maximum.accumulate(np.array(watts))
    return rising
