"""The engine that prices GPUs against the full model, and the properties that any optimum has."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.optimizer import arrays, columns, lp
from joulery.optimizer.arrays import array_shortage, array_stage
from joulery.optimizer.checker import check
from joulery.optimizer.columns import cheapest_by_prices
from joulery.optimizer.fallback import greedy, is_better
from joulery.optimizer.highs import Limits, NoAnswer
from joulery.optimizer.milp import Answer, gap_for, least_cost
from joulery.optimizer.packing import binding_rows, packing_rows
from joulery.optimizer.problem import Ints, Problem, supply_of
from joulery.optimizer.shortage import least_shortage
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import solve
from joulery.optimizer.table import OptionTable, cheapest_full, tabulate
from problems import A100, H100, KINDS, Row, block, fleet_problem, lost_by_weight, small_problem

solver = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)
NO_HURRY = Limits(5.0, 1e-9)


@solver
@given(seed=seeds, pools=st.integers(1, 9), gpus=st.integers(8, 60))
def test_it_finds_what_the_full_model_finds(seed: int, pools: int, gpus: int) -> None:
    problem = small_problem(seed, pools=pools, gpus=gpus)
    prices, full = solve(problem, engine="columns"), solve(problem, engine="milp")
    assert check(problem, prices) == ()
    assert prices.status is SolveStatus.OPTIMAL
    assert lost_by_weight(problem, prices.shed) == pytest.approx(lost_by_weight(problem, full.shed), abs=1e-6)
    assert prices.cost_w == pytest.approx(full.cost_w, rel=2e-6)


@solver
@given(seed=seeds, pools=st.integers(1, 9), gpus=st.integers(4, 60))
def test_it_serves_everybody_exactly_where_that_is_possible(seed: int, pools: int, gpus: int) -> None:
    table = tabulate(small_problem(seed, pools=pools, gpus=gpus))
    alone = least_cost(table, cheapest_full(table), NO_HURRY)
    serves_all = isinstance(alone, Answer) and bool(table.full[alone.options].all())
    found = cheapest_by_prices(table, NO_HURRY, 1e-6)
    assert isinstance(found, Answer) == serves_all


@pytest.mark.parametrize("seed", range(40))
def test_nine_pools_cost_what_the_full_model_says_to_a_millionth(seed: int) -> None:
    problem = fleet_problem(seed, 9, 0.75 + 0.01 * (seed % 20), clocks=12)
    prices, full = solve(problem, engine="columns"), solve(problem, engine="milp")
    assert prices.cost_w == pytest.approx(full.cost_w, rel=2e-6)
    assert prices.bound_w <= prices.cost_w
    assert prices.bound_w <= full.cost_w * (1 + 1e-9)
    assert check(problem, prices) == ()


@pytest.mark.parametrize("tightness", [0.75, 0.85, 0.95])
def test_a_hundred_pools_are_within_the_stated_gap(tightness: float) -> None:
    problem = fleet_problem(2, 100, tightness)
    solution = solve(problem, engine="columns")
    assert check(problem, solution) == ()
    assert solution.engine == "columns"
    assert solution.bound_w >= solution.cost_w * (1 - gap_for(100))


@solver
@given(seed=seeds, shuffle=st.integers(0, 1000))
def test_neither_order_of_pools_nor_repetition_changes_the_plan(seed: int, shuffle: int) -> None:
    problem = fleet_problem(seed, 6, 0.85, clocks=6, counts=6)
    order = np.random.default_rng(shuffle).permutation(6)
    shuffled = replace(problem, pools=tuple(problem.pools[p] for p in order))
    first, second = solve(problem, engine="columns"), solve(shuffled, engine="columns")
    assert second.choice.option == tuple(first.choice.option[p] for p in order)
    assert (second.cost_w, second.bound_w) == (first.cost_w, first.bound_w)
    assert solve(problem, engine="columns") == first


@solver
@given(seed=seeds, factor=st.sampled_from([1e-3, 1e3, 1e6]))
def test_the_unit_of_watts_does_not_matter(seed: int, factor: float) -> None:
    problem = fleet_problem(seed, 5, 0.85, clocks=6, counts=6)
    pools = tuple(replace(p, watts=p.watts * factor, switch_w=p.switch_w * factor) for p in problem.pools)
    scaled = solve(Problem(problem.kinds, pools, problem.supplies), engine="columns")
    assert scaled.cost_w / factor == pytest.approx(solve(problem, engine="columns").cost_w, rel=2e-6)


def test_a_run_that_ends_in_an_error_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp.highspy.Highs, "run", lambda _: highspy.HighsStatus.kError)
    found = cheapest_by_prices(tabulate(fleet_problem(1, 10, 0.8)), NO_HURRY, 1e-6)
    assert isinstance(found, NoAnswer)
    assert "no optimum of the master" in found.why


def test_without_supply_it_says_that_not_everybody_can_be_served() -> None:
    found = cheapest_by_prices(tabulate(replace(fleet_problem(1, 10), supplies=())), NO_HURRY, 1e-6)
    assert isinstance(found, NoAnswer)
    assert found.is_infeasible


def test_what_costs_more_than_a_missing_gpu_is_not_called_impossible() -> None:
    """Beside 99 cheap pools the last one's saving exceeds what the master asks for a GPU that is not there."""
    cheap = [block(f"a{p:02d}", [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 900, 1.0, 1.0, 0.0)]) for p in range(99)]
    dear = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 1, 900, 1e6, 1.0, 0.0), (0, 2, 900, 1.0, 1.0, 0.0)]
    problem = Problem(KINDS[:1], (*cheap, block("z", dear)), (supply_of(H100, [8] * 25),))
    assert solve(problem).shed == (0.0,) * 100
    found = cheapest_by_prices(tabulate(problem), NO_HURRY, 1e-6)
    assert isinstance(found, Answer) or not found.is_infeasible


def test_a_whole_plan_that_no_choice_gives_is_called_impossible_and_full_service_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of each pool would fit, and no two whole ones."""
    rows: list[Row] = [(0, 0, 0, 0.0, 0.0, 0.0), (0, 3, 900, 5.0, 1.0, 0.0), (3, 3, 900, 6.0, 1.0, 0.0)]
    supplies = (supply_of(H100, [6, 2, 2]), supply_of(A100, [8, 4, 4]))
    problem = Problem(KINDS, tuple(block(key, rows) for key in "abc"), supplies)
    found = cheapest_by_prices(tabulate(problem), NO_HURRY, 1e-6)
    assert isinstance(found, NoAnswer)
    assert found.is_infeasible
    stages: list[int] = []

    def counted(table: OptionTable, options: Ints, *others: object) -> Answer | NoAnswer:
        stages.append(len(options))
        return array_stage(table, options, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(arrays, "array_stage", counted)
    assert sum(solve(problem).shed) == 1.0
    assert len(stages) == 2


@pytest.mark.parametrize("tightness", [0.6, 0.75, 0.95])
def test_prices_of_a_sample_only_shorten_the_way_to_the_plan(
    monkeypatch: pytest.MonkeyPatch, tightness: float
) -> None:
    problem = fleet_problem(4, 60, tightness, clocks=6, counts=6)
    asked: list[int] = []
    real = columns._Block.sampled
    plain = solve(problem)
    monkeypatch.setattr(columns, "MANY_POOLS", 50)
    monkeypatch.setattr(columns._Block, "sampled", lambda *a: (asked.append(a[1]), real(*a))[1])
    sampled = solve(problem)
    assert asked == [columns.SAMPLED_EVERY]
    assert check(problem, sampled) == ()
    assert (sampled.status, sum(sampled.shed)) == (plain.status, pytest.approx(sum(plain.shed), abs=1e-5))
    assert sampled.cost_w == pytest.approx(plain.cost_w, rel=1.1 * gap_for(60))
    order = np.random.default_rng(1).permutation(60)
    shuffled = solve(replace(problem, pools=tuple(problem.pools[p] for p in order)))
    assert shuffled.choice.option == tuple(sampled.choice.option[p] for p in order)


@pytest.mark.parametrize("pools", [3, 31])
def test_unless_asked_otherwise_gpus_are_priced(pools: int) -> None:
    assert solve(fleet_problem(0, pools, 0.85, clocks=6)).engine == "columns"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_stages_as_arrays_shed_and_cost_what_the_readable_ones_do(seed: int) -> None:
    table = tabulate(small_problem(seed, pools=4))
    spare = greedy(table)
    read = least_cost(table, spare, NO_HURRY)
    priced = least_cost(table, spare, NO_HURRY, array_stage)
    assert isinstance(read, Answer)
    assert isinstance(priced, Answer)
    assert not is_better(table, read.options, priced.options)
    assert not is_better(table, priced.options, read.options)
    assert priced.bound == pytest.approx(read.bound, rel=1e-6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_shortage_as_arrays_is_that_of_the_readable_form(seed: int) -> None:
    table = tabulate(small_problem(seed, pools=4, gpus=4))
    read, priced = least_shortage(table, NO_HURRY), array_shortage(table, NO_HURRY)
    assert isinstance(read, tuple)
    assert isinstance(priced, tuple)
    assert sum(s.gpus_missing for s in read) == sum(s.gpus_missing for s in priced)


def test_no_stage_is_begun_after_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lp.highspy.Highs, "run", lambda _: pytest.fail("HiGHS was asked"))
    table = tabulate(small_problem(1, gpus=4))
    late = Limits(1.0, 1e-6, lambda: 2.0, until_s=1.0)
    for found in (
        least_cost(table, greedy(table), late, array_stage),
        array_shortage(table, late.after(0.0)),
    ):
        assert isinstance(found, NoAnswer)


def test_rows_that_another_implies_are_left_out_and_change_no_plan() -> None:
    whole, parted = supply_of(H100, [8, 8, 8]), supply_of(H100, [8, 6, 3])
    assert binding_rows(packing_rows(KINDS[:3], (whole,))).size.tolist() == [2]
    assert binding_rows(packing_rows(KINDS[:3], (parted,))).size.tolist() == [2, 4, 8]
