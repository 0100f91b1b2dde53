"""What is wanted later, told by what was wanted: its mean cost, and what a plan does for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.optimizer.fill.awaited import awaited_of
from joulery.optimizer.fill.lane import Awaited, Lane, LaneProblem
from joulery.optimizer.fill.plan import Group
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import Kind, supply_of

COUNTS = st.dictionaries(st.integers(0, 2), st.integers(0, 5), max_size=3)


@given(st.lists(COUNTS, min_size=1, max_size=6), COUNTS, st.floats(0.0, 500.0))
def test_it_costs_the_mean_of_the_starts_that_each_would_take(
    wanted: list[dict[int, int]], kept: dict[int, int], start_w: float
) -> None:
    found = awaited_of(wanted, start_w)
    short_w = sum(a.short_w * max(0, a.instances - kept.get(a.kind, 0)) for a in found)
    starts = [sum(max(0, n - kept.get(kind, 0)) for kind, n in counts.items()) for counts in wanted]
    assert short_w == pytest.approx(start_w * float(np.mean(starts)), abs=1e-9)
    assert len({(a.kind, a.instances) for a in found}) == len(found)


def test_nothing_wanted_of_late_awaits_nothing() -> None:
    assert awaited_of((), 50.0) == ()


def test_an_instance_that_is_dear_today_is_kept_for_what_is_likely_later() -> None:
    """One large instance runs; a small one carries today's load for 100 W less, but the large one comes back."""
    kind, clock = np.array([0, 1]), np.array([1400, 1400])
    lane = Lane(
        "a", kind, clock, np.array([1.0, 2.0]), np.array([100.0, 200.0]), np.array([300.0, 600.0]),
        start_w=80.0, running=((1, 1),),
    )  # fmt: skip
    kinds, supply = (Kind("H100", 1), Kind("H100", 2)), (supply_of("H100", [8]),)

    def chosen(*awaited: Awaited) -> tuple[Group, ...]:
        awaiting = Lane(
            "a", kind, clock, lane.capacity, lane.idle_w, lane.full_w,
            start_w=lane.start_w, running=lane.running, awaited=awaited,
        )  # fmt: skip
        return solve_lanes(LaneProblem(kinds, (awaiting,), supply)).groups[0]

    assert chosen()[0].item == 0
    assert chosen(*awaited_of([{1: 1}, {0: 1}, {0: 1}, {0: 1}], 80.0))[0].item == 0
    assert chosen(*awaited_of([{1: 1}, {1: 1}, {1: 1}, {0: 1}], 80.0))[0].item == 1


def test_more_is_kept_than_any_load_needs_where_it_is_awaited_dearly() -> None:
    """Of a kind that is never the cheapest, so that only what is awaited speaks for it."""
    lane = Lane(
        "a", np.array([0, 1]), np.array([1400, 1400]), np.array([1.0, 1.0]), np.array([50.0, 90.0]),
        np.array([300.0, 500.0]), start_w=10.0, running=((1, 7),), awaited=(Awaited(1, 7, 400.0),),
    )  # fmt: skip
    kinds, supply = (Kind("H100", 1), Kind("H100", 2)), (supply_of("H100", [8, 8]),)
    plan = solve_lanes(LaneProblem(kinds, (lane,), supply))
    assert sum(group.instances for group in plan.groups[0] if lane.kind[group.item] == 1) == 7
    exact = solve_lanes(LaneProblem(kinds, (lane,), supply), engine="textbook")
    assert plan.cost_w == pytest.approx(exact.cost_w)
