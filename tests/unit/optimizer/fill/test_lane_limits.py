"""Quotas and the limit of starts of lanes that fill: the priced engine against the textbook model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import Group
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import GpuQuota, Supply
from joulery.optimizer.solution import SolveStatus

solver = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
seeds = st.integers(0, 10_000)


def small(seed: int, room: int = 2, lanes: int = 3) -> LaneProblem:
    problem = fill(drawn(Case(lanes, 2, 4), seed))
    more = tuple(Supply(s.accelerator, tuple((g, n * room) for g, n in s.slots)) for s in problem.supplies)
    return replace(problem, supplies=more)


def under_quotas(problem: LaneProblem, gpus: int, other: int) -> LaneProblem:
    """Every second kind under one quota, the others under another."""
    kinds = tuple(replace(k, quota=("team", "other")[i % 2]) for i, k in enumerate(problem.kinds))
    return replace(problem, kinds=kinds, quotas=(GpuQuota("team", gpus), GpuQuota("other", other)))


def limited(problem: LaneProblem, seed: int, most: int) -> LaneProblem:
    """With something that runs, and so many starts."""
    rng = np.random.default_rng(seed)
    lanes = tuple(
        replace(n, running=tuple((int(k), int(rng.integers(0, 3))) for k in np.unique(n.kind)))
        for n in problem.lanes
    )
    return replace(problem, lanes=lanes, max_starts=most)


def agrees_with_textbook(problem: LaneProblem) -> None:
    prices = solve_lanes(problem)
    full = solve_lanes(problem, engine="textbook", time_limit_s=20.0)
    serve_all = [plan.is_plan and not any(plan.shed) for plan in (prices, full)]
    assert serve_all[0] == serve_all[1] or prices.starts_over_limit
    if full.status is SolveStatus.OPTIMAL and serve_all[1]:
        assert check_lanes(problem, prices) == check_lanes(problem, full) == ()
        assert prices.status is SolveStatus.OPTIMAL
        assert full.bound_w * (1 - 1e-6) <= prices.cost_w <= full.cost_w * (1 + 1e-5)
        assert prices.bound_w <= full.cost_w * (1 + 1e-9)


@solver
@given(seed=seeds, gpus=st.integers(4, 40), other=st.integers(4, 40))
def test_within_quotas_it_costs_what_the_textbook_model_says(seed: int, gpus: int, other: int) -> None:
    agrees_with_textbook(under_quotas(small(seed), gpus, other))


@solver
@given(seed=seeds, most=st.integers(0, 12))
def test_within_the_limit_of_starts_it_costs_what_the_textbook_model_says(seed: int, most: int) -> None:
    agrees_with_textbook(limited(small(seed), seed, most))


@pytest.mark.parametrize("share", [0.97, 0.8])
def test_quotas_and_starts_bind_dozens_of_lanes_too(share: float) -> None:
    problem = small(3, lanes=40)
    free = limited(under_quotas(problem, 10_000, 10_000), 3, 10_000)
    plan = solve_lanes(free)
    used, started = usage(free, plan.groups)
    tight = replace(
        free,
        quotas=(GpuQuota("team", int(used * share)), GpuQuota("other", 10_000)),
        max_starts=int(started * share),
    )
    bound = solve_lanes(tight)
    assert bound.is_plan
    assert plan.cost_w < bound.cost_w
    assert check_lanes(tight, bound) == ()
    assert plan.bound_w <= bound.bound_w <= bound.cost_w <= bound.bound_w * 1.002


@solver
@given(seed=seeds, most=st.integers(0, 6))
def test_what_the_load_needs_is_started_whatever_the_limit_and_no_more(seed: int, most: int) -> None:
    problem = limited(small(seed, room=1), seed, most)
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    free = solve_lanes(replace(problem, max_starts=None), engine="textbook", time_limit_s=20.0)
    if free.status is SolveStatus.OPTIMAL:
        assert sum(plan.shed) == pytest.approx(sum(free.shed), abs=2e-5)
    if plan.starts_over_limit:
        fewer = replace(problem, max_starts=most + plan.starts_over_limit - 1)
        kept = solve_lanes(fewer, engine="textbook", time_limit_s=20.0)
        assert kept.status is not SolveStatus.OPTIMAL or sum(kept.shed) > sum(plan.shed) + 1e-6
        assert f"more than the limit of {most}" in plan.why


def usage(problem: LaneProblem, chosen: tuple[tuple[Group, ...], ...]) -> tuple[int, int]:
    """GPUs of the first quota, and starts."""
    gpus = starts = 0
    for lane, groups in zip(problem.lanes, chosen, strict=True):
        counts = dict.fromkeys(range(len(problem.kinds)), 0)
        for group in groups:
            counts[int(lane.kind[group.item])] += group.instances
        running = dict(lane.running)
        starts += sum(max(0, n - running.get(kind, 0)) for kind, n in counts.items())
        gpus += sum(n * problem.kinds[k].gpus for k, n in counts.items() if problem.kinds[k].quota == "team")
    return gpus, starts


def test_the_checker_sees_quotas_and_limits_that_are_not_kept() -> None:
    problem = small(1)
    plan = solve_lanes(problem)
    assert any(f.startswith("quota team:") for f in check_lanes(under_quotas(problem, 0, 99), plan))
    assert any("starts, 0 allowed" in f for f in check_lanes(replace(problem, max_starts=0), plan))


def test_faults_of_supplies_quotas_and_limits_are_named() -> None:
    problem = small(1)
    why = solve_lanes(replace(problem, quotas=(GpuQuota("a", -1),), max_starts=-1)).why
    assert "quota a: -1 GPUs" in why
    assert "limit of starts: -1" in why
    contrary = (Supply("H100-like", ((1, 2), (2, 5))),)
    assert "contradict each other" in solve_lanes(replace(problem, supplies=contrary)).why
