"""What starts cost in power, counted from the plans themselves, and how late a plan comes."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.bench.churn import LOADING, Drift, frontier_of, loading_w
from joulery.bench.deadline import overshoot_of
from joulery.bench.suite import Case
from joulery.optimizer.problem import Kind

CASE = Case(12, 2, 12)


def test_a_cost_of_starting_means_fewer_starts_and_no_less_power() -> None:
    found = frontier_of(Drift(CASE, 4, (25.0, 100.0)), seed=1)
    few, fewer = found["25W"], found["100W"]
    assert fewer["startsPerCycle"] <= few["startsPerCycle"] <= few["startsPerCycleAtNoCost"]
    assert fewer["startsPerCycle"] < fewer["startsPerCycleAtNoCost"]
    assert fewer["morePowerPercent"] >= few["morePowerPercent"] >= 0.0


def test_starts_at_no_cost_are_the_same_as_without_one() -> None:
    found = frontier_of(Drift(CASE, 3, (0.0,)), seed=1)["0W"]
    assert found["startsPerCycle"] == found["startsPerCycleAtNoCost"]
    assert found["morePowerPercent"] == found["morePowerWithLoadingPercent"] == 0.0


def test_walking_loads_stay_near_where_they_were_and_within_their_ends() -> None:
    walk = np.stack(list(Drift(CASE, 60, step=0.05).loads(12)))
    assert abs(walk[1:] / walk[:-1] - 1.0).max() <= 0.05 + 1e-12
    assert (walk.min(), walk.max()) == (pytest.approx(0.8), pytest.approx(1.2))


def test_what_loading_costs_is_counted_in_the_power_of_the_boundary() -> None:
    found = frontier_of(Drift(CASE, 4, ()), seed=1)[LOADING]
    assert found["morePowerWithLoadingPercent"] < found["morePowerPercent"]


def test_a_start_draws_the_idle_power_of_its_gpus_for_as_long_as_it_takes() -> None:
    (watts,) = loading_w([Kind("H100-like", 4)]).tolist()
    assert watts == 4 * 75.0 * 120.0 / 300.0


def test_every_plan_of_the_deadline_bench_is_checked() -> None:
    found = overshoot_of(CASE, seeds=2, limits_s=(0.001, 5.0))
    assert found["solves"] == 8
    assert found["plansRefused"] == 0
    assert 0.0 <= found["overshootP50CpuMilliseconds"] <= found["overshootMaxCpuMilliseconds"]
