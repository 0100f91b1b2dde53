"""Configurations of a known service, and the plan that they make: no prices, no solver."""

from __future__ import annotations

import numpy as np

from joulery.optimizer.fill.blocks import joined, optioned, written_blocks
from joulery.optimizer.fill.greed import ENGINE
from joulery.optimizer.fill.kernel_compiled import RECIPE
from joulery.optimizer.fill.kernel_counts import settle_counts
from joulery.optimizer.fill.kernel_room import new_room
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.plan import LanePlan, refused, written
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.table import Configured, LaneTable, configured
from joulery.optimizer.table import cheapest_full

# Of a lane's cost that its clocks may be above the best ones.
TOLERANCE = 1e-5


def settled(table: LaneTable, known: Service) -> Configured | None:
    """Each lane's cheapest configuration of the counts, with the pools' options; None where some carry too little."""
    recipes = np.zeros((table.lanes, RECIPE), dtype=np.int64)
    room = new_room(known.counts.shape[1])
    if not settle_counts(table.searched, known.counts, TOLERANCE, room, recipes):
        return None
    of_lanes = configured(table, np.arange(table.lanes), recipes)
    return of_lanes if table.pools is None else joined([of_lanes, optioned(table, known.options)])


def settled_plan(problem: LaneProblem, known: Service) -> LanePlan:
    """The plan of a service of all, held against what each lane and pool costs at least alone."""
    table = lay_out(problem)
    found = settled(table, known)
    if found is None:
        return refused("greed found no clocks that carry the load", ENGINE)
    items = table.items
    ratio = (items.idle / items.capacity) + items.slope
    bound_w = float(np.minimum.reduceat(ratio, items.start[:-1]).sum()) * table.unit_w
    if table.pools is not None:
        every = table.pools.every
        bound_w += float(every.cost_w[cheapest_full(every)].sum())
    groups, options = written_blocks(table, found.recipe)
    return written(problem, groups, bound_w, gap=0.0, engine=ENGINE, options=options)
