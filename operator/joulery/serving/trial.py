"""Trials of one engine under random load: does it attain, how far can it be driven, what does it draw.

All trials of a variant see the same requests in the same order (common random numbers), only denser or
thinner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulery.domain.request_class import Objective
from joulery.serving.instance import InstanceModel
from joulery.serving.mix import LengthMix

if TYPE_CHECKING:
    from joulery.serving.engine import Engine
    from joulery.serving.trial_engine import TrialEngine

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WARM_UP = 0.05  # share of requests that find the engine emptier than in steady state, not judged
_PRECISION = 1.01  # ratio of the bracket at which bisection ends
_BRACKET_STEPS = 24
_WIDEST_STRIDE = 3.0
_WATTS_REQUESTS = 1500  # enough for a mean; tails need more
_ALONE_REQUESTS = 300
_ALONE_GAP_NS = 3_600_000_000_000
_ITL_TAIL = 0.01  # the ITL objective bounds the P99 over all token intervals
_LEAST_RPS = 0.01  # where bursts alone miss the objective, no rate is low enough
_BURST_S = 1.0  # within which the requests of one burst come


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests with the times between their bursts at one request per second on average.

    A request comes `late_s` after its burst begins, whatever the rate; without bursts that is at once.
    """

    input_tokens: Ints
    output_tokens: Ints
    gaps: Floats
    late_s: Floats

    @staticmethod
    def of_lengths(input_tokens: Ints, output_tokens: Ints, *, seed: int, dispersion: float = 1.0) -> Sample:
        """Random arrivals for given lengths, their mean rate exact.

        At dispersion 1 they are Poisson. Above it bursts are, and their sizes are logarithmic: counts per
        second are then negative-binomial with that variance over mean at every rate (Quenouille, 1949).
        """
        count = len(input_tokens)
        rng = np.random.default_rng([seed, 1])
        if dispersion <= 1.0:
            gaps, late_s = rng.exponential(size=count), np.zeros(count)
        else:
            sizes = rng.logseries(1.0 - 1.0 / dispersion, size=count)
            gaps = np.zeros(count)
            firsts = np.cumsum(sizes) - sizes
            firsts = firsts[firsts < count]
            gaps[firsts] = rng.exponential(size=len(firsts))
            late_s = _BURST_S * rng.random(count)
        return Sample(input_tokens, output_tokens, gaps / gaps.mean(), late_s)

    @staticmethod
    def of_mix(mix: LengthMix, count: int, *, seed: int, longest: int, dispersion: float = 1.0) -> Sample:
        """Requests drawn from a mix; input cut so that input and output stay within `longest` tokens."""
        inputs, outputs = mix.sample(count, seed)
        outputs = np.minimum(outputs, longest - 1)
        return Sample.of_lengths(
            np.minimum(inputs, longest - outputs), outputs, seed=seed, dispersion=dispersion
        )

    def __len__(self) -> int:
        return len(self.gaps)

    def first(self, count: int) -> Sample:
        """The first requests, evenly thinned so that lengths keep their distribution."""
        keep = np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)
        gaps = self.gaps[: len(keep)]
        return Sample(
            self.input_tokens[keep], self.output_tokens[keep], gaps / gaps.mean(), self.late_s[: len(keep)]
        )


@dataclass(frozen=True)
class Trial:
    """One variant with its requests and its objective, to be run at any clock and rate."""

    model: InstanceModel
    token_budget: int
    max_num_seqs: int
    sample: Sample
    objective: Objective
    attainment: float

    def highest_rate_rps(self, clock_mhz: int, *, near: float | None = None, stride: float = 1.4) -> float:
        """Highest rate that attains, to about 1 %; 0 where not even a request alone does.

        Args:
            clock_mhz: Clock of the instance.
            near: A rate to start from; None starts from what prefill alone would take.
            stride: First factor of the search for a bracket; it grows.
        """
        if not self.attains_alone(clock_mhz):
            return 0.0
        low, high = self._bracket(clock_mhz, near or self._prefill_bound_rps(clock_mhz), stride)
        while low > 0.0 and high / low > _PRECISION:
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if self.attains(clock_mhz, middle) else (low, middle)
        return low

    def attains(self, clock_mhz: int, rate_rps: float) -> bool:
        """Whether the required share of requests is within the objective; stops as soon as it cannot be."""
        warm_up = int(_WARM_UP * len(self.sample))
        allowed = int((1.0 - self.attainment) * (len(self.sample) - warm_up))
        columns = self._columns.at_rate(rate_rps)
        misses = self._engine.misses(clock_mhz, columns, first_judged=warm_up, allowed=allowed)
        return misses <= allowed and self._intervals_attain()

    def attains_alone(self, clock_mhz: int) -> bool:
        """Whether requests that have the instance to themselves attain."""
        misses = self._engine.misses(clock_mhz, self._alone)
        within = misses <= (1.0 - self.attainment) * self._alone.shape[1]
        return within and self._intervals_attain()

    def alone_ms(self, clock_mhz: int) -> tuple[float, float]:
        """TTFT and TPOT that the required share of requests stays within, each alone on the instance."""
        self._engine.misses(clock_mhz, self._alone)
        return _quantiles_ms(self._engine.last_times_ns, self.attainment)

    def tail_ms(self, clock_mhz: int, rate_rps: float) -> tuple[float, float]:
        """P99 of TTFT and TPOT at a rate; zeros at rate 0."""
        if rate_rps <= 0.0:
            return 0.0, 0.0
        return _quantiles_ms(self._engine.times_ns(clock_mhz, self._columns.at_rate(rate_rps)), 0.99)

    def loaded(self, clock_mhz: int, rate_rps: float) -> Engine:
        """An engine that has lived through the whole sample at a rate, until its last arrival."""
        from joulery.serving.engine import Engine

        engine = Engine(
            self.model,
            token_budget=self.token_budget,
            max_num_seqs=self.max_num_seqs,
            clock_mhz=clock_mhz,
            capacity_hint=len(self.sample),
        )
        arrivals, inputs, outputs, _ = self._columns.at_rate(rate_rps)
        engine.submit_many(arrivals, inputs, outputs)
        engine.advance(int(arrivals[-1]))
        return engine

    def mean_watts(self, clock_mhz: int, rate_rps: float) -> float:
        """Mean watts of the whole instance at a rate in steady state."""
        columns = self._watts_columns.at_rate(rate_rps)
        return self._engine.mean_watts(clock_mhz, columns, first=int(_WARM_UP * columns.shape[1]))

    @cached_property
    def _engine(self) -> TrialEngine:
        from joulery.serving.trial_engine import TrialEngine

        return TrialEngine(
            self.model,
            token_budget=self.token_budget,
            max_num_seqs=self.max_num_seqs,
            objective=self.objective,
            input_tokens=self.sample.input_tokens,
            output_tokens=self.sample.output_tokens,
        )

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.sample)

    @cached_property
    def _watts_columns(self) -> Columns:
        return Columns(self.sample.first(_WATTS_REQUESTS))

    @cached_property
    def _alone(self) -> Ints:
        columns = Columns(self.sample.first(_ALONE_REQUESTS)).table
        columns[0] = np.arange(columns.shape[1]) * _ALONE_GAP_NS
        return columns

    def _bracket(self, clock_mhz: int, rate_rps: float, stride: float) -> tuple[float, float]:
        """A rate that attains and a higher one that does not; 0 and the lowest tried where none attains."""
        upward = self.attains(clock_mhz, rate_rps)
        for _ in range(_BRACKET_STEPS):
            beyond = rate_rps * stride if upward else rate_rps / stride
            if beyond < _LEAST_RPS:
                break
            if self.attains(clock_mhz, beyond) != upward:
                return (rate_rps, beyond) if upward else (beyond, rate_rps)
            rate_rps = beyond
            stride = min(stride**1.5, _WIDEST_STRIDE)  # a token interval above the objective is a cliff
        return (rate_rps, rate_rps) if upward else (0.0, rate_rps)

    def _intervals_attain(self) -> bool:
        if self.objective.inter_token_latency_p99_ms is None:
            return True
        within, beyond = self._engine.itl_histogram
        return bool(beyond <= _ITL_TAIL * (within + beyond))

    def _prefill_bound_rps(self, clock_mhz: int) -> float:
        """What compute alone would carry: a bound from above that is a fair start."""
        tokens = float((self.sample.input_tokens + self.sample.output_tokens).mean())
        return 1e12 / (self.model.at_clock(clock_mhz).compute_token_ps * tokens)


class Columns:
    """A sample as an engine takes it: arrivals, input tokens, output tokens and places in the sample."""

    def __init__(self, sample: Sample) -> None:
        self._units_s = np.cumsum(sample.gaps)
        self._late_s = sample.late_s
        self.table: Ints = np.empty((4, len(sample)), np.int64)
        self.table[1], self.table[2] = sample.input_tokens, sample.output_tokens
        self.table[3] = np.arange(len(sample))

    def at_rate(self, rate_rps: float) -> Ints:
        """The columns with arrivals at a mean rate, valid until the next call."""
        at_s = self._units_s / rate_rps + self._late_s
        self.table[0] = np.sort(at_s) * 1e9
        return self.table


def _quantiles_ms(times_ns: tuple[Ints, Ints], share: float) -> tuple[float, float]:
    ttft_ms, tpot_ms = (float(np.quantile(x, share)) * 1e-6 for x in times_ns)
    return ttft_ms, tpot_ms
