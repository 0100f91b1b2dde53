"""The optimizer's door: one problem in, one checked solution out, never an exception."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from joulery.optimizer.checker import check
from joulery.optimizer.fallback import greedy, is_better, safe_bound_w, sheds
from joulery.optimizer.faults import faults_of
from joulery.optimizer.highs import Limits, NoAnswer
from joulery.optimizer.milp import Answer, gap_for, least_cost
from joulery.optimizer.problem import Ints, Problem
from joulery.optimizer.shortage import greedy_shortage, least_shortage, power_missing_w
from joulery.optimizer.solution import Choice, Shortage, Solution, SolveStatus
from joulery.optimizer.starts import within_starts
from joulery.optimizer.table import OptionTable, cheapest_full, in_problem_order, in_table_order, tabulate

MILP = "milp"
COLUMNS = "columns"
FALLBACK = "fallback"
AUTO = "auto"
ENGINES = (AUTO, MILP, COLUMNS, FALLBACK)


def solve(
    problem: Problem,
    *,
    engine: str = AUTO,
    time_limit_s: float = 5.0,
    previous: Choice | None = None,
    stopwatch: Callable[[], float] | None = None,
) -> Solution:
    """Least shed by strict priority of weights, then least watts plus switching cost, within supply.

    Where each pool's cheapest full option fits beside all others, that is the optimum and no solver is asked.
    Otherwise a greedy plan is made first and HiGHS, within `time_limit_s` of its own clock, has to beat it.
    The same problem gives the same plan, whatever the order of its pools, as long as no time limit is met.

    Args:
        engine: `auto` or `columns`, which prices GPUs and sheds by the stages of `milp`; `milp`, the readable
            form, which needs a second to load; or `fallback` for the greedy plan alone.
        time_limit_s: seconds for HiGHS, over all its stages.
        stopwatch: seconds since the caller began; the limit then counts on it, over everything that is done.
        previous: the plan that runs, as options of this problem; only the greedy engine keeps to it.
    """
    if engine not in ENGINES:
        return _refused(f"unknown engine {engine!r}; one of {', '.join(ENGINES)}", engine)
    if engine == AUTO:
        engine = COLUMNS
    faults = faults_of(problem)
    if faults:
        return _refused("; ".join(faults), engine)
    if not problem.pools:
        return Solution(Choice(()), 0.0, 0.0, (), SolveStatus.OPTIMAL, "no pools", engine)

    def solved(part: Problem) -> Solution:
        return _solved(part, engine, _limits(part, time_limit_s, stopwatch), previous)

    return within_starts(problem, solved)


def _limits(problem: Problem, time_limit_s: float, stopwatch: Callable[[], float] | None) -> Limits:
    """Limits of a solve that begins now."""
    gap = gap_for(len(problem.pools))
    if stopwatch is None:
        return Limits(time_limit_s, gap, until_s=time_limit_s)
    start_s = stopwatch()
    left_s = time_limit_s - start_s
    return Limits(left_s, gap, lambda: stopwatch() - start_s, until_s=left_s)


def _solved(problem: Problem, engine: str, limits: Limits, previous: Choice | None) -> Solution:
    table = tabulate(problem)
    if engine == FALLBACK:
        return _by_greed(table, _greedy(table, previous), "asked for")
    return _separable(table, engine) or _joint(table, engine, previous, limits)


def _separable(table: OptionTable, engine: str) -> Solution | None:
    """Each pool's own optimum, which is everybody's if they fit together."""
    alone = cheapest_full(table)
    if not table.rows.fit(table.total_use(alone)) or table.node_w(alone) > 0.0:
        return None
    solution = _solution(table, alone, math.inf, SolveStatus.OPTIMAL, why="supply not binding", engine=engine)
    return None if check(table.problem, solution) else solution


def _joint(table: OptionTable, engine: str, previous: Choice | None, limits: Limits) -> Solution:
    spare = _greedy(table, previous)
    limits = limits.reserving()
    answer = _asked(table, spare, limits, engine)
    if isinstance(answer, NoAnswer):
        return _by_greed(table, spare, answer.why)
    status = SolveStatus.OPTIMAL if answer.is_proven else SolveStatus.FEASIBLE
    why = "supply binding" if answer.is_proven else "HiGHS reached its time limit"
    # Unproven shed means that another plan may shed as little: then only the pool-by-pool bound is safe.
    bound_w = answer.bound if answer.is_proven else min(answer.bound, safe_bound_w(table, answer.options))
    solution = _solution(table, answer.options, bound_w, status, why=why, engine=engine)
    wrong = check(table.problem, solution)
    if wrong:
        return _by_greed(table, spare, f"the checker refused the plan of HiGHS: {'; '.join(wrong)}")
    if is_better(table, spare, answer.options):
        return _by_greed(table, spare, f"better than HiGHS's plan, which is {status.lower()}")
    if not sheds(table, answer.options):
        return solution
    left = limits.after(answer.spent_s)
    missing_w = power_missing_w(table)
    short = _shortage(table, left, answer.options, engine)
    return replace(
        solution, why=f"{_short_of(short, missing_w)}; {why}", shortage=short, power_missing_w=missing_w
    )


def _short_of(shortage: tuple[Shortage, ...], missing_w: float) -> str:
    if not missing_w:
        return "not enough GPUs"
    budget = f"power budget too small by {missing_w:.0f} W at least"
    return f"not enough GPUs, {budget}" if shortage else budget


def _asked(table: OptionTable, spare: Ints, limits: Limits, engine: str) -> Answer | NoAnswer:
    """HiGHS's answer; whatever a solver throws becomes a reason, for a plan must come out of every cycle."""
    if limits.is_over:
        return NoAnswer(f"no time for HiGHS: limit {limits.time_limit_s} s")
    try:
        return least_cost(table, spare, limits) if engine == MILP else _priced(table, spare, limits)
    except Exception as error:  # solvers raise their own, ValueError, MemoryError, ImportError
        return NoAnswer(f"HiGHS failed: {type(error).__name__}: {error}")


def _priced(table: OptionTable, spare: Ints, limits: Limits) -> Answer | NoAnswer:
    """By prices; where they find no whole plan at full service, by the full model as arrays."""
    from joulery.optimizer.arrays import array_stage  # loads HiGHS
    from joulery.optimizer.columns import cheapest_by_prices

    answer = cheapest_by_prices(table, limits, gap_for(len(table.start)))
    if isinstance(answer, Answer):
        return answer
    left = limits.after(answer.spent_s)
    if left.is_over:
        return answer
    return least_cost(table, spare, left, array_stage, must_shed=answer.is_infeasible)


def _shortage(table: OptionTable, limits: Limits, chosen: Ints, engine: str) -> tuple[Shortage, ...]:
    try:
        from joulery.optimizer.arrays import array_shortage

        exact = (least_shortage if engine == MILP else array_shortage)(table, limits)
    except Exception:  # the same solver failing a second time; the greedy figure says `at most`
        return greedy_shortage(table, chosen)
    return greedy_shortage(table, chosen) if isinstance(exact, NoAnswer) else exact


def _greedy(table: OptionTable, previous: Choice | None) -> Ints:
    return greedy(table, None if previous is None else in_table_order(table, previous.option))


def _by_greed(table: OptionTable, options: Ints, why: str) -> Solution:
    bound_w = safe_bound_w(table, options)
    is_short = sheds(table, options)
    short = greedy_shortage(table, options) if is_short else ()
    missing_w = power_missing_w(table) if is_short else 0.0
    why = f"{_short_of(short, missing_w)}; {why}" if missing_w else why
    solution = _solution(table, options, bound_w, SolveStatus.FALLBACK, why=why, engine=FALLBACK)
    return replace(solution, shortage=short, power_missing_w=missing_w)


def _solution(
    table: OptionTable, options: Ints, bound_w: float, status: SolveStatus, *, why: str, engine: str
) -> Solution:
    choice = in_problem_order(table, options)
    pools = list(zip(table.problem.pools, choice, strict=True))
    node_w = table.node_w(options)
    cost_w = node_w + math.fsum(float(pool.watts[o] + pool.switch_w[o]) for pool, o in pools)
    shed = tuple(1.0 - float(pool.served[o]) for pool, o in pools)
    return Solution(Choice(choice), cost_w, min(bound_w, cost_w), shed, status, why, engine, node_w=node_w)


def _refused(why: str, engine: str) -> Solution:
    return Solution(Choice(()), math.nan, math.nan, (), SolveStatus.REFUSED, why, engine)
