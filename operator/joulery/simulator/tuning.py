"""Baselines tuned to their own least energy at 99 % attainment, pool by pool, with the truth known to them.

Candidates come from the operating points of the *true* engine, cheapest prediction first; each is judged by a
replay of the pool's own stream. A baseline that does not attain is no baseline, so the first that attains is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from joulery.domain.keys import ObjectKey
from joulery.domain.pool import Pool
from joulery.serving.points import OperatingPoints
from joulery.simulator.baselines import Constant, Reactive, ReactiveSetting, Setting
from joulery.simulator.replay import Replay, ScalingPolicy, Timing
from joulery.simulator.result import attained
from joulery.simulator.scenario import Scenario
from joulery.simulator.traces import NS_PER_S, Requests

ATTAINMENT_PERCENT = 99.0
_MINUTE_S = 60.0
# Shares of an instance's highest attaining rate that reactive scaling may aim at; above one, rounding up may save it.
REACTIVE_TARGETS = (1.2, 1.15, 1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4)

FloatArray = NDArray[np.float64]
_P = TypeVar("_P", bound=ScalingPolicy)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fixed configuration and what the true engine's operating points say it would draw."""

    setting: Setting
    predicted_w: float


def minute_rates_rps(stream: Requests, duration_s: float, window_s: float = _MINUTE_S) -> FloatArray:
    """Requests per second in windows of one minute."""
    windows = max(1, round(duration_s / window_s))
    counts = np.bincount(
        (stream.arrival_ns // round(window_s * NS_PER_S)).astype(np.int64), minlength=windows
    )
    return counts[:windows] / window_s


def _mean_w(
    points: OperatingPoints, clock_index: int, rates: FloatArray, replicas: FloatArray | int
) -> float:
    per_replica = rates / replicas
    return float(np.mean(replicas * np.array([points.watts_at(clock_index, float(r)) for r in per_replica])))


def static_candidates(
    pool: Pool, points: Mapping[str, OperatingPoints], rates: FloatArray, gpus: int
) -> Iterator[Candidate]:
    """Every variant x count x clock that is not hopeless at the mean rate, cheapest prediction first."""
    sampled = np.quantile(rates, np.linspace(0.02, 0.98, 25))
    found: list[Candidate] = []
    for variant in pool.variants:
        table = points[variant.name]
        for index, clock_mhz in enumerate(table.clocks_mhz):
            capacity = float(table.max_rate_rps[index])
            if capacity <= 0.0:
                continue
            fewest = max(1, math.ceil(float(rates.mean()) / capacity))
            most = min(variant.max_replicas, gpus // variant.tensor_parallel_size)
            for replicas in range(fewest, most + 1):
                predicted = _mean_w(table, index, sampled, replicas)
                found.append(Candidate(Setting(variant.name, replicas, clock_mhz), predicted))
                if replicas * capacity > 1.5 * float(rates.max()):
                    break
    return iter(sorted(found, key=lambda c: (c.predicted_w, c.setting.variant, c.setting.replicas)))


def hopeless(candidate: Candidate, points: Mapping[str, OperatingPoints], rates: FloatArray) -> bool:
    """Whether demand exceeds capacity by a tenth for over a twentieth of the day: far beyond the 1 % allowed."""
    table = points[candidate.setting.variant]
    index = table.clocks_mhz.index(candidate.setting.clock_mhz)
    capacity = candidate.setting.replicas * float(table.max_rate_rps[index])
    smoothed = np.convolve(rates, np.ones(5) / 5, mode="same")
    return float(np.mean(smoothed > 1.1 * capacity)) > 0.05


def best_static(
    scenario: Scenario, streams: Mapping[ObjectKey, Requests], timing: Timing, gpus: int
) -> Constant:
    """Best single TP, count and clock with hindsight, per pool, together within the GPUs there are."""
    settings = {}
    for pool in scenario.pools:
        points = scenario.true_points(pool)
        rates = minute_rates_rps(streams[pool.key], timing.duration_s)
        candidates = static_candidates(pool, points, rates, gpus)
        plausible = (c for c in candidates if not hopeless(c, points, rates))
        settings[pool.key] = _first_attaining(
            scenario,
            pool,
            streams[pool.key],
            timing,
            (Constant("BestStatic", {pool.key: c.setting}) for c in plausible),
        ).settings[pool.key]
    return Constant("BestStatic", settings)


def single_pool(scenario: Scenario, streams: Mapping[ObjectKey, Requests], timing: Timing) -> Constant:
    """Highest TP at the highest clock, sized for the peak minute."""
    settings = {}
    for pool in scenario.pools:
        variant = max(pool.variants, key=lambda v: v.tensor_parallel_size)
        table = scenario.true_points(pool)[variant.name]
        peak = float(minute_rates_rps(streams[pool.key], timing.duration_s).max())
        replicas = max(1, math.ceil(peak / float(table.max_rate_rps[-1])))
        settings[pool.key] = Setting(variant.name, replicas, table.clocks_mhz[-1])
    return Constant("SinglePool", settings)


def reactive(scenario: Scenario, streams: Mapping[ObjectKey, Requests], timing: Timing) -> Reactive:
    """Reactive scaling with the TP and target rate of least predicted energy that attains, per pool."""
    settings = {}
    for pool in scenario.pools:
        policies = (
            Reactive({pool.key: setting})
            for setting in reactive_candidates(
                scenario, pool, minute_rates_rps(streams[pool.key], timing.duration_s)
            )
        )
        chosen = _first_attaining(scenario, pool, streams[pool.key], timing, policies)
        settings[pool.key] = chosen.settings[pool.key]
    return Reactive(settings)


def reactive_candidates(scenario: Scenario, pool: Pool, rates: FloatArray) -> Iterable[ReactiveSetting]:
    """Every TP and target, cheapest predicted energy first."""
    sampled = np.quantile(rates, np.linspace(0.02, 0.98, 25))
    found = []
    for variant in pool.variants:
        table = scenario.true_points(pool)[variant.name]
        capacity = float(table.max_rate_rps[-1])
        if capacity <= 0.0:
            continue
        for target in REACTIVE_TARGETS:
            replicas = np.maximum(np.ceil(sampled / (target * capacity)), 1.0)
            predicted = _mean_w(table, len(table.clocks_mhz) - 1, sampled, replicas)
            first = math.ceil(float(rates[0]) / (target * capacity))
            setting = ReactiveSetting(variant.name, target * capacity, max(1, first), table.clocks_mhz[-1])
            found.append((predicted, setting))
    return [setting for _, setting in sorted(found, key=lambda f: f[0])]


def _first_attaining(
    scenario: Scenario, pool: Pool, stream: Requests, timing: Timing, policies: Iterable[_P]
) -> _P:
    last: _P | None = None
    for policy in policies:
        last = policy
        if attainment_percent(scenario, pool, stream, timing, policy) >= ATTAINMENT_PERCENT:
            return policy
    if last is None:
        raise ValueError(f"pool {pool.key}: no variant serves this load at any clock")
    return last


def attainment_percent(
    scenario: Scenario, pool: Pool, stream: Requests, timing: Timing, policy: ScalingPolicy
) -> float:
    """Share of one pool's requests within the objective under a policy, the pool having the cluster to itself."""
    figures = Replay(scenario.world([pool]), policy, {pool.key: stream}, timing).run()
    served = figures.pools[pool.key.name][1]
    total = len(served) + served.turned_away
    return 100.0 * float(attained(served, pool.objective).sum()) / max(total, 1)
