"""The greedy engine of lanes that fill: always a checked plan, whatever lanes ask and however little there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.lane import Awaited, Lane, LaneProblem
from joulery.optimizer.fill.plan import Group
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import Kind, supply_of
from joulery.optimizer.solution import Shortage, SolveStatus

SMALL, LARGE = Kind("H100", 1), Kind("H100", 4)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def lane(key: str, *items: tuple[int, float, float], **rules: float) -> Lane:
    """Items of `(kind, capacity, full watts)`, idle at a tenth of those."""
    kind, capacity, full = (np.array(column) for column in zip(*items, strict=True))
    clock = np.arange(len(kind)) * 100 + 1000
    return Lane(key, kind, clock, capacity.astype(float), full * 0.1, full * 1.0, **rules)  # type: ignore[arg-type]


def ruled(problem: LaneProblem, seed: int) -> LaneProblem:
    """Each lane with rules of its own, some instances running, few starts allowed."""
    rng = np.random.default_rng(seed)
    lanes = tuple(
        replace(
            each,
            weight=float(rng.integers(1, 3)),
            fewest=int(rng.integers(0, 4)),
            lost=int(rng.integers(0, 3)),
            start_w=float(rng.integers(0, 2) * 80),
            running=((int(rng.integers(0, len(problem.kinds))), int(rng.integers(0, 5))),),
            awaited=(Awaited(int(rng.integers(0, len(problem.kinds))), int(rng.integers(0, 5)), 20.0),),
        )
        for each in problem.lanes
    )
    return replace(problem, lanes=lanes, max_starts=int(rng.integers(0, 12)))


@quick
@given(
    seed=st.integers(0, 10_000), lanes=st.integers(1, 20), tightness=st.sampled_from([0.5, 0.75, 1.5, 6.0])
)
def test_whatever_lanes_ask_there_is_a_checked_plan(seed: int, lanes: int, tightness: float) -> None:
    problem = ruled(fill(drawn(Case(lanes, 2, 6, tightness), seed)), seed)
    plan = solve_lanes(problem, engine="fallback")
    assert plan.status is SolveStatus.FALLBACK
    assert check_lanes(problem, plan) == ()
    assert all(len(groups) <= 1 for groups in plan.groups)


def test_where_the_cheapest_kinds_do_not_all_fit_those_of_fewer_gpus_are_taken() -> None:
    lanes = tuple(lane(key, (0, 0.5, 300.0), (1, 1.0, 400.0)) for key in "abc")
    problem = LaneProblem((SMALL, LARGE), lanes, (supply_of("H100", [8]),))
    plan = solve_lanes(problem, engine="fallback")
    assert not any(plan.shed)
    assert [(groups[0].item, groups[0].instances) for groups in plan.groups] == [(0, 2)] * 3


def test_all_instances_run_at_the_cheapest_clock_that_carries_the_load() -> None:
    one = lane("a", (0, 0.4, 200.0), (0, 0.5, 240.0), (0, 0.6, 330.0))
    plan = solve_lanes(LaneProblem((SMALL,), (one,), (supply_of("H100", [2]),)), engine="fallback")
    assert plan.groups == ((Group(1, 2, 0.5),),)
    assert plan.cost_w == pytest.approx(480.0)
    assert plan.bound_w == pytest.approx(480.0)


def test_what_does_not_fit_is_served_at_the_highest_clock_and_the_rest_is_told() -> None:
    one = lane("a", (0, 0.2, 100.0), (0, 0.25, 200.0))
    plan = solve_lanes(LaneProblem((SMALL,), (one,), (supply_of("H100", [3]),)), engine="fallback")
    assert plan.shed == pytest.approx((0.25,))
    assert [(group.item, group.instances) for group in plan.groups[0]] == [(1, 3)]
    assert plan.shortage == (Shortage("H100", 1),)
    assert plan.why.startswith("not enough GPUs, missing 1 of H100; ")


def test_the_order_of_lanes_and_items_does_not_matter() -> None:
    problem = fill(drawn(Case(12, 2, 6, 1.2), 4))
    turned = tuple(
        Lane(n.key, n.kind[::-1], n.clock_mhz[::-1], n.capacity[::-1], n.idle_w[::-1], n.full_w[::-1])
        for n in reversed(problem.lanes)
    )
    plan, other = (
        solve_lanes(replace(problem, lanes=lanes), engine="fallback") for lanes in (problem.lanes, turned)
    )
    assert other.shed == plan.shed[::-1]
    assert other.cost_w == pytest.approx(plan.cost_w)
