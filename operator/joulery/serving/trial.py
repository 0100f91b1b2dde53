"""Trials of one engine under random load: does it attain, how far can it be driven, what does it draw.

All trials of a variant see the same requests in the same order (common random numbers), only denser or
thinner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulery.domain.request_class import Objective
from joulery.serving.crossing import NEAR, NOWHERE, Crossing, Near, Run, crossing
from joulery.serving.instance import InstanceModel
from joulery.serving.sample import Columns, Sample

if TYPE_CHECKING:
    from joulery.serving.engine import Engine
    from joulery.serving.trial_engine import TrialEngine

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Equal parts of a sample. The first finds the engine emptier than in steady state and is not judged; how much
# the others differ tells how much other samples would.
_PARTS = 20
_HOPELESS = 8.0  # times as many misses as allowed, at which a run is stopped
_COARSE_SHARE = 8  # of a sample, which finds the neighbourhood
_FEWEST_COARSE = 500
# Where a search ends that uses few requests, and one of all requests that has its slope from those few.
_NEAR_COARSE, _NEAR_QUICK = Near(2.0, 0.1), Near(0.6, 0.03, deviation=0.032)
# Few requests hold few of the rare bursts: rates are so many times as high as with all, the median of 99 lanes.
_FEW_FASTER = 1.04
_WATTS_REQUESTS = 1500  # enough for a mean; tails need more
_ALONE_REQUESTS = 300
_ALONE_GAP_NS = 3_600_000_000_000
_ITL_TAIL = 0.01  # the ITL objective bounds the P99 over all token intervals
_LEAST_RPS = 0.01  # where bursts alone miss the objective, no rate is low enough


@dataclass(frozen=True)
class Trial:
    """One variant with its requests and its objective, to be run at any clock and rate."""

    model: InstanceModel
    token_budget: int
    max_num_seqs: int
    sample: Sample
    objective: Objective
    attainment: float

    def highest_rate_rps(self, clock_mhz: int, *, near_rps: float | None = None) -> float:
        """Highest rate that attains, to about 1 %; 0 where not even a request alone does."""
        return self.crossing(clock_mhz, near_rps=near_rps).rate_rps

    def crossing(
        self, clock_mhz: int, *, near_rps: float | None = None, slope: float | None = None
    ) -> Crossing:
        """The highest rate that attains, searched from what the like has; the last run is the one nearest."""
        if not self.attains_alone(clock_mhz):
            return NOWHERE
        if near_rps is None:
            near_rps = self._coarse_rps(clock_mhz)
        return self.search(clock_mhz, near_rps, slope=slope)

    def quick_crossing(self, clock_mhz: int, like: Crossing | None = None) -> Crossing:
        """The same from fewer runs, for a clock that no other is compared with.

        The slope is taken from a `like` search or from few requests, so that whatever run of all is first near
        the crossing is the last. Rates differ by 0.5 % from those of `crossing` (standard deviation over 105
        lanes and samples, at most 2.1 %).
        """
        if not self.attains_alone(clock_mhz):
            return NOWHERE
        like = like or self._few_crossing(clock_mhz)
        if like.rate_rps == 0.0:
            return self.crossing(clock_mhz)
        return self.search(clock_mhz, like.rate_rps, slope=like.slope, near=_NEAR_QUICK)

    def search(
        self, clock_mhz: int, near_rps: float, *, slope: float | None = None, near: Near = NEAR
    ) -> Crossing:
        """As `crossing`, where requests alone attain; `near` is where the search ends."""

        def run(rate_rps: float) -> Run:
            return self.run(clock_mhz, rate_rps)

        return crossing(run, near_rps, slope=slope, least_rps=_LEAST_RPS, near=near)

    def bound_rps(self, clock_mhz: int) -> float:
        """What compute alone would carry."""
        tokens = float((self.sample.input_tokens + self.sample.output_tokens).mean())
        return 1e12 / (self.model.at_clock(clock_mhz).compute_token_ps * tokens)

    def attains(self, clock_mhz: int, rate_rps: float) -> bool:
        """Whether the required share of requests is within the objective; stops as soon as it cannot be."""
        return self.run(clock_mhz, rate_rps, hopeless=1.0).attains

    def run(self, clock_mhz: int, rate_rps: float, *, hopeless: float = _HOPELESS) -> Run:
        """One run at a rate, given up when `hopeless` times as many miss as may."""
        most, columns = int(hopeless * self._may_miss), self._columns.at_rate(rate_rps)
        parts = self._engine.serve(clock_mhz, columns, self._bounds, most_misses=most)
        if parts is None:
            return Run(rate_rps, hopeless, 0.0, whole=False)
        excess, deviation = self._excess(parts)
        return Run(rate_rps, excess, deviation, whole=True)

    def attains_alone(self, clock_mhz: int) -> bool:
        """Whether requests that have the instance to themselves attain."""
        misses, within, beyond = self._serve_alone(clock_mhz).tolist()
        few = misses <= (1.0 - self.attainment) * self._alone.shape[1]
        return bool(few and beyond <= _ITL_TAIL * (within + beyond))

    def alone_ms(self, clock_mhz: int) -> tuple[float, float]:
        """TTFT and TPOT that the required share of requests stays within, each alone on the instance."""
        self._serve_alone(clock_mhz)
        return _quantiles_ms(self._small_engine.last_times_ns, self.attainment)

    def last_ms(self, share: float) -> tuple[float, float]:
        """TTFT and TPOT that such a share of the requests of the last run stays within, each."""
        return _quantiles_ms(self._engine.last_times_ns, share)

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
        return self._small_engine.mean_watts(clock_mhz, columns, first=columns.shape[1] // _PARTS)

    def _coarse_rps(self, clock_mhz: int) -> float:
        """About the highest rate, found with few requests from what compute alone would carry."""
        bound_rps = self.bound_rps(clock_mhz)
        if self._few is None:
            return bound_rps
        return self._few.crossing(clock_mhz, near_rps=bound_rps).rate_rps or bound_rps

    def _few_crossing(self, clock_mhz: int) -> Crossing:
        """What few requests tell of the crossing of all; NOWHERE where they are too few or none attains."""
        if self._few is None:
            return NOWHERE
        found = self._few.search(clock_mhz, self._few.bound_rps(clock_mhz), near=_NEAR_COARSE)
        return replace(found, rate_rps=found.rate_rps / _FEW_FASTER)

    @cached_property
    def _few(self) -> Trial | None:
        """The same with few of the requests; None where they are few already."""
        count = len(self.sample) // _COARSE_SHARE
        return replace(self, sample=self.sample.first(count)) if count >= _FEWEST_COARSE else None

    def _excess(self, parts: Ints) -> tuple[float, float]:
        """Misses, or token intervals beyond the limit, over those allowed; relative deviation over samples."""
        judged = np.diff(parts, axis=0)
        misses = judged[:, 0] / (self._may_miss / len(judged))
        intervals = np.maximum(judged[:, 1:].sum(axis=1), 1)
        beyond = judged[:, 2] / (_ITL_TAIL * intervals.mean())
        worse = max(misses, beyond, key=lambda shares: float(shares.mean()))
        mean = float(worse.mean())
        error = float(worse.std(ddof=1)) / math.sqrt(len(worse))
        return mean, error / mean if mean > 0.0 else 0.0

    @property
    def _may_miss(self) -> float:
        """Judged requests that may miss."""
        return (1.0 - self.attainment) * (len(self.sample) - int(self._bounds[0]))

    @cached_property
    def _bounds(self) -> Ints:
        """Where parts of the sample end."""
        ends: Ints = np.arange(1, _PARTS + 1) * len(self.sample) // _PARTS
        return ends

    @cached_property
    def _engine(self) -> TrialEngine:
        return self._engine_for(self.sample)

    @cached_property
    def _small_engine(self) -> TrialEngine:
        """One for few requests, quicker to wipe."""
        return self._engine_for(self.sample.first(_WATTS_REQUESTS))

    def _engine_for(self, sample: Sample) -> TrialEngine:
        from joulery.serving.trial_engine import TrialEngine

        return TrialEngine(
            self.model,
            token_budget=self.token_budget,
            max_num_seqs=self.max_num_seqs,
            objective=self.objective,
            input_tokens=sample.input_tokens,
            output_tokens=sample.output_tokens,
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

    def _serve_alone(self, clock_mhz: int) -> Ints:
        """Misses and token intervals, within and beyond the limit, of requests alone on the instance."""
        parts = self._small_engine.serve(clock_mhz, self._alone)
        assert parts is not None
        marks: Ints = parts[-1]
        return marks


def _quantiles_ms(times_ns: tuple[Ints, Ints], share: float) -> tuple[float, float]:
    ttft_ms, tpot_ms = (_quantile(times, share) * 1e-6 for times in times_ns)
    return ttft_ms, tpot_ms


def _quantile(values: Ints, share: float) -> float:
    """As numpy's, which takes ten times as long."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    parted = np.partition(values, below)
    least, after = float(parted[below]), parted[below + 1 :]
    return least + (place - below) * (float(after.min()) - least) if len(after) else least
