"""Configurations of lanes and of pools beside each other, and the best of both at prices."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.kernel_compiled import PARTIAL, RECIPE
from joulery.optimizer.fill.plan import Group
from joulery.optimizer.fill.table import Configured, LaneTable, written_groups
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.table import in_problem_order


def joined(parts: list[Configured]) -> Configured:
    """All of them, in order."""
    return Configured(
        np.concatenate([part.lane for part in parts]),
        np.concatenate([part.recipe for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.use for part in parts]),
        np.concatenate([part.lower for part in parts]),
    )


def optioned(table: LaneTable, options: Ints) -> Configured:
    """Options of the pools' table as configurations."""
    assert table.pools is not None
    every = table.pools.every
    recipes = np.zeros((len(options), RECIPE), dtype=np.int64)
    recipes[:, PARTIAL] = options
    cost = every.cost_w[options] / table.unit_w
    use = every.use(options).astype(np.float64)
    return Configured(table.lanes + every.owner[options], recipes, cost, use, cost)


def with_best_options(
    table: LaneTable, lanes: Configured, value: Floats, prices: Floats
) -> tuple[Configured, Floats]:
    """Each lane's configuration and priced cost, and those of each pool's cheapest option, which are exact."""
    if table.pools is None:
        return lanes, value
    priced = table.pools.priced(prices)
    best = table.pools.best(priced)
    return joined([lanes, optioned(table, table.pools.options[best])]), np.append(value, priced[best])


def options_within(table: LaneTable, prices: Floats, most: Floats) -> list[Configured]:
    """All undominated options of pools whose priced cost is up to the `most` of their block."""
    if table.pools is None:
        return []
    within = table.pools.priced(prices) <= most[table.lanes + table.pools.owner]
    return [optioned(table, table.pools.options[within])]


def nearest_options(table: LaneTable, prices: Floats, value: Floats, number: int) -> list[Configured]:
    """About so many undominated options of pools of least reduced cost, ties included, so that no order decides."""
    if table.pools is None:
        return []
    reduced = table.pools.priced(prices) - value[table.lanes + table.pools.owner]
    most = np.inf if number >= len(reduced) else np.partition(reduced, number)[number]
    return [optioned(table, table.pools.options[reduced <= most])]


def written_blocks(table: LaneTable, recipes: Ints) -> tuple[tuple[tuple[Group, ...], ...], tuple[int, ...]]:
    """Instances per lane and the option of each pool, of one recipe per block, in the caller's order."""
    groups = written_groups(table, recipes[: table.lanes])
    if table.pools is None:
        return groups, ()
    return groups, in_problem_order(table.pools.every, recipes[table.lanes :, PARTIAL])
