"""What starts cost in power, counted from the plans themselves."""

from __future__ import annotations

from joulery.bench.churn import Drift, churn_of
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
