"""Lanes as the kernel sees them, sorted by key, pools after them, and what recipes cost and use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulery.optimizer.fill.kernel_compiled import FIRST_COUNT, FIRST_ITEM, PARTIAL, Items, Numbers
from joulery.optimizer.fill.kernel_cost import cost_and_use
from joulery.optimizer.fill.kernel_nearby import Lanes
from joulery.optimizer.fill.kernel_rules import Rules, switches
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import Group
from joulery.optimizer.fill.pools import PoolColumns
from joulery.optimizer.nodes import Nodes, nodes_of
from joulery.optimizer.packing import PackingRows
from joulery.optimizer.problem import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class LaneTable:
    """All items, grouped by lane, then kind, then capacity.

    Attributes:
        position: of each lane in the problem.
        place: of each item in its lane as the caller gave it.
        items: for the kernel, cost in units of `unit_w`.
        rules: of the lanes, cost likewise.
        searched: both as the search for shapes sees them.
        unit_w: watts, near what a lane costs, so that every cost is near one.
        pools: those that split equally.
    """

    problem: LaneProblem
    rows: PackingRows
    position: Ints
    place: Numbers
    items: Items
    rules: Rules
    searched: Lanes
    unit_w: float
    pools: PoolColumns | None

    @property
    def lanes(self) -> int:
        """How many."""
        return len(self.items.start) - 1

    @property
    def blocks(self) -> int:
        """Lanes and pools: each gets one configuration."""
        return self.lanes + (0 if self.pools is None else len(self.pools))

    @property
    def has_rules(self) -> bool:
        """Whether any lane asks more of its instances than to carry its load."""
        rules = self.rules
        is_asked = (rules.fewest > 1).any() or rules.lost.any() or rules.start.any() or len(rules.awaited) > 0
        return bool(is_asked or self.has_limited_starts)

    @property
    def has_nodes(self) -> bool:
        """Whether some nodes need not be on."""
        return self.rows.left_off is not None

    @property
    def has_limited_starts(self) -> bool:
        """Whether the last row is that of starts."""
        return self.problem.max_starts is not None

    @property
    def nodes(self) -> Nodes:
        """The nodes that may be left off, in table units."""
        return nodes_of(self.rows, self.unit_w)

    def lower_bound(self, value: Floats, prices: Floats) -> float:
        """What any plan costs at least where `value` is what each block does at these prices."""
        lower = float(value.sum() - self.rows.slots @ prices)
        return lower + self.nodes.all_on + self.nodes.saved(prices)

    def plan_cost(self, chosen: Configured) -> float:
        """Of one configuration per block, and of the nodes that they need."""
        used = chosen.use.sum(axis=0)
        return float(chosen.cost.sum()) + self.nodes.needed(used, self.rows.slots.astype(np.float64))

    def searched_at(self, prices: Floats) -> Lanes:
        """The lanes as the search sees them where starts have a price of their own."""
        if not self.has_limited_starts:
            return self.searched
        rules = self.rules._replace(start=self.rules.start + prices[-1])
        return self.searched._replace(rules=rules)


@dataclass(frozen=True, slots=True, eq=False)
class Configured:
    """One configuration per entry: its lane, recipe (see `kernel_compiled`), cost and groups of GPUs per row.

    Pools count on after the lanes; the first number of their recipe is an option of the pools' table. `lower` bounds
    the cost of any configuration of the lane with the same use, where that is known; else it is the cost.
    """

    lane: Ints
    recipe: Ints
    cost: Floats
    use: Floats
    lower: Floats

    def __len__(self) -> int:
        return len(self.lane)

    def taken(self, places: Ints) -> Configured:
        """Some of them."""
        return Configured(
            self.lane[places], self.recipe[places], self.cost[places], self.use[places], self.lower[places]
        )


def configured(table: LaneTable, lane: Ints, recipes: Ints) -> Configured:
    """Costs and use of recipes, switching included."""
    # In one memory layout, as each one is compiled for itself.
    per_instance = np.ascontiguousarray(table.rows.per_instance)
    cost, use = np.zeros(len(lane)), np.zeros((len(lane), per_instance.shape[1]))
    cost_and_use(table.items, per_instance, recipes, cost, use)
    if table.has_rules:
        starts, switching = np.zeros(len(lane), dtype=np.int64), np.zeros(len(lane))
        switches(table.rules, lane, counts_of(table, recipes), starts, switching)
        cost = cost + switching
        if table.has_limited_starts:
            use[:, -1] = starts
    return Configured(lane, recipes, cost, use, cost)


def counts_of(table: LaneTable, recipes: Ints) -> Ints:
    """Instances by kind of each recipe of a lane."""
    count, item, _ = entries(recipes)
    kind, places = table.items.kind, np.arange(len(recipes))
    counts = np.zeros((len(recipes), len(table.problem.kinds)), dtype=np.int64)
    np.add.at(counts, (places[:, None], kind[item]), count)
    np.add.at(counts, (places, kind[recipes[:, PARTIAL]]), 1)
    return counts


def entries(recipes: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Counts and items of the instances beside the partial one, and which are full; unused places have count 0."""
    item = recipes[:, FIRST_ITEM:FIRST_COUNT]
    return recipes[:, FIRST_COUNT:], np.where(item < 0, ~item, item), item >= 0


def written_groups(table: LaneTable, recipes: Ints) -> tuple[tuple[Group, ...], ...]:
    """Instances per lane in the caller's order: full ones by falling count, the partial one last."""
    count, item, is_full = entries(recipes)
    load = np.where(is_full, table.items.capacity[item], 0.0)
    rest = 1.0 - (count * load).sum(axis=1)
    partial = recipes[:, PARTIAL]
    groups: list[tuple[Group, ...]] = [()] * table.lanes
    rows = zip(
        table.position.tolist(), count.tolist(), item.tolist(), load.tolist(), partial.tolist(), rest.tolist(),
        strict=True,
    )  # fmt: skip
    for position, counts, items, loads, last, share in rows:
        full = {
            (place, each): number for number, place, each in zip(counts, items, loads, strict=True) if number
        }
        written_full = (Group(int(table.place[o]), n, each) for (o, each), n in sorted(full.items()))
        groups[position] = (*written_full, Group(int(table.place[last]), 1, max(0.0, share)))
    return tuple(groups)
