"""The readable specification for lanes that fill, in cvxpy on HiGHS: the exact model, and one with clocks that mix.

    O   items of all lanes, of P pairs (lane, kind)       S   lanes x O, 1 where the item is the lane's
    C   O   load of a full instance, in lanes' loads      a   O   watts without load,  w  when full,  b = (w - a) / C
    u   R x O (or P) groups of GPUs of an instance        N   R   groups of GPUs there are

    exact        z  O  integer, full instances      y  O  binary, a partial one      x  O  its load
                 min  w z + a y + b x     S (C z + x) = 1,  S y <= 1,  x <= min(C, 1) y,  u (z + y) <= N

    aggregated   n  P  integer, instances           m  O  of them full at an item    e  P  without load
                 min  w m + i e           n = m summed by pair + e,  S C m >= 1,  u n <= N      (i  least a of a pair)

With affine power some optimum has all instances of a lane full but one, so the first is exact. The second lets an
instance be half at one clock and half at another: its value is a bound, and its counts get their best clocks.
Lanes alone, which ask nothing of their instances, and are all served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.plan import Group, LanePlan, refused, written
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.table import written_groups
from joulery.optimizer.highs import Limits, NoAnswer, Outcome, doubt, minimise
from joulery.optimizer.packing import packing_rows
from joulery.optimizer.problem import Floats, Ints

if TYPE_CHECKING:
    import cvxpy as cp

ENGINE, AGGREGATED = "milp", "milp-aggregated"
GAP = 1e-6
# Of a lane's load; less than this is what rounding left.
LEAST_SHARE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """O items with their lane, place in it and pair; R x kinds groups of GPUs of an instance; N."""

    owner: Ints
    place: Ints
    kind: Ints
    pair: Ints
    capacity: Floats
    idle: Floats
    full: Floats
    use: Ints
    slots: Ints
    unit_w: float

    @property
    def of_lane(self) -> Floats:
        """S."""
        return _one_where_equal(self.owner)

    @property
    def of_pair(self) -> Floats:
        """The same for pairs."""
        return _one_where_equal(self.pair)


def _one_where_equal(group: Ints) -> Floats:
    """Groups x entries."""
    same: Floats = (group == np.arange(group.max() + 1)[:, None]).astype(np.float64)
    return same


def by_milp(problem: LaneProblem, time_limit_s: float, *, is_aggregated: bool) -> LanePlan:
    """The plan of HiGHS within its time; refused where it has none, or where lanes ask what this does not know."""
    engine = AGGREGATED if is_aggregated else ENGINE
    if problem.pools or problem.max_starts is not None or lay_out(problem).has_rules:
        return refused(f"{engine} knows lanes alone, without rules or limits; ask textbook", engine)
    return (_aggregated if is_aggregated else _exact)(problem, _items(problem), Limits(time_limit_s, GAP))


def _exact(problem: LaneProblem, o: _Items, limits: Limits) -> LanePlan:
    import cvxpy as cp

    z, y = cp.Variable(len(o.owner), integer=True), cp.Variable(len(o.owner), boolean=True)
    x = cp.Variable(len(o.owner), nonneg=True)
    slope = (o.full - o.idle) / o.capacity
    constraints = [
        z >= 0,
        (o.of_lane * o.capacity) @ z + o.of_lane @ x == 1,  # S (C z + x) = 1
        o.of_lane @ y <= 1,  # S y <= 1
        x <= np.diag(np.minimum(o.capacity, 1.0)) @ y,  # x <= min(C, 1) y
        o.use[:, o.kind] @ (z + y) <= o.slots,  # u (z + y) <= N
    ]
    outcome = minimise(cp.Problem(cp.Minimize(o.full @ z + o.idle @ y + slope @ x), constraints), limits)
    full, partial, load = (_point(variable) for variable in (z, y, x))
    if wrong := _doubt(outcome, float(o.full @ full + o.idle @ partial + slope @ load)):
        return refused(wrong.why, ENGINE)
    groups = [
        _groups(o, np.flatnonzero(o.owner == lane), np.rint(full), np.rint(partial))
        for lane in range(len(problem.lanes))
    ]
    return written(problem, tuple(groups), outcome.bound * o.unit_w, gap=2 * GAP, engine=ENGINE)


def _groups(o: _Items, own: Ints, full: Floats, partial: Floats) -> tuple[Group, ...]:
    """Full instances, and of the partial one what they leave, so that nothing of the load is lost to rounding."""
    found = [Group(int(o.place[i]), int(full[i]), float(o.capacity[i])) for i in own if full[i]]
    rest = 1.0 - sum(group.instances * group.share for group in found)
    (last,) = [i for i in own if partial[i]] or [-1]
    if last >= 0 and (rest > LEAST_SHARE or not found):
        return (*found, Group(int(o.place[last]), 1, max(0.0, rest)))
    if rest > 0.0 or not found:
        return tuple(found)
    first = found[0]
    less = Group(first.item, 1, first.share + rest)
    kept = [Group(first.item, first.instances - 1, first.share)] if first.instances > 1 else []
    return (*kept, less, *found[1:])


def _aggregated(problem: LaneProblem, o: _Items, limits: Limits) -> LanePlan:
    import cvxpy as cp

    pairs = int(o.pair.max()) + 1
    least_idle = np.full(pairs, np.inf)
    np.minimum.at(least_idle, o.pair, o.idle)
    kind = np.zeros(pairs, dtype=np.int64)
    kind[o.pair] = o.kind
    n, e = cp.Variable(pairs, integer=True), cp.Variable(pairs, nonneg=True)
    m = cp.Variable(len(o.owner), nonneg=True)
    constraints = [
        n == o.of_pair @ m + e,
        (o.of_lane * o.capacity) @ m >= 1,  # S C m >= 1
        o.use[:, kind] @ n <= o.slots,  # u n <= N
    ]
    outcome = minimise(cp.Problem(cp.Minimize(o.full @ m + least_idle @ e), constraints), limits)
    if wrong := _doubt(outcome, float(o.full @ _point(m) + least_idle @ _point(e))):
        return refused(wrong.why, AGGREGATED)
    lane = np.zeros(pairs, dtype=np.int64)
    lane[o.pair] = o.owner
    counts = np.zeros((len(problem.lanes), len(problem.kinds)), dtype=np.int64)
    counts[lane, kind] = np.rint(_point(n)).astype(np.int64)
    return _with_clocks(problem, counts, outcome.bound * o.unit_w)


def _with_clocks(problem: LaneProblem, counts: Ints, bound_w: float) -> LanePlan:
    """The counts of lanes in the problem's order at their best clocks."""
    table = lay_out(problem)
    lanes = len(problem.lanes)
    known = Service(counts[table.position], np.ones(lanes), np.zeros(0, dtype=np.int64), is_proven=False)
    found = settled(table, known)
    if found is None:
        return refused("the counts of the aggregated model carry too little", AGGREGATED)
    return written(problem, written_groups(table, found.recipe), bound_w, gap=2 * GAP, engine=AGGREGATED)


def _point(variable: cp.Variable) -> Floats:
    """Of a solver, nothing but NaN where it has none."""
    found = variable.value
    return np.full(variable.shape, np.nan) if found is None else np.asarray(found, dtype=np.float64)


def _doubt(outcome: Outcome, objective: float) -> NoAnswer | None:
    """Why an outcome cannot be believed; its point counts only where it says that there is one."""
    return doubt(outcome, objective if outcome.has_point else np.nan)


def _items(problem: LaneProblem) -> _Items:
    lanes, rows = problem.lanes, packing_rows(problem.kinds, problem.supplies, problem.quotas)
    owner = np.repeat(np.arange(len(lanes)), [len(lane) for lane in lanes])
    kind = np.concatenate([lane.kind for lane in lanes])
    unit_w = float(np.mean([(lane.full_w / lane.capacity).min() for lane in lanes])) or 1.0
    return _Items(
        owner=owner,
        place=np.concatenate([np.arange(len(lane)) for lane in lanes]),
        kind=kind,
        pair=np.unique(owner * len(problem.kinds) + kind, return_inverse=True)[1].astype(np.int64),
        capacity=np.concatenate([lane.capacity for lane in lanes]),
        idle=np.concatenate([lane.idle_w for lane in lanes]) / unit_w,
        full=np.concatenate([lane.full_w for lane in lanes]) / unit_w,
        use=rows.per_instance.T,
        slots=rows.slots,
        unit_w=unit_w,
    )
