"""The joint choice against brute force, and the properties that any optimum has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer.checker import check
from joulery.optimizer.highs import Limits
from joulery.optimizer.milp import Answer, least_cost
from joulery.optimizer.problem import PoolBlock, Problem, Supply, supply_of
from joulery.optimizer.pruning import full_options, serving_options, smallest_options, trading_options
from joulery.optimizer.solution import Choice, Solution, SolveStatus
from joulery.optimizer.solve import solve
from joulery.optimizer.table import cheapest_full, tabulate
from other_process import printed
from problems import (
    A100,
    H100,
    KINDS,
    block,
    brute_force,
    fleet_problem,
    least_extra_gpus,
    lost_by_weight,
    small_problem,
)

solver = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)


def value(problem: Problem, solution: Solution) -> tuple[tuple[float, ...], float]:
    return lost_by_weight(problem, solution.shed), solution.cost_w


def with_supplies(problem: Problem, supplies: tuple[Supply, ...]) -> Problem:
    return Problem(problem.kinds, problem.pools, supplies)


def taken(pool: PoolBlock, order: np.ndarray) -> PoolBlock:
    columns = ("kind", "count", "clock_mhz", "watts", "served", "switch_w")
    return replace(pool, **{name: getattr(pool, name)[order] for name in columns})


@solver
@given(seed=seeds, pools=st.integers(1, 4), gpus=st.integers(4, 32))
def test_it_is_what_brute_force_finds(seed: int, pools: int, gpus: int) -> None:
    problem = small_problem(seed, pools=pools, gpus=gpus)
    solution, (lost, cost_w) = solve(problem), brute_force(problem)
    assert solution.status is SolveStatus.OPTIMAL
    assert lost_by_weight(problem, solution.shed) == pytest.approx(lost, abs=1e-6)
    assert solution.cost_w == pytest.approx(cost_w, rel=1e-6)


@solver
@given(seed=seeds, pools=st.integers(1, 5))
def test_the_bound_is_close_and_never_above_the_cost(seed: int, pools: int) -> None:
    solution = solve(small_problem(seed, pools=pools))
    assert solution.bound_w <= solution.cost_w
    assert solution.bound_w >= solution.cost_w * (1 - 1e-5) - 1e-6


@solver
@given(seed=seeds)
def test_where_supply_does_not_bind_the_separable_choice_is_the_solvers(seed: int) -> None:
    problem = with_supplies(small_problem(seed), (supply_of(H100, [8] * 40), supply_of(A100, [8] * 40)))
    table = tabulate(problem)
    joint = least_cost(table, cheapest_full(table), Limits(5.0, 1e-9))
    assert isinstance(joint, Answer)
    solution = solve(problem)
    assert solution.why == "supply not binding"
    assert solution.bound_w == solution.cost_w
    assert float(table.cost_w[joint.options].sum()) == pytest.approx(solution.cost_w, rel=1e-6)


@solver
@given(seed=seeds, node=st.integers(1, 8))
def test_more_supply_never_costs_service_nor_at_equal_service_watts(seed: int, node: int) -> None:
    problem = small_problem(seed)
    h100, *others = problem.supplies
    more = Supply(H100, tuple((s, n + node // s) for s, n in h100.slots))
    lost, cost_w = value(problem, solve(problem))
    lost_more, cost_more_w = value(problem, solve(with_supplies(problem, (more, *others))))
    lost, lost_more = tuple(np.round(lost, 5)), tuple(np.round(lost_more, 5))
    assert lost_more <= lost
    if lost_more == lost:
        assert cost_more_w <= cost_w * (1 + 2e-6)


@solver
@given(seed=seeds, factor=st.sampled_from([1e-3, 1e3, 1e6]))
def test_watts_kilowatts_and_milliwatts_give_the_same_cost(seed: int, factor: float) -> None:
    problem = small_problem(seed)
    pools = tuple(replace(p, watts=p.watts * factor, switch_w=p.switch_w * factor) for p in problem.pools)
    lost, cost_w = value(problem, solve(problem))
    lost_scaled, cost_scaled = value(problem, solve(Problem(problem.kinds, pools, problem.supplies)))
    assert lost_scaled == pytest.approx(lost, abs=1e-6)
    assert cost_scaled / factor == pytest.approx(cost_w, rel=2e-6)


@solver
@given(seed=seeds, shuffle=st.integers(0, 1000))
def test_the_order_of_pools_does_not_change_the_plan(seed: int, shuffle: int) -> None:
    problem = small_problem(seed, pools=5)
    order = np.random.default_rng(shuffle).permutation(5)
    shuffled = replace(problem, pools=tuple(problem.pools[p] for p in order))
    for engine in ("milp", "fallback"):
        first, second = solve(problem, engine=engine), solve(shuffled, engine=engine)
        assert second.choice.option == tuple(first.choice.option[p] for p in order)
        assert (second.cost_w, second.bound_w) == (first.cost_w, first.bound_w)


@solver
@given(seed=seeds)
def test_duplicate_options_change_nothing_but_indices(seed: int) -> None:
    problem = small_problem(seed)
    doubled = tuple(taken(p, np.repeat(np.arange(len(p)), 2)) for p in problem.pools)
    first, second = solve(problem), solve(Problem(problem.kinds, doubled, problem.supplies))
    assert tuple(o // 2 for o in second.choice.option) == first.choice.option
    assert second.cost_w == first.cost_w


def test_the_same_input_gives_the_same_plan_bit_for_bit() -> None:
    for tightness in (0.7, 0.9, 1.2):
        runs = [solve(fleet_problem(3, 6, tightness)) for _ in range(3)]
        assert runs[0] == runs[1] == runs[2]


def test_another_process_with_another_hash_seed_finds_the_same_plan() -> None:
    code = "from problems import fleet_problem; from joulery.optimizer.solve import solve; "
    code += "print([repr(solve(fleet_problem(3, 6, t))) for t in (0.7, 0.9)])"
    assert printed(code) == str([repr(solve(fleet_problem(3, 6, t))) for t in (0.7, 0.9)])


@pytest.mark.parametrize("tightness", [0.6, 0.8, 0.95, 1.3])
def test_pools_of_real_shape_are_solved_checked_and_never_worse_than_greed(tightness: float) -> None:
    for seed in range(4):
        problem = fleet_problem(seed, 8, tightness)
        best, greedy = solve(problem), solve(problem, engine="fallback")
        assert check(problem, best) == ()
        assert best.status is SolveStatus.OPTIMAL
        lost, greedy_lost = np.round((value(problem, best)[0], value(problem, greedy)[0]), 5).tolist()
        assert (lost, best.cost_w) <= (greedy_lost, greedy.cost_w * (1 + 1e-6))


def test_pruning_leaves_the_solver_a_handful_of_options_per_pool() -> None:
    table = tabulate(fleet_problem(0, 20, 0.8))
    everything = np.arange(len(table.owner))
    assert len(everything) > 20 * 600
    assert len(full_options(table)) < 20 * 10
    assert len(smallest_options(table)) < 20 * 3
    assert len(serving_options(table, everything)) < 20 * 40
    assert len(trading_options(table, everything)) < 20 * 40


def test_equal_costs_take_fewer_gpus_then_the_lower_clock() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 2, 900, 500.0, 1.0, 0.0), (0, 2, 1200, 500.0, 1.0, 0.0)]
    rows += [(2, 1, 900, 500.0, 1.0, 0.0)]
    problem = Problem(KINDS, (block("a", rows),), (supply_of(H100, [8]),))
    assert solve(problem).choice == Choice((1,))


def test_switching_cost_keeps_what_runs_until_the_saving_exceeds_it() -> None:
    rows = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 2, 1200, 600.0, 1.0, 0.0), (1, 1, 1200, 500.0, 1.0, 120.0)]
    supply = (supply_of(H100, [8]),)
    assert solve(Problem(KINDS, (block("a", rows),), supply)).choice == Choice((1,))
    rows[2] = (1, 1, 1200, 500.0, 1.0, 90.0)
    assert solve(Problem(KINDS, (block("a", rows),), supply)).choice == Choice((2,))


def test_the_lowest_weight_is_shed_first_even_when_many_of_it_lose() -> None:
    none, full = (0, 0, 0, 0.0, 0.0, 0.0), (1, 1, 1200, 700.0, 1.0, 0.0)
    big = block("gold", [none, (2, 1, 1200, 3000.0, 1.0, 0.0)], weight=2.0)
    small = tuple(block(f"bronze-{i}", [none, full], weight=1.0) for i in range(2))
    problem = Problem(KINDS, (*small, big), (supply_of(H100, [8]),))
    for engine in ("milp", "fallback"):
        assert solve(problem, engine=engine).shed == (1.0, 1.0, 0.0)


def test_no_nodes_shed_everything_and_name_what_is_missing() -> None:
    problem = with_supplies(small_problem(1), ())
    solution = solve(problem)
    assert solution.status is SolveStatus.OPTIMAL
    assert all(pool.count[o] == 0 for pool, o in zip(problem.pools, solution.choice.option, strict=True))
    assert solution.why.startswith("not enough GPUs")
    assert sum(s.gpus_missing for s in solution.shortage) > 0


def test_a_pool_without_load_is_served_by_nothing() -> None:
    idle = block("idle", [(0, 0, 0, 0.0, 1.0, 0.0), (0, 1, 1200, 200.0, 1.0, 0.0)])
    solution = solve(Problem(KINDS, (idle,), (supply_of(H100, [8]),)))
    assert (solution.choice, solution.shed, solution.shortage) == (Choice((0,)), (0.0,), ())


def test_a_pool_that_no_option_serves_does_not_stop_the_others_nor_count_as_short() -> None:
    lost = block("lost", [(0, 0, 0, 0.0, 0.0, 0.0)])
    partly = block("partly", [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1980, 900.0, 0.6, 0.0)])
    fine = block("fine", [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 1200, 700.0, 1.0, 0.0)])
    solution = solve(Problem(KINDS, (lost, partly, fine), (supply_of(H100, [8]),)))
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.shed == pytest.approx((1.0, 0.4, 0.0))
    assert solution.shortage == ()


@solver
@given(seed=seeds)
def test_the_shortage_is_the_least_that_would_be_enough(seed: int) -> None:
    problem = small_problem(seed, gpus=4)
    missing = sum(s.gpus_missing for s in solve(problem).shortage)
    assert missing == least_extra_gpus(problem, most=80)


@solver
@given(seed=seeds)
def test_the_greedy_shortage_is_never_too_small(seed: int) -> None:
    problem = small_problem(seed, gpus=4)
    at_most = sum(s.gpus_missing for s in solve(problem, engine="fallback").shortage)
    assert at_most >= least_extra_gpus(problem, most=80)
