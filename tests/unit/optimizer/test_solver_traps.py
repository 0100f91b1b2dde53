"""Ways in which HiGHS returns something else than what was asked, held off where models are arrays.

`test_solver_distrust` does the same for cvxpy; numbers of traps are those of the notes on the solver.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest

from joulery.bench.forms import equal, fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.checker import check
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.milp import LARGE_GAP, SMALL_GAP, gap_for
from joulery.optimizer.problem import Problem, supply_of
from joulery.optimizer.solution import SolveStatus
from joulery.optimizer.solve import ENGINES, solve
from other_process import printed
from problems import fleet_problem, solution_of

ROOT = Path(__file__).resolve().parents[3]
TIGHT = Case(9, 2, 12)


def tight(factor: float = 1.0) -> Problem:
    """Nine pools that GPUs bind, watts in another unit."""
    problem = equal(drawn(TIGHT, 0))
    return replace(problem, pools=tuple(replace(p, watts=p.watts * factor) for p in problem.pools))


def short() -> Problem:
    """The same with too few GPUs."""
    problem = tight()
    return replace(problem, supplies=tuple(supply_of(s.accelerator, [8] * 3) for s in problem.supplies))


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e3, 1e6])
def test_numbers_in_every_model_are_near_one_whatever_the_unit_of_watts(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Trap 1: in milliwatts HiGHS called 3.9 % above the optimum optimal."""
    seen: list[np.ndarray] = []
    pass_model, add_columns = highspy.Highs.passModel, highspy.Highs.addCols

    def passed(highs: highspy.Highs, model: highspy.HighsLp) -> object:
        seen.append(np.concatenate([np.array(model.a_matrix_.value_), np.array(model.col_cost_)]))
        return pass_model(highs, model)

    def added(highs: highspy.Highs, number: int, cost: np.ndarray, *others: np.ndarray) -> object:
        seen.append(np.concatenate([cost, others[-1]]))
        return add_columns(highs, number, cost, *others)

    monkeypatch.setattr(highspy.Highs, "passModel", passed)
    monkeypatch.setattr(highspy.Highs, "addCols", added)
    assert solve(tight(factor)).status is SolveStatus.OPTIMAL
    lanes = fill(drawn(TIGHT, 0))
    scaled = (replace(n, idle_w=n.idle_w * factor, full_w=n.full_w * factor) for n in lanes.lanes)
    assert solve_lanes(replace(lanes, lanes=tuple(scaled))).is_plan
    numbers = np.abs(np.concatenate(seen))
    assert len(seen) > 6
    assert numbers[numbers > 0.0].min() >= 1e-3
    assert numbers.max() <= 1e3


STATUSES = [
    highspy.HighsModelStatus.kMemoryLimit,
    highspy.HighsModelStatus.kInterrupt,
    highspy.HighsModelStatus.kSolutionLimit,
    highspy.HighsModelStatus.kSolveError,
    highspy.HighsModelStatus.kNotset,
    highspy.HighsModelStatus.kUnbounded,
]


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.name)
@pytest.mark.parametrize("problem", [tight, short])
def test_no_other_end_than_optimal_or_the_time_limit_is_believed(
    monkeypatch: pytest.MonkeyPatch, status: highspy.HighsModelStatus, problem: Callable[[], Problem]
) -> None:
    """Traps 6 and 9: such runs come with a point, and sometimes with an objective of 0."""
    monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _: status)
    solution = solve(problem())
    assert solution.status is SolveStatus.FALLBACK
    assert check(problem(), solution) == ()


def test_a_point_that_is_not_called_feasible_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 2, without cvxpy: `optimal` and no primal point."""
    real = highspy.Highs.getInfo

    def without_point(highs: highspy.Highs) -> object:
        info = real(highs)
        info.primal_solution_status = 0
        return info

    monkeypatch.setattr(highspy.Highs, "getInfo", without_point)
    assert solve(tight()).status is SolveStatus.FALLBACK


def test_arrays_get_no_start_one_thread_and_highss_own_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traps 3, 6 and 8."""
    options: list[tuple[str, object]] = []
    real = highspy.Highs.setOptionValue
    monkeypatch.setattr(
        highspy.Highs,
        "setOptionValue",
        lambda highs, name, value: (options.append((name, value)), real(highs, name, value))[1],
    )
    monkeypatch.setattr(highspy.Highs, "setSolution", lambda *_: pytest.fail("a start"))
    for problem in (tight(), short()):
        assert solve(problem).status is SolveStatus.OPTIMAL
    assert solve_lanes(fill(drawn(TIGHT, 0))).is_plan
    assert {value for name, value in options if name == "threads"} == {1}
    assert "random_seed" not in {name for name, _ in options}


def test_nothing_that_brings_a_second_highs_into_the_process_is_required() -> None:
    """Trap 4: ortools ships its own, and whichever is loaded second fails."""
    files = [ROOT / "pyproject.toml", *sorted((ROOT / "requirements").glob("*.txt"))]
    assert len(files) > 2
    for file in files:
        assert not re.search(r"^\W*(ortools|highsbox)\b", file.read_text(), re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("problem", [tight, short])
def test_the_cost_told_is_that_of_the_plan_and_not_the_solvers_objective(
    engine: str, problem: Callable[[], Problem]
) -> None:
    """Trap 5: objectives are relaxations, in units of their own."""
    solution = solve(problem(), engine=engine)
    assert solution.cost_w == solution_of(problem(), solution.choice.option).cost_w
    assert solution.bound_w <= solution.cost_w


def test_planning_by_prices_never_loads_cvxpy() -> None:
    """Trap 10: half a second and 70 MB; nor does it where somebody sheds."""
    code = (
        "import sys; from problems import fleet_problem; from joulery.optimizer.solve import solve; "
        "print([solve(fleet_problem(1, 10, t)).status.value for t in (0.6, 0.9)], 'cvxpy' in sys.modules)"
    )
    assert printed(code) == "['Optimal', 'Optimal'] False"


def test_a_gap_far_below_the_error_of_profiles_is_asked_for_only_of_few_pools() -> None:
    """Trap 11: beyond that, proving the last ten-thousandth takes most of the time."""
    assert [gap_for(pools) for pools in (1, 30, 31, 5000)] == [SMALL_GAP, SMALL_GAP, LARGE_GAP, LARGE_GAP]
    assert LARGE_GAP >= 1e-4


def test_plans_that_are_compared_bit_for_bit_end_by_gap_and_not_by_time() -> None:
    """Trap 12: a time limit ends elsewhere in every run."""
    for problem in (tight(), short(), fleet_problem(3, 6, 0.7), fleet_problem(2, 100, 0.85)):
        assert solve(problem).status is SolveStatus.OPTIMAL
