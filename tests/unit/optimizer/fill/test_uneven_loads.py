"""Fleets of which a few lanes are most of the load: plans near their bounds, which hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from joulery.bench.forms import fill, mixed
from joulery.bench.suite import Case, Fleet, drawn
from joulery.optimizer.fill import gap
from joulery.optimizer.fill.aggregate import most_served
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import effort_for, find_prices
from joulery.optimizer.fill.finish import Finished
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.pricing import priced, proven
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.fill.whole import Chosen
from joulery.optimizer.solution import SolveStatus

SPREAD = 1.8
# Seeds at which GPUs serve all.
SERVED = (0, 1, 2, 3, 5, 6, 7, 10, 11, 12)
GAP = 1e-5


def at_best(problem: LaneProblem) -> tuple[gap.AtBest, Finished]:
    """What is known at the best prices, and a plan that serves all for whatever it costs."""
    table = lay_out(problem)
    effort = replace(effort_for(table), gap=GAP)
    result = find_prices(table, effort, None)
    service = most_served(table, 120.0)
    assert result is not None
    assert service is not None
    near, value = priced(table, result.prices, effort.cells)
    near, value = proven(table, result.prices, near, value, GAP)
    poor = settled(table, service)
    assert poor is not None
    bound = table.lower_bound(value, result.prices)
    found = Finished(Chosen(poor, table.plan_cost(poor)), bound)
    return gap.AtBest(table, result, value, near, GAP), found


@pytest.mark.parametrize(
    ("pools", "seed", "form"),
    [(9, 1, fill), (20, 5, fill), (20, 10, fill), (40, 10, fill), (100, 13, fill), (40, 10, mixed)],
)
def test_plans_end_near_their_bounds(pools: int, seed: int, form: Callable[[Fleet], LaneProblem]) -> None:
    """Seeds at which choices among configurations of prices alone end 1.4 to 7.7 % above them."""
    problem = form(drawn(Case(pools, 4, 12, load_spread=SPREAD), seed))
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    assert plan.bound_w <= plan.cost_w <= 1.01 * plan.bound_w


@pytest.mark.parametrize("large", [4, 8])
@pytest.mark.parametrize("seed", SERVED)
def test_a_poor_plan_is_closed_to_the_best_and_what_is_proven_holds(
    seed: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes counted from five and nine instances on, beside choices of the others; clocks are few and far apart."""
    monkeypatch.setattr(gap, "LARGE", large)
    problem = fill(drawn(Case(5, 2, 4, load_spread=SPREAD), seed))
    best, poor = at_best(problem)
    found = gap.closed(best, poor, Deadline(120.0))
    full = solve_lanes(problem, engine="textbook", time_limit_s=300.0)
    assert full.status is SolveStatus.OPTIMAL
    assert not any(full.shed)
    assert found.chosen is not None
    unit_w = best.table.unit_w
    assert poor.bound <= found.bound <= full.cost_w / unit_w * (1 + 1e-9)
    assert full.cost_w / unit_w * (1 - 1e-9) <= found.chosen.cost <= full.cost_w / unit_w * 1.01


def test_at_a_wider_spread_few_lanes_are_most_of_the_load() -> None:
    def share(spread: float) -> float:
        loads = [1.0 / lane.capacity.max() for lane in drawn(Case(200, 1, 2, load_spread=spread), 3).lanes]
        return float(np.sort(loads)[-20:].sum() / np.sum(loads))

    assert share(1.0) < 0.5 < 0.6 < share(SPREAD)
