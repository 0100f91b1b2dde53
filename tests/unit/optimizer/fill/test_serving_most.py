"""What is served where supply is short, against trying everything, and clocks that are looked for more closely."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.engine import effort_for, find_prices
from joulery.optimizer.fill.kernel_rules import served_by
from joulery.optimizer.fill.kernel_shape import FEW_SETS
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.nearby import closer, nearby_of
from joulery.optimizer.fill.pricing import proven
from joulery.optimizer.fill.serving_most import counts_serving_most
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.problem import Kind, supply_of

KINDS = (Kind("A", 1), Kind("A", 2), Kind("B", 1))


def small(rng: np.random.Generator, lanes: int, *, weights: tuple[float, ...] = (1.0,)) -> LaneProblem:
    def lane(number: int) -> Lane:
        kind = np.array([0, 1, 1, 2])
        capacity = rng.uniform(0.1, 0.9, len(kind))
        idle = rng.uniform(50.0, 100.0, len(kind))
        full = idle + rng.uniform(50.0, 200.0, len(kind))
        weight = weights[number % len(weights)]
        return Lane(f"lane-{number}", kind, 1000 + kind, capacity, idle, full, weight=weight)

    free = rng.integers(1, 3, 2)
    supplies = (supply_of("A", [int(free[0]), 2]), supply_of("B", [int(free[1])]))
    return LaneProblem(KINDS, tuple(lane(n) for n in range(lanes)), supplies)


def served_in_all(table: LaneTable, counts: np.ndarray) -> float:
    served = np.zeros(table.lanes)
    served_by(table.searched.hulls, table.rules, counts, served)
    return float(served.sum())


def most_by_trying(table: LaneTable) -> float:
    each = list(product(range(5), range(3), range(3)))
    best = 0.0
    for choice in product(each, repeat=table.lanes):
        counts = np.array(choice, dtype=np.int64)
        if table.rows.fit(counts.sum(axis=0) @ table.rows.per_instance):
            best = max(best, served_in_all(table, counts))
    return best


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_what_is_served_is_the_most_that_trying_everything_finds(seed: int) -> None:
    table = lay_out(small(np.random.default_rng(seed), 2))
    counts = counts_serving_most(table)
    assert counts is not None
    assert table.rows.fit(counts.sum(axis=0) @ table.rows.per_instance)
    assert served_in_all(table, counts) == pytest.approx(most_by_trying(table), abs=1e-8)


def test_lanes_of_different_weight_are_left_to_the_stages_of_the_model() -> None:
    assert counts_serving_most(lay_out(small(np.random.default_rng(1), 2, weights=(1.0, 5.0)))) is None


def test_more_uses_of_the_supply_than_can_be_looked_at_are_left_to_the_model() -> None:
    assert counts_serving_most(lay_out(fill(drawn(Case(9, 4, 12), 14)))) is None


def test_a_closer_look_moves_costs_down_and_bounds_up_and_never_past_each_other() -> None:
    raised = 0
    for seed in range(3):
        table = lay_out(fill(drawn(Case(9, 2, 80), seed)))
        result = find_prices(table, effort_for(table), None)
        assert result is not None
        _, value = proven(table, result.prices, result.best.configured, result.best.value, 1e-6)
        found = nearby_of(table, result.prices, value, 0.05, 1e-6, FEW_SETS)
        assert found is not None
        looked = closer(table, result.prices, value + 0.05, 1e-6, found, np.arange(0, len(found), 2))
        assert (looked.cost <= found.cost).all()
        assert (looked.lower >= found.lower).all()
        assert (looked.lower <= looked.cost).all()
        assert (looked.use == found.use).all()
        raised += int((looked.lower > found.lower).sum())
    assert raised > 0
