"""The choice for dozens of lanes: which few of them change so that all fit, against trying everything."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.checker import check_lanes
from joulery.optimizer.fill.kernel_choice import Changes, least_changes
from joulery.optimizer.fill.nearby import row_keys
from joulery.optimizer.fill.solve import solve_lanes
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.solution import SolveStatus

ROWS = 2


def drawn_changes(rng: np.random.Generator, lanes: int) -> Changes:
    numbers = rng.integers(1, 4, lanes)
    use = rng.integers(-4, 5, (int(numbers.sum()), ROWS))
    reduced = np.concatenate([np.sort(rng.uniform(0.0, 1.0, n)) for n in numbers.tolist()])
    start = np.concatenate([[0], np.cumsum(numbers)])
    return Changes(start, use, reduced, (use * row_keys(ROWS)).sum(axis=1))


def least_by_trying(changes: Changes, left: Ints, prices: Floats, room: float) -> float:
    """Of every lane none or one of its changes."""
    lanes = [
        range(a, b) for a, b in zip(changes.start[:-1].tolist(), changes.start[1:].tolist(), strict=True)
    ]
    best = math.inf
    for choice in product(*([-1, *lane] for lane in lanes)):
        taken = [change for change in choice if change >= 0]
        unused = left - changes.use[taken].sum(axis=0)
        total = float(changes.reduced[taken].sum() + prices @ unused)
        if (unused >= 0).all() and total <= room:
            best = min(best, total)
    return best


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), lanes=st.integers(1, 4), room=st.sampled_from([0.3, 1.0, 4.0]))
def test_the_fewest_changes_are_what_trying_everything_finds(seed: int, lanes: int, room: float) -> None:
    rng = np.random.default_rng(seed)
    changes, left, prices = drawn_changes(rng, lanes), rng.integers(-3, 4, ROWS), rng.uniform(0.0, 0.3, ROWS)
    total, taken = least_changes(changes, left, prices, room, 64, 256)
    assert total == pytest.approx(least_by_trying(changes, left, prices, room), rel=1e-9, abs=1e-12)
    if math.isfinite(total):
        unused = left - changes.use[taken].sum(axis=0)
        assert (unused >= 0).all()
        assert total == pytest.approx(float(changes.reduced[taken].sum() + prices @ unused), abs=1e-12)


def test_more_sets_than_there_is_room_for_are_told() -> None:
    changes = drawn_changes(np.random.default_rng(1), 6)
    total, taken = least_changes(changes, np.zeros(ROWS, dtype=np.int64), np.zeros(ROWS), 10.0, 4, 256)
    assert math.isnan(total)
    assert len(taken) == 0


@pytest.mark.parametrize("seed", range(4))
def test_dozens_of_lanes_are_as_near_their_bound_as_asked(seed: int) -> None:
    problem = fill(drawn(Case(60, 2, 20), seed))
    plan = solve_lanes(problem)
    assert check_lanes(problem, plan) == ()
    assert plan.status is SolveStatus.OPTIMAL
    assert plan.cost_w <= plan.bound_w * (1 + 3.1e-4)
