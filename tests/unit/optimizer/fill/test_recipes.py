"""What recipes cost and use, held against plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from joulery.bench.forms import fill
from joulery.bench.suite import Case, drawn
from joulery.optimizer.fill.kernel_compiled import FIRST_COUNT, FIRST_ITEM, PARTIAL, RECIPE, RUNS
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.table import LaneTable, configured
from joulery.optimizer.problem import Floats, Ints


def drawn_recipe(table: LaneTable, lane: int, rng: np.random.Generator) -> Ints:
    """Full instances and, written `~item`, such without load; places between them stay empty."""
    own = np.arange(table.items.start[lane], table.items.start[lane + 1])
    recipe = np.zeros(RECIPE, dtype=np.int64)
    recipe[PARTIAL] = rng.choice(own)
    for run in rng.choice(RUNS, size=rng.integers(0, 5), replace=False).tolist():
        item = int(rng.choice(own))
        recipe[FIRST_ITEM + run] = item if rng.random() < 0.7 else ~item
        recipe[FIRST_COUNT + run] = rng.integers(1, 4)
    return recipe


def counted(table: LaneTable, recipe: Ints) -> tuple[float, Floats]:
    items, per_instance = table.items, table.rows.per_instance
    cost, rest, use = 0.0, 1.0, np.zeros(per_instance.shape[1])
    for run in range(RUNS):
        listed, number = int(recipe[FIRST_ITEM + run]), int(recipe[FIRST_COUNT + run])
        item = listed if listed >= 0 else ~listed
        for _ in range(number):
            load = float(items.capacity[item]) if listed >= 0 else 0.0
            cost += items.idle[item] + items.slope[item] * load
            rest -= load
            use += per_instance[items.kind[item]]
    last = int(recipe[PARTIAL])
    return cost + items.idle[last] + items.slope[last] * rest, use + per_instance[items.kind[last]]


@pytest.mark.parametrize("seed", range(8))
def test_recipes_cost_and_use_what_counting_one_instance_after_the_other_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = lay_out(fill(drawn(Case(5, 1 + seed % 4, 12), seed)))
    lane = rng.integers(0, table.lanes, size=40)
    recipes = np.array([drawn_recipe(table, each, rng) for each in lane.tolist()])
    found = configured(table, lane, recipes)
    for place, recipe in enumerate(recipes):
        cost, use = counted(table, recipe)
        assert found.cost[place] == pytest.approx(cost, rel=1e-12)
        assert np.array_equal(found.use[place], use)
    assert np.array_equal(found.lower, found.cost)


def test_no_recipes_cost_nothing() -> None:
    table = lay_out(fill(drawn(Case(2, 2, 12), 0)))
    none = configured(table, np.zeros(0, dtype=np.int64), np.zeros((0, RECIPE), dtype=np.int64))
    assert (len(none), none.use.shape[0]) == (0, 0)
