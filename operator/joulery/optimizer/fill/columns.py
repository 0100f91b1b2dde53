"""Engine `columns` for lanes that fill and pools beside them: prices, a whole choice round them, and its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from joulery.optimizer.fill.blocks import joined, nearest_options, written_blocks
from joulery.optimizer.fill.changes import least_changed
from joulery.optimizer.fill.deadline import Deadline
from joulery.optimizer.fill.engine import (
    ASIDE,
    FIRST_UNITS,
    MISSING_TOLERANCE,
    Effort,
    PriceResult,
    effort_for,
    find_prices,
)
from joulery.optimizer.fill.finish import OF_GAP, Finished, finish
from joulery.optimizer.fill.gap import AtBest, closed, is_open
from joulery.optimizer.fill.kernel_compiled import FIRST_COUNT
from joulery.optimizer.fill.lane import LaneProblem
from joulery.optimizer.fill.layout import lay_out
from joulery.optimizer.fill.mixtures import mixtures
from joulery.optimizer.fill.plan import LanePlan, RowPrice, refused, written
from joulery.optimizer.fill.pricing import priced, proven
from joulery.optimizer.fill.service import Service
from joulery.optimizer.fill.settled import settled
from joulery.optimizer.fill.table import Configured, LaneTable
from joulery.optimizer.fill.whole import Chosen, choose_whole
from joulery.optimizer.problem import Floats

ENGINE = "columns"
# Relative gap of the integer programme.
INTEGER_GAP = 1e-4
# Up to this many lanes and pools all configurations that could matter are few enough to search through.
MOST_SEARCHED = 30
# Up to this many, the configurations that a few lanes could change to are.
MOST_CHANGED = 200
# Above this many full instances per lane they are too many; mixtures are then tried for up to MOST_MIXED lanes.
MOST_INSTANCES, MOST_MIXED = 8.0, 50
FURTHER_ASIDE, TILTS = (0.5, 0.7, 0.93, 1.07, 1.4, 2.0), (0.5, 0.8, 1.25, 2.0)
# Options of pools per packing row that whole choices are offered.
OPTIONS_PER_ROW = 600
# From this many lanes and pools on a sample's prices come first.
FEWEST_SAMPLED, SAMPLED_EVERY = 500, 12
# In units of the deadline: proven values of all lanes; alternatives and what an integer programme needs.
PROOF_UNITS, LAST_UNITS = 3.0, 2.0


def by_prices(
    problem: LaneProblem, prices: Sequence[RowPrice], deadline: Deadline, known: Service | None = None
) -> LanePlan | None:
    """The plan of a faultless problem with at least one lane; None where none is found that serves all.

    Args:
        known: instances of each lane and options of pools that serve all within supply, where some are known.
    """
    began_s = deadline.now_s
    table = lay_out(problem)
    deadline = deadline.measured(began_s)
    effort = effort_for(table)
    at_hand = None if known is None else settled(table, known)
    start = _known(table, prices or _sampled(problem, table, deadline))
    result = find_prices(table, effort, start, at_hand, deadline)
    if result is None:
        is_late = not deadline.allows(FIRST_UNITS)
        return refused(
            "no time for prices" if is_late else "HiGHS has no optimum of the master problem", ENGINE
        )
    if result.missing > MISSING_TOLERANCE:
        return None
    chosen, bound = _whole(table, effort, result, deadline, has_aside=start is not None)
    if chosen is None and at_hand is not None:
        chosen = Chosen(at_hand, table.plan_cost(at_hand))
    if chosen is None:
        return None if deadline.allows(LAST_UNITS) else refused("no time for a whole choice", ENGINE)
    groups, options = written_blocks(table, chosen.configured.recipe)
    plan = written(problem, groups, bound * table.unit_w, gap=effort.gap, engine=ENGINE, options=options)
    return replace(plan, prices=_told(table, result.prices))


def _whole(
    table: LaneTable, effort: Effort, result: PriceResult, deadline: Deadline, *, has_aside: bool
) -> tuple[Chosen | None, float]:
    """The best whole choice and a bound: by search where lanes are few or dozens, else by a small integer programme.

    Args:
        has_aside: whether configurations at prices beside were seen on the way, since it began near the best ones.
    """
    if not deadline.allows(PROOF_UNITS):
        return None, result.bound
    tolerance = OF_GAP * effort.gap * abs(result.bound) / table.blocks
    at_best, value = proven(table, result.prices, result.best.configured, result.best.value, tolerance)
    found = _near_bound(table, effort, result, at_best, value, deadline, has_aside=has_aside)
    if is_open(found, effort.gap) and deadline.allows(LAST_UNITS):
        near = joined(_alternatives(table, effort, result, at_best, is_large=False))
        found = closed(AtBest(table, result, value, near, effort.gap), found, deadline)
    return found.chosen, found.bound


def _near_bound(
    table: LaneTable,
    effort: Effort,
    result: PriceResult,
    at_best: Configured,
    value: Floats,
    deadline: Deadline,
    *,
    has_aside: bool,
) -> Finished:
    """As `_whole`, of configurations near the bound."""
    bound = table.lower_bound(value, result.prices)
    instances = at_best.recipe[: table.lanes, FIRST_COUNT:].sum() / table.lanes
    # Searches count groups of GPUs, of which those on nodes that are off cost more than others.
    is_few = table.blocks <= MOST_SEARCHED and not table.has_nodes
    if is_few and instances <= MOST_INSTANCES:
        finished = finish(table, result.prices, value, bound, None, effort.gap, deadline)
        if finished.chosen is not None:
            return finished
    near: tuple[Configured, ...] = ()
    if MOST_SEARCHED < table.blocks <= MOST_CHANGED and not table.has_nodes:
        finished, near = least_changed(table, result.prices, value, bound, effort.gap, deadline)
        if finished.chosen is not None:
            return finished
    if not deadline.allows(LAST_UNITS):
        return Finished(None, bound)
    is_large = instances > MOST_INSTANCES
    extra = (
        [at_best]
        if has_aside and not is_few
        else _alternatives(table, effort, result, at_best, is_large=is_large)
    )
    number = OPTIONS_PER_ROW * len(table.rows.slots)
    extra += [*near, *nearest_options(table, result.prices, value, number)]
    chosen = choose_whole(table, result, joined(extra), INTEGER_GAP, deadline)
    if is_few and (chosen is None or chosen.cost - bound > effort.gap * abs(bound)):
        return finish(table, result.prices, value, bound, chosen, effort.gap, deadline)
    return Finished(chosen, bound)


def _alternatives(
    table: LaneTable, effort: Effort, result: PriceResult, at_best: Configured, *, is_large: bool
) -> list[Configured]:
    """Configurations beside those that the master has seen; mixtures too where a few lanes are large."""
    is_mixed = is_large and table.lanes <= MOST_MIXED and not table.has_rules
    factors = (*ASIDE, *FURTHER_ASIDE) if is_mixed else ASIDE
    aside = [priced(table, result.prices * factor, effort.cells)[0] for factor in factors]
    tilts = _tilts(len(result.prices)) if is_mixed else []
    return [at_best, *aside, *(mixtures(table, result.prices * tilt) for tilt in tilts)]


def _sampled(problem: LaneProblem, table: LaneTable, deadline: Deadline) -> tuple[RowPrice, ...]:
    """Prices of every twelfth lane and pool on as much supply: near those of all, for a fraction of the calls."""
    if table.blocks < FEWEST_SAMPLED:
        return ()
    lanes = tuple(problem.lanes[p] for p in table.position[::SAMPLED_EVERY].tolist())
    by_key = sorted(problem.pools, key=lambda pool: pool.key)
    sample = lay_out(replace(problem, lanes=lanes, pools=tuple(by_key[::SAMPLED_EVERY])))
    sample = replace(sample, rows=table.rows.part(sample.blocks / table.blocks))
    result = find_prices(sample, effort_for(sample), None, None, deadline)
    return () if result is None else _told(sample, result.prices)


def _tilts(rows: int) -> list[Floats]:
    """Factors on prices: none, on all, and on each alone, so that clocks of mixtures differ by accelerator."""
    factors = [np.ones(rows), *(np.full(rows, tilt) for tilt in TILTS)]
    if rows > 1:
        factors += [np.where(np.arange(rows) == row, tilt, 1.0) for row in range(rows) for tilt in TILTS]
    return factors


def _known(table: LaneTable, prices: Sequence[RowPrice]) -> Floats | None:
    if not prices:
        return None
    known = {(price.accelerator, price.size): price.watts / table.unit_w for price in prices}
    rows = zip(table.rows.accelerator, table.rows.size.tolist(), strict=True)
    return np.array([known.get(row, 0.0) for row in rows])


def _told(table: LaneTable, prices: Floats) -> tuple[RowPrice, ...]:
    rows = zip(
        table.rows.accelerator, table.rows.size.tolist(), (prices * table.unit_w).tolist(), strict=True
    )
    return tuple(RowPrice(*row) for row in rows)
