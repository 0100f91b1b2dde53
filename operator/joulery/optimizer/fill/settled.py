"""Configurations of known counts, and the plan of them: no prices, no solver."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.aggregate import Service
from joulery.optimizer.fill.greed import ENGINE, by_greed, queued
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_counts import settle_counts
from joulery.optimizer.fill.kernel_room import new_room
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.plan import LanePlan, refused, written
from joulery.optimizer.fill.table import Configured, LaneTable, configured, lay_out, written_groups
from joulery.optimizer.problem import Ints

# Of a lane's cost that its clocks may be above the best ones.
TOLERANCE = 1e-5


def settled(table: LaneTable, counts: Ints) -> Configured | None:
    """Each lane's cheapest configuration of these counts `[lane, kind]`; None where some carry too little."""
    recipes = np.zeros((table.lanes, RECIPE), dtype=np.int64)
    room = new_room(counts.shape[1])
    is_whole = settle_counts(table.searched, counts, TOLERANCE, room, recipes)
    return configured(table, np.arange(table.lanes), recipes) if is_whole else None


def greedy_service(table: LaneTable) -> Service:
    """What lanes get that take their turn by weight, then key."""
    queue = queued(table.problem)
    found = by_greed(queue, queue.rows.slots, table.problem.max_starts)
    return Service(found.counts(len(table.problem.kinds)), found.taken.served, is_proven=False)


def settled_plan(problem: LaneProblem, counts: Ints) -> LanePlan:
    """The plan of these counts by lane's key, held against what each lane costs at least alone."""
    table = lay_out(problem)
    found = settled(table, counts)
    if found is None:
        return refused("greed found no clocks that carry the load", ENGINE)
    items = table.items
    ratio = (items.idle / items.capacity) + items.slope
    bound_w = float(np.minimum.reduceat(ratio, items.start[:-1]).sum()) * table.unit_w
    return written(problem, written_groups(table, found.recipe), bound_w, gap=0.0, engine=ENGINE)
