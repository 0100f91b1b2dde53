"""How much of each lane and pool can be served, and by what: a small model without lanes' clocks.

    n_k   integer, instances of kind k      C_k, w_k   its load and watts at the highest clock      s   share served

    per pool     one of its options x, each with what it serves, its watts and its use
    per lane     s <= sum of C_k n_k,  s <= 1,  and what the lane asks of its instances where s > 0
    packing      sum of t n <= slots
    stage q      max sum of s over lanes and pools of weight q, from the highest, keeping what stages before reached
    last stage   min sum of w_k n_k + switching: of ways that shed alike one that costs little, or starts fewest

A lane that sheds has all instances full at the highest clock, or it could shed less; so its shares, and its watts,
are exact. Those that are served wholly get their clocks from prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from joulery.optimizer.fill.aggregate_pools import OptionColumns, add_pools, chosen_options
from joulery.optimizer.fill.kernel_rules import served_by
from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.model_rules import add_asked, add_switching, most_needed
from joulery.optimizer.fill.service import Service, weights_of
from joulery.optimizer.fill.serving_most import counts_serving_most
from joulery.optimizer.fill.table import LaneTable
from joulery.optimizer.lp import PRIMAL_FEASIBLE
from joulery.optimizer.problem import Floats, Ints
from joulery.optimizer.pruning import trading_options

# Shares that a stage may lose against an earlier one: the solver's own tolerance.
SHED_SLACK = 1e-6
# Relative gap of a stage, for few lanes and for many, whose proof would take seconds.
FEW_LANES, FINE_GAP, COARSE_GAP = 30, 1e-6, 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where the model has instances (by `(lane, kind)`), shares served (by lane), starts, and options of pools."""

    instances: dict[tuple[int, int], int]
    served: Ints
    starts: Ints
    options: OptionColumns

    def used(self, table: LaneTable, row: int) -> list[tuple[int, float]]:
        """Entries of a packing row, or that of starts."""
        per_instance = table.rows.per_instance[:, row]
        if table.has_limited_starts and row == len(table.rows.slots) - 1:
            pairs = [(column, 1.0) for column in self.starts.tolist()]
        else:
            pairs = [(column, float(per_instance[kind])) for (_, kind), column in self.instances.items()]
        return [(column, each) for column, each in (*pairs, *self.options.used(row)) if each]

    def gain(self, weight: Floats, priority: float, columns: int) -> Floats:
        """What each column of the model serves of lanes and pools of one priority."""
        lanes = len(self.served)
        gain = np.zeros(columns)
        gain[self.served[weight[:lanes] == priority]] = 1.0
        is_asked = weight[lanes + self.options.owner] == priority
        gain[self.options.column[is_asked]] = self.options.served[is_asked]
        return gain


def most_served(table: LaneTable, time_limit_s: float, *, is_starting_fewest: bool = False) -> Service | None:
    """The least shed by falling weight; None where HiGHS has no point that can be believed.

    Args:
        time_limit_s: seconds for HiGHS, over all stages; the last point stands where it ends.
        is_starting_fewest: whether, of ways that shed alike, the one with fewest starts is asked for.
    """
    counts = counts_serving_most(table)
    if counts is not None:
        return _service(table, counts, np.zeros(0, dtype=np.int64), is_proven=True)
    model = Model()
    columns = modelled(table, model, _trading(table))
    highs = model.passed()
    highs.setOptionValue("mip_rel_gap", FINE_GAP if table.blocks <= FEW_LANES else COARSE_GAP)
    weight = weights_of(table)
    stages = np.unique(weight)[::-1].tolist()
    point, is_proven = None, True
    for place, priority in enumerate(stages):
        gain = columns.gain(weight, priority, len(model.cost))
        found = minimised(highs, 0.0 - gain, time_limit_s, len(stages) - place + 1)
        is_proven = is_proven and highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
        if found is None:
            break
        point, of_it = found, np.flatnonzero(gain)
        reached = float((gain[of_it] * found[of_it]).sum()) - SHED_SLACK
        highs.addRow(reached, highspy.kHighsInf, len(of_it), of_it.astype(np.int32), gain[of_it])
    else:
        last = minimised(highs, _last_cost(model, columns, is_starting_fewest), time_limit_s, 1)
        point = point if last is None else last
    if point is None:
        return None
    options = chosen_options(columns.options, point)
    return _service(table, counts_at(table, columns, point), options, is_proven=is_proven)


def _trading(table: LaneTable) -> Ints:
    """Options of pools that are enough to find the least cost at the least shed."""
    if table.pools is None:
        return np.zeros(0, dtype=np.int64)
    every = table.pools.every
    return trading_options(every, np.arange(len(every.owner)))


def _last_cost(model: Model, columns: Columns, is_starting_fewest: bool) -> Floats:
    cost = np.array(model.cost)
    if is_starting_fewest:
        cost[:] = 0.0
        cost[columns.starts] = 1.0
        cost[columns.options.column] = columns.options.use[:, -1]
    return cost


def minimised(highs: highspy.Highs, cost: Floats, time_limit_s: float, stages: int) -> Floats | None:
    """The best point known after an even share of the time that is left, whose clock runs on over stages."""
    spent_s = highs.getRunTime()
    highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
    highs.setOptionValue("time_limit", spent_s + (time_limit_s - spent_s) / stages)
    if time_limit_s <= spent_s or highs.run() == highspy.HighsStatus.kError:
        return None
    if highs.getInfo().primal_solution_status != PRIMAL_FEASIBLE:
        return None
    return np.array(highs.getSolution().col_value)


def counts_at(table: LaneTable, columns: Columns, point: Floats) -> Ints:
    """Instances `[lane, kind]` of a solver's point."""
    counts = np.zeros((table.lanes, len(table.problem.kinds)), dtype=np.int64)
    for (lane, kind), column in columns.instances.items():
        counts[lane, kind] = round(float(point[column]))
    return counts


def _service(table: LaneTable, counts: Ints, options: Ints, *, is_proven: bool) -> Service:
    served = np.zeros(table.lanes)
    served_by(table.searched.hulls, table.rules, counts, served)
    counts[served == 0.0] = 0
    return Service(counts, served, options, is_proven)


def modelled(table: LaneTable, model: Model, options: Ints, *, has_supply: bool = True) -> Columns:
    """Add all lanes to a model, pools with some options, and the supply that they share."""
    instances: dict[tuple[int, int], int] = {}
    served, starts = [], []
    for lane in range(table.lanes):
        share = model.column(0.0, 1.0)
        served.append(share)
        of_lane = _add_instances(table, model, lane, share)
        instances |= {(lane, kind): column for kind, column in of_lane.items()}
        add_asked(table, model, lane, share, of_lane)
        starts += add_switching(table, model, lane, of_lane)
    of_pools = add_pools(table, model, options)
    columns = Columns(instances, np.array(served), np.array(starts, dtype=np.int64), of_pools)
    if has_supply:
        for row, slots in enumerate(table.rows.slots.tolist()):
            model.row(columns.used(table, row), -highspy.kHighsInf, float(slots))
    return columns


def _add_instances(table: LaneTable, model: Model, lane: int, share: int) -> dict[int, int]:
    """Columns of a lane's instances by kind."""
    most, cost = table.searched.hulls.most[lane], table.searched.cost
    first, last = table.items.start[lane], table.items.start[lane + 1]
    found: dict[int, int] = {}
    for kind in np.flatnonzero(most > 0.0).tolist():
        part = first + np.flatnonzero(table.items.kind[first:last] == kind)
        fastest = part[table.items.capacity[part] == most[kind]]
        needed = most_needed(table, lane, kind, float(most[kind]))
        found[kind] = model.column(float(cost[fastest].min()), needed, is_whole=True)
    model.row([(share, -1.0), *((column, float(most[kind])) for kind, column in found.items())], 0.0)
    return found
