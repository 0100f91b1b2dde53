"""The policy's solver limit as a deadline over all solves of a plan: a plan always, and the same one if in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from fleets import CHAT, Cluster, demand, policy, poll, pool, variant
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.planner.terms import Terms

CODE = ObjectKey("team", "code")
SIZES = (variant(2), variant(4), variant(8))


def crowded() -> Cluster:
    """Two pools on fewer GPUs than both would like, so that a solver has to be asked."""
    pools = [pool(CHAT, variants=SIZES), pool(CODE, variants=SIZES)]
    return Cluster(pools, nodes=2).run(CHAT, "tp4", 2).run(CODE, "tp4", 2)


def loads(rate_rps: float) -> dict[ObjectKey, Demand]:
    return {key: demand(rate_rps, key=key) for key in (CHAT, CODE)}


def leaping(readings: int) -> Callable[[], float]:
    """A stopwatch at zero for so many readings, an hour later ever after."""
    seconds = itertools.chain(itertools.repeat(0.0, readings), itertools.repeat(3600.0))
    return lambda: next(seconds)


@pytest.mark.parametrize("readings", range(0, 12, 2))
def test_whenever_the_time_is_up_every_pool_has_a_part_of_a_plan(readings: int) -> None:
    plan = poll(crowded(), loads(10.0), History.empty(), stopwatch=leaping(readings)).plan
    assert sorted(part.pool for part in plan.pools) == [CHAT, CODE]
    assert all(part.replicas > 0 for part in plan.pools)


def test_a_plan_out_of_time_says_that_it_is_the_greedy_one() -> None:
    late = poll(crowded(), loads(10.0), History.empty(), stopwatch=leaping(1))
    assert late.plan.status == "Fallback"


def test_with_time_enough_the_plan_is_that_of_no_stopwatch() -> None:
    plain = poll(crowded(), loads(10.0), History.empty())
    timed = poll(crowded(), loads(10.0), History.empty(), stopwatch=lambda: 17.0)
    assert timed.plan == plain.plan
    assert plain.plan.status == "Optimal"


def test_time_runs_over_all_solves_and_each_gets_half_of_what_is_left() -> None:
    now_s = [100.0]
    terms = Terms(0.0, 300.0, 4.0, PlannerSettings(), stopwatch=lambda: now_s[0]).begun()
    first = terms.next_solve()
    now_s[0] = 102.0
    assert first.stopwatch is not None
    assert (first.limit_s, first.stopwatch()) == (2.0, 2.0)
    assert terms.next_solve().limit_s == 1.0
    now_s[0] = 105.0
    assert terms.next_solve().limit_s < 0.0


def test_without_a_stopwatch_each_solve_has_the_limit_of_the_policy() -> None:
    terms = Terms(0.0, 300.0, policy().solver_time_limit_s, PlannerSettings()).begun()
    assert terms.next_solve().limit_s == terms.next_solve().limit_s == policy().solver_time_limit_s
    assert terms.next_solve().stopwatch is None
