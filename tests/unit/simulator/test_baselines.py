"""Baselines scale as their real models do, and are tuned to their own least energy."""

from __future__ import annotations

import numpy as np

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet, PoolState, VariantState
from joulery.simulator.baselines import Constant, Reactive, ReactiveSetting, Setting
from joulery.simulator.replay import Timing
from joulery.simulator.scenario import Scenario
from joulery.simulator.traces import NS_PER_S, Requests
from joulery.simulator.truth import shipped_profile
from joulery.simulator.tuning import (
    attainment_percent,
    best_static,
    hopeless,
    minute_rates_rps,
    reactive_candidates,
    static_candidates,
)

PROFILE = shipped_profile()
SCENARIO = Scenario(PROFILE, PROFILE, 60.0, seed=0)
CHAT = SCENARIO.pools[0]


def fleet(now_s: float, replicas: int) -> Fleet:
    states = tuple(VariantState(v.name, replicas if v.name == "tp2" else 0) for v in CHAT.variants)
    return Fleet(now_s, (PoolState(CHAT, states),), ())


def policy() -> Reactive:
    return Reactive({CHAT.key: ReactiveSetting("tp2", 4.0, 1, 1980)}, stabilization_s=300.0)


def want(scaling: Reactive, now_s: float, replicas: int, rate: float) -> int:
    actions = scaling.step(fleet(now_s, replicas), {CHAT.key: Demand(CHAT.key, now_s, requests_per_s=rate)})
    return actions.changes[0].want if actions.changes else replicas


def test_reactive_scaling_goes_up_at_once() -> None:
    assert want(policy(), 0.0, 1, 13.0) == 4


def test_reactive_scaling_goes_down_to_the_highest_wish_of_the_last_five_minutes() -> None:
    scaling = policy()
    assert want(scaling, 0.0, 1, 13.0) == 4
    assert want(scaling, 100.0, 4, 9.0) == 4
    assert want(scaling, 310.0, 4, 2.0) == 3
    assert want(scaling, 500.0, 3, 2.0) == 1


def test_static_candidates_come_cheapest_first_and_carry_the_mean() -> None:
    points = SCENARIO.true_points(CHAT)
    rates = np.full(60, 10.0)
    found = list(static_candidates(CHAT, points, rates, gpus=48))
    watts = [c.predicted_w for c in found]
    assert watts == sorted(watts)
    for candidate in found:
        table = points[candidate.setting.variant]
        capacity = table.rate_at(table.clocks_mhz.index(candidate.setting.clock_mhz))
        assert candidate.setting.replicas * capacity >= 10.0


def test_reactive_candidates_name_every_size_and_target() -> None:
    found = list(reactive_candidates(SCENARIO, CHAT, np.full(60, 10.0)))
    assert {c.variant for c in found} == {v.name for v in CHAT.variants}
    assert all(c.clock_mhz == 1980 for c in found)


def test_best_static_attains_and_nothing_cheaper_by_prediction_does() -> None:
    seconds = 900
    arrivals = np.sort(np.random.default_rng(3).integers(0, seconds * NS_PER_S, 9 * seconds))
    lengths = np.random.default_rng(4)
    stream = Requests(
        arrivals, lengths.integers(200, 2000, len(arrivals)), lengths.integers(20, 400, len(arrivals))
    )
    streams = {pool.key: stream for pool in SCENARIO.pools}
    timing = Timing(duration_s=float(seconds))
    chosen = best_static(SCENARIO, streams, timing, gpus=48).settings[CHAT.key]
    points = SCENARIO.true_points(CHAT)
    rates = minute_rates_rps(stream, float(seconds))
    tried = [c for c in static_candidates(CHAT, points, rates, 48) if not hopeless(c, points, rates)]
    cheaper = [c.setting for c in tried[: [c.setting for c in tried].index(chosen)]]

    def attained(setting: Setting) -> float:
        return attainment_percent(SCENARIO, CHAT, stream, timing, Constant("It", {CHAT.key: setting}))

    assert attained(chosen) >= 99.0
    assert all(attained(setting) < 99.0 for setting in cheaper)
