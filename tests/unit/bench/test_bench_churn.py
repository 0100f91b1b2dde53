"""What starts cost in power, counted from the plans themselves, and how late a plan comes."""

from __future__ import annotations

from joulery.bench.churn import Drift, churn_of
from joulery.bench.deadline import overshoot_of
from joulery.bench.suite import Case

CASE = Case(12, 2, 12)


def test_a_cost_of_starting_means_fewer_starts_and_no_less_power() -> None:
    found = churn_of(Drift(CASE, 4, start_w=100.0), seed=1)
    assert found["startsPerCycle"] < found["startsPerCycleAtNoCost"]
    assert found["morePowerPercent"] >= 0.0


def test_starts_at_no_cost_are_the_same_as_without_one() -> None:
    found = churn_of(Drift(CASE, 3, start_w=0.0), seed=1)
    assert found["startsPerCycle"] == found["startsPerCycleAtNoCost"]
    assert found["morePowerPercent"] == 0.0


def test_every_plan_of_the_deadline_bench_is_checked() -> None:
    found = overshoot_of(CASE, seeds=2, limits_s=(0.001, 5.0))
    assert found["solves"] == 8
    assert found["plansRefused"] == 0
    assert 0.0 <= found["overshootP50CpuMilliseconds"] <= found["overshootMaxCpuMilliseconds"]
