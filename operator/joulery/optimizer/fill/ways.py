"""How much of each lane can be served where lanes are many: ways to serve each, priced, and a whole choice of them.

The model of `aggregate` has integers that its bound does not see, so its proof takes seconds for a hundred lanes.
Here a column is a way to serve one lane, instances of each kind with the share that they serve; its cost is the
share that is shed, and so little for its watts that no share is given for them:

    first round     instances of one kind: enough, one less, half of them; none
    second round    all ways near each lane's best at the prices of the first (see `kernel_share`)

Classes of weight come one after the other; lanes of classes before keep at least the share they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulery.optimizer.columns import prices_among
from joulery.optimizer.fill.changes import best_among
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.greed import Queue
from joulery.optimizer.fill.kernel_room import new_room
from joulery.optimizer.fill.kernel_rules import LEAST_SERVED, ROUNDING
from joulery.optimizer.fill.kernel_share import MOST_KEPT, Shapes, Wanted, list_shapes
from joulery.optimizer.fill.nearby import row_keys
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.highs import Limits, NoAnswer
from joulery.optimizer.lp import Columns, choose
from joulery.optimizer.problem import Floats, Ints

# What a lane's mean watts, or a start, is taken for in shares.
PER_WATTS = 1e-5
# Of the second round: ways per lane, and value beyond its best, in shares of a lane.
MOST_WAYS, SLACK = 120, 0.06
# Of the highest price per GPU, so that GPUs that are plenty are no reason to look through all that use them.
LEAST_PRICE = 0.05
# Beyond one per lane, a bound at which all may be served, and what differences are then near.
NOTHING_SHED, WATTS_SCALE = 5e-3, 2.0 * PER_WATTS
# From so many lanes on, what follows is as it stands; of fewer, more.
MANY = 80
# Of a whole choice: reduced cost of what it is made of, what it may cost beyond what prices prove; and what looking for
# it takes, in units of the deadline, as prices and all ways near them do.
ROOMS = ((0.004, 0.006, 3.0), (0.02, 0.03, 3.0), (0.05, 0.1, 30.0))
PRICE_UNITS, NEAR_UNITS, INTEGER_UNITS = 2.0, 8.0, 3.0
# Reduced cost of what an integer programme is given where those have none, and its gap, relative to all lanes.
WIDE, GAP = 0.1, 1e-4
# Of the time that is left, for one such programme.
OF_TIME = 0.1
# A share that is as good as the one before.
SAME = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """Ways to serve lanes, by lane: instances `[way, kind]` and the share that they serve."""

    lane: Ints
    counts: Ints
    served: Floats

    def and_also(self, other: Ways) -> Ways:
        """Both, by lane."""
        lane = np.concatenate([self.lane, other.lane])
        order = np.argsort(lane, kind="stable")
        return Ways(
            lane[order],
            np.concatenate([self.counts, other.counts])[order],
            np.concatenate([self.served, other.served])[order],
        )

    def taken(self, places: Ints) -> Ways:
        """Some of them."""
        return Ways(self.lane[places], self.counts[places], self.served[places])


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Lanes that are chosen for, what each has to get, and what an instance costs beside its GPUs, `[lane, kind]`."""

    table: LaneTable
    lanes: Ints
    least: Floats
    little: Floats
    per_start: float


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Ways as columns, prices, each lane's least value and what columns are above it, and what the prices prove."""

    ways: Ways
    columns: Columns
    prices: Floats
    least: Floats
    reduced: Floats
    bound: float

    @property
    def scale(self) -> float:
        """What differences between choices are near: shares, or watts alone where nothing has to be shed.

        What the last instance is short or over weighs more where lanes are few.
        """
        lanes = len(self.least)
        return max(1.0, MANY / lanes) * (1.0 if self.bound - lanes > NOTHING_SHED else WATTS_SCALE)


def most_served_of_many(
    table: LaneTable, queue: Queue, deadline: Deadline, *, is_starting_fewest: bool = False
) -> Service | None:
    """The least shed by falling weight, nearly; None where time ends or HiGHS has no point that can be believed."""
    kinds = len(table.problem.kinds)
    little = _little(queue, is_starting_fewest) / (queue.alone.per_load.mean() or 1.0)
    have = Ways(np.zeros(0, dtype=np.int64), np.zeros((0, kinds), dtype=np.int64), np.zeros(0))
    for rank in range(int(queue.rank.max()) + 1):
        least = np.zeros(table.lanes)
        least[have.lane] = np.maximum(0.0, have.served - SAME)
        stage = Stage(
            table, np.flatnonzero(queue.rank <= rank), least, little, PER_WATTS if is_starting_fewest else 0.0
        )
        found = _best_of(stage, have, deadline)
        if found is None:
            return None
        have = found
    counts, served = np.zeros((table.lanes, kinds), dtype=np.int64), np.zeros(table.lanes)
    counts[have.lane], served[have.lane] = have.counts, have.served
    return Service(counts, served, np.zeros(0, dtype=np.int64), is_proven=False)


def _little(queue: Queue, is_starting_fewest: bool) -> Floats:
    if is_starting_fewest:
        return np.zeros_like(queue.alone.most)
    watts: Floats = np.where(queue.alone.most > 0.0, queue.flat.full[queue.alone.fastest], 0.0) * PER_WATTS
    return watts


def _best_of(stage: Stage, have: Ways, deadline: Deadline) -> Ways | None:
    ways = ways_of_one_kind(stage).and_also(have)
    first = _priced(stage, ways, deadline)
    if first is None:
        return None
    best = _whole(stage, first, ROOMS[:2], deadline)
    if (best is not None and (best.served == 1.0).all()) or not deadline.allows(NEAR_UNITS):
        return best
    second = _priced(stage, ways_near(stage, first.prices, SLACK * first.scale).and_also(ways), deadline)
    if second is None:
        return best
    return _whole(stage, second, ROOMS, deadline) or _by_integers(stage, second, deadline) or best


def ways_of_one_kind(stage: Stage) -> Ways:
    """Enough instances of one kind, one less, half of them; none; where lanes get what they have to."""
    hulls, rules = stage.table.searched.hulls, stage.table.rules
    most = hulls.most[stage.lanes]
    lost, fewest = rules.lost[stage.lanes, None], np.maximum(1, rules.fewest[stage.lanes, None])
    with np.errstate(divide="ignore"):
        enough = np.maximum(np.ceil(1.0 / most - SAME) + lost, fewest)
    enough = np.where(most > 0.0, enough, 0.0).astype(np.int64)
    found = [Ways(stage.lanes, np.zeros_like(enough), np.zeros(len(stage.lanes)))]
    for number in (enough, enough - 1, enough // 2):
        share = np.minimum(1.0, (number - lost) * most)
        share = np.where(share < 1.0 - SAME, share * (1.0 - ROUNDING), 1.0)
        row, kind = np.nonzero((number >= fewest) & (share >= LEAST_SERVED) & (most > 0.0))
        counts = np.zeros((len(row), most.shape[1]), dtype=np.int64)
        counts[np.arange(len(row)), kind] = number[row, kind]
        found.append(Ways(stage.lanes[row], counts, share[row, kind]))
    ways = found[0]
    for each in found[1:]:
        ways = ways.and_also(each)
    return ways.taken(np.flatnonzero(ways.served >= stage.least[ways.lane]))


def ways_near(stage: Stage, prices: Floats, slack: float) -> Ways:
    """All ways near each lane's best at these prices."""
    table, lanes = stage.table, len(stage.lanes)
    rows = table.rows
    size = np.maximum(rows.size, 1)
    prices = np.maximum(prices, LEAST_PRICE * (prices / size).max() * size)
    keys = row_keys(len(prices))
    starts_price, start_key = (float(prices[-1]), int(keys[-1])) if table.has_limited_starts else (0.0, 0)
    wanted = Wanted(
        stage.lanes,
        (rows.per_instance @ prices).astype(np.float64) + stage.little,
        starts_price + stage.per_start,
        stage.least,
        slack,
        MOST_WAYS,
        (rows.per_instance * keys).sum(axis=1),
        start_key,
    )
    shapes = _space_for(lanes * MOST_WAYS, stage.little.shape[1])
    room = new_room(stage.little.shape[1])
    number = list_shapes(
        table.searched.hulls,
        table.rules,
        wanted,
        room.by_groups,
        _space_for(MOST_KEPT, stage.little.shape[1]),
        shapes,
    )
    return Ways(shapes.lane[:number], shapes.counts[:number], shapes.served[:number])


def _space_for(number: int, kinds: int) -> Shapes:
    whole = np.int64
    return Shapes(
        np.zeros(number, whole), np.zeros((number, kinds), whole), np.zeros(number), np.zeros(number)
    )


def columns_of(stage: Stage, ways: Ways) -> Columns:
    """By place of the lane in the stage."""
    table = stage.table
    use = ways.counts @ table.rows.per_instance
    starts = np.maximum(ways.counts - table.rules.running[ways.lane], 0).sum(axis=1)
    if table.has_limited_starts:
        use[:, -1] = starts
    cost = 2.0 - ways.served + (ways.counts * stage.little[ways.lane]).sum(axis=1) + stage.per_start * starts
    return Columns(np.searchsorted(stage.lanes, ways.lane), cost, use.astype(np.float64))


def _priced(stage: Stage, ways: Ways, deadline: Deadline) -> Priced | None:
    if not deadline.allows(PRICE_UNITS):
        return None
    limits = Limits(deadline.left_s, GAP, deadline.stopwatch, deadline.time_limit_s)
    columns, slots = columns_of(stage, ways), stage.table.rows.slots
    prices = prices_among(columns, slots, limits)
    if isinstance(prices, NoAnswer):
        return None
    value = columns.cost + columns.use @ prices
    least = np.minimum.reduceat(value, np.searchsorted(columns.owner, np.arange(len(stage.lanes))))
    bound = float(least.sum() - slots @ prices)
    return Priced(ways, columns, prices, least, value - least[columns.owner], bound)


def _whole(
    stage: Stage, priced: Priced, rooms: Sequence[tuple[float, float, float]], deadline: Deadline
) -> Ways | None:
    """The best choice that few lanes' changes lead to; None where it is too far from what the prices prove."""
    columns, slots = priced.columns, stage.table.rows.slots
    for slack, room, units in rooms:
        if not deadline.allows(units):
            return None
        near = np.flatnonzero(priced.reduced <= slack * priced.scale)
        cost = columns.cost[near]
        every = Configured(columns.owner[near], near[:, None], cost, columns.use[near], cost)
        chosen = best_among(
            slots, priced.prices, priced.least, priced.bound, every, room * priced.scale
        ).chosen
        if chosen is not None:
            return priced.ways.taken(chosen.configured.recipe[:, 0])
    return None


def _by_integers(stage: Stage, priced: Priced, deadline: Deadline) -> Ways | None:
    columns, slots = priced.columns, stage.table.rows.slots
    for most in (WIDE * max(1.0, priced.scale), np.inf):
        if not deadline.allows(INTEGER_UNITS):
            return None
        near = np.flatnonzero(priced.reduced <= most)
        few = Columns(columns.owner[near], columns.cost[near], columns.use[near])
        limit_s = OF_TIME * deadline.left_s
        point, _ = choose(few, len(stage.lanes), slots, gap=GAP, time_limit_s=limit_s)
        if point is not None:
            return priced.ways.taken(near[point.columns])
    return None
