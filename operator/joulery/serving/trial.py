"""Trials of one engine under random load: does it attain, how far can it be driven, what does it draw.

All trials of a variant see the same requests in the same order (common random numbers), only denser or
thinner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulery.domain.request_class import Objective
from joulery.serving.instance import InstanceModel
from joulery.serving.mix import LengthMix

if TYPE_CHECKING:
    from joulery.serving.engine import Engine
    from joulery.serving.engine_records import FinishedRequests

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_CHUNK = 500  # requests between two looks at the misses
_WARM_UP = 0.05  # share of requests that find the engine emptier than in steady state, not judged
_PRECISION = 1.01  # ratio of the bracket at which bisection ends
_BRACKET_STEPS = 24
_TAIL_NS = 10_000_000_000  # steps in which the last requests are brought to an end
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


@dataclass(frozen=True, slots=True)
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
        engine = self._engine(clock_mhz)
        arrivals = _arrivals(self.sample, rate_rps)
        warm_up = int(_WARM_UP * len(arrivals))
        allowed = int((1.0 - self.attainment) * (len(arrivals) - warm_up))
        engine.submit_many(
            arrivals, self.sample.input_tokens, self.sample.output_tokens, np.arange(len(arrivals))
        )
        misses, end = 0, int(arrivals[-1])
        for chunk in range(_CHUNK, len(arrivals) + _CHUNK, _CHUNK):
            engine.advance(int(arrivals[min(chunk, len(arrivals) - 1)]))
            misses += self._misses(engine.take_finished(), warm_up)
            if misses > allowed:
                return False
        while engine.in_flight:
            end += _TAIL_NS
            engine.advance(end)
        misses += self._misses(engine.take_finished(), warm_up)
        return misses <= allowed and self._intervals_attain(engine)

    def attains_alone(self, clock_mhz: int) -> bool:
        """Whether requests that have the instance to themselves attain."""
        engine = self._run_alone(clock_mhz)
        finished = engine.take_finished()
        within = self._misses(finished, 0) <= (1.0 - self.attainment) * len(finished)
        return within and self._intervals_attain(engine)

    def alone_ms(self, clock_mhz: int) -> tuple[float, float]:
        """TTFT and TPOT that the required share of requests stays within, each alone on the instance."""
        return self._quantiles_ms(self._run_alone(clock_mhz).take_finished())

    def tail_ms(self, clock_mhz: int, rate_rps: float) -> tuple[float, float]:
        """P99 of TTFT and TPOT at a rate; zeros at rate 0."""
        if rate_rps <= 0.0:
            return 0.0, 0.0
        finished = self.loaded(clock_mhz, rate_rps).take_finished()
        return (
            float(np.quantile(finished.ttft_ns, 0.99)) * 1e-6,
            float(np.quantile(finished.tpot_ns, 0.99)) * 1e-6,
        )

    def loaded(self, clock_mhz: int, rate_rps: float) -> Engine:
        """An engine that has lived through the whole sample at a rate, until its last arrival."""
        engine = self._engine(clock_mhz)
        arrivals = _arrivals(self.sample, rate_rps)
        engine.submit_many(arrivals, self.sample.input_tokens, self.sample.output_tokens)
        engine.advance(int(arrivals[-1]))
        return engine

    def mean_watts(self, clock_mhz: int, rate_rps: float) -> float:
        """Mean watts of the whole instance at a rate in steady state."""
        engine = self._engine(clock_mhz)
        sample = self.sample.first(_WATTS_REQUESTS)
        arrivals = _arrivals(sample, rate_rps)
        engine.submit_many(arrivals, sample.input_tokens, sample.output_tokens)
        start, end = int(arrivals[int(_WARM_UP * len(arrivals))]), int(arrivals[-1])
        engine.advance(start)
        before = engine.energy_j
        engine.advance(end)
        return (engine.energy_j - before) / (1e-9 * (end - start))

    def _engine(self, clock_mhz: int) -> Engine:
        from joulery.serving.engine import Engine

        limit = self.objective.inter_token_latency_p99_ms
        return Engine(
            self.model,
            token_budget=self.token_budget,
            max_num_seqs=self.max_num_seqs,
            clock_mhz=clock_mhz,
            capacity_hint=len(self.sample),
            itl_edges_ns=() if limit is None else (limit * 1_000_000,),
        )

    def _run_alone(self, clock_mhz: int) -> Engine:
        engine = self._engine(clock_mhz)
        sample = self.sample.first(_ALONE_REQUESTS)
        arrivals = np.arange(len(sample), dtype=np.int64) * _ALONE_GAP_NS
        engine.submit_many(arrivals, sample.input_tokens, sample.output_tokens)
        engine.advance(len(sample) * _ALONE_GAP_NS)
        return engine

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

    def _misses(self, finished: FinishedRequests, warm_up: int) -> int:
        late = finished.ttft_ns > self.objective.time_to_first_token_ms * 1_000_000
        slow = finished.tpot_ns > self.objective.time_per_output_token_ms * 1_000_000
        return int(((late | slow) & (finished.tag >= warm_up)).sum())

    def _intervals_attain(self, engine: Engine) -> bool:
        if self.objective.inter_token_latency_p99_ms is None:
            return True
        within, beyond = engine.itl_histogram
        return bool(beyond <= _ITL_TAIL * (within + beyond))

    def _quantiles_ms(self, finished: FinishedRequests) -> tuple[float, float]:
        ttft, tpot = (
            float(np.quantile(x, self.attainment)) * 1e-6 for x in (finished.ttft_ns, finished.tpot_ns)
        )
        return ttft, tpot

    def _prefill_bound_rps(self, clock_mhz: int) -> float:
        """What compute alone would carry: a bound from above that is a fair start."""
        tokens = float((self.sample.input_tokens + self.sample.output_tokens).mean())
        return 1e12 / (self.model.at_clock(clock_mhz).compute_token_ps * tokens)


def _arrivals(sample: Sample, rate_rps: float) -> Ints:
    at_s = np.cumsum(sample.gaps) / rate_rps + sample.late_s
    arrivals: Ints = (np.sort(at_s) * 1e9).astype(np.int64)
    return arrivals
