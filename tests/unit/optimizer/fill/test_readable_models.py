"""The readable models of lanes that fill, held against the arrays and the prices."""

from __future__ import annotations

from dataclasses import replace

import pytest

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.solution import SolveStatus

CASE = Case(3, 2, 4, tightness=0.7)
# Enough on a machine that does much else.
LIMIT_S = 120.0


def small(seed: int) -> LaneProblem:
    """Three lanes whose load supply carries."""
    return fill(drawn(CASE, seed))


SERVED = [seed for seed in range(12) if not any(solve_lanes(small(seed)).shed)][:6]


@pytest.mark.parametrize("seed", SERVED)
def test_the_exact_model_is_what_arrays_and_prices_find(seed: int) -> None:
    problem = small(seed)
    readable = solve_lanes(problem, engine="milp", time_limit_s=LIMIT_S)
    assert check_lanes(problem, readable) == ()
    assert readable.status is SolveStatus.OPTIMAL
    for engine in ("textbook-partial", "columns"):
        found = solve_lanes(problem, engine=engine, time_limit_s=LIMIT_S)
        assert found.cost_w == pytest.approx(readable.cost_w, rel=1e-4)


@pytest.mark.parametrize("seed", SERVED)
def test_clocks_that_mix_bound_the_exact_model_and_their_counts_make_a_plan(seed: int) -> None:
    problem = small(seed)
    exact = solve_lanes(problem, engine="milp", time_limit_s=LIMIT_S)
    mixed = solve_lanes(problem, engine="milp-aggregated", time_limit_s=LIMIT_S)
    assert check_lanes(problem, mixed) == ()
    assert mixed.bound_w <= exact.cost_w * (1.0 + 1e-6)
    assert exact.cost_w <= mixed.cost_w * (1.0 + 1e-6)


@pytest.mark.parametrize("engine", ["milp", "milp-aggregated"])
def test_what_it_does_not_know_or_cannot_serve_is_refused_in_words(engine: str) -> None:
    problem = small(SERVED[0])
    ruled = replace(problem, lanes=tuple(replace(lane, fewest=3) for lane in problem.lanes))
    assert "ask textbook" in solve_lanes(ruled, engine=engine).why
    scarce = fill(drawn(replace(CASE, tightness=3.0), SERVED[0]))
    assert "no plan serves every pool fully" in solve_lanes(scarce, engine=engine).why
