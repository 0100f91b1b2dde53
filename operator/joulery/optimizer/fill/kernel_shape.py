"""The clocks of a shape (so many instances of each kind) that carry a lane's load for least. Loading this loads numba.

    H_k(x)   hull of kind k's clocks: least cost of an instance with load x, if clocks could be mixed
    u        slope at which hulls of all instances together carry the load: the bound is sum of H_k there
    excess   of an instance over H_k(x) - u x at its least, which is at a vertex of the hull

All instances but one are full at some clock. Those at their kind's vertex have no excess, so what is searched for
is which others there are, by rising excess: a shape's cost is its bound and the excess of all instances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulery.optimizer.fill.kernel_compiled import NOTHING, PARTIAL, Items, closing_in_kind, compiled, take
from joulery.optimizer.fill.kernel_hull import Hulls
from joulery.optimizer.fill.kernel_room import MOST_DEPTH, Draft
from joulery.optimizer.problem import Floats, Ints

# Sets of clocks to look at per shape: of one that counts, and of many of which few will.
MOST_SETS, FEW_SETS = 3000, 200


class Base(NamedTuple):
    """A shape's bound: total, slope, segment that is partly used, load left for it."""

    lower: float
    slope: float
    segment: int
    left: float


class Others(NamedTuple):
    """Clocks other than the vertices, by rising excess: item (`~item` without load), kind, capacity, excess."""

    item: Ints
    kind: Ints
    size: Floats
    excess: Floats


class Best(NamedTuple):
    """The best clocks known: excess, how many in the draft are others, kind and item of the instance not full."""

    excess: float
    depth: int
    odd: int
    partial: int


@compiled
def base_of(hulls: Hulls, lane: int, counts: Ints) -> Base:
    """The bound of a shape; infinite where it does not carry the load."""
    lower, left = 0.0, 1.0
    for kind in range(len(counts)):
        if counts[kind] > 0:
            lower += counts[kind] * hulls.idle[lane, kind]
    for segment in range(hulls.at[lane], hulls.at[lane + 1]):
        number = counts[hulls.kind[segment]]
        if number == 0:
            continue
        length = hulls.length[segment]
        if left <= number * length + NOTHING:
            slope = hulls.rise[segment] / length
            return Base(lower + left * slope, slope, segment, left)
        left -= number * length
        lower += number * hulls.rise[segment]
    return Base(np.inf, 0.0, -1, 0.0)


@compiled
def _vertices(hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft) -> None:
    """Write the clock of each kind before the segment that is partly used."""
    draft.vertex[:] = -1
    draft.used[:] = 0
    for segment in range(hulls.at[lane], base.segment):
        draft.vertex[hulls.kind[segment]] = hulls.item[segment]


@compiled
def _at_vertex(items: Items, hulls: Hulls, lane: int, kind: int, vertex: int) -> tuple[float, float]:
    """Load and cost of an instance at its kind's vertex."""
    if vertex < 0:
        return 0.0, hulls.idle[lane, kind]
    return items.capacity[vertex], items.idle[vertex] + items.slope[vertex] * items.capacity[vertex]


@compiled
def _is_repeated(items: Items, item: int, last: int) -> bool:
    """Whether the next item is as good a full instance, so that searching both would double the search."""
    after = item + 1
    if after == last or items.kind[after] != items.kind[item]:
        return False
    size = items.capacity[item]
    here = items.idle[item] + items.slope[item] * size
    is_as_cheap = items.idle[after] + items.slope[after] * size <= here
    is_repeated: bool = items.capacity[after] == size and is_as_cheap
    return is_repeated


@compiled
def _others(items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft) -> Others:
    """Clocks that are no vertex of the kinds that there are."""
    first, last = items.start[lane], items.start[lane + 1]
    kinds = len(counts)
    item = np.empty(last - first + kinds, dtype=np.int64)
    excess = np.empty(len(item))
    number = 0
    for o in range(first, last):
        kind = items.kind[o]
        if counts[kind] > 0 and o != draft.vertex[kind] and not _is_repeated(items, o, last):
            load, cost = _at_vertex(items, hulls, lane, kind, draft.vertex[kind])
            size = items.capacity[o]
            over = items.idle[o] + items.slope[o] * size - cost - base.slope * (size - load)
            item[number], excess[number] = o, max(0.0, over)
            number += 1
    for kind in range(kinds):
        if counts[kind] > 0 and draft.vertex[kind] >= 0:
            load, cost = _at_vertex(items, hulls, lane, kind, draft.vertex[kind])
            over = hulls.idle[lane, kind] - cost + base.slope * load
            item[number], excess[number] = ~hulls.idle_item[lane, kind], max(0.0, over)
            number += 1
    order = np.argsort(excess[:number], kind="mergesort")
    chosen = item[order]
    real = np.where(chosen < 0, ~chosen, chosen)
    size = np.where(chosen < 0, 0.0, items.capacity[real])
    return Others(chosen, items.kind[real], size, excess[order])


@compiled
def _odd(
    items: Items, hulls: Hulls, lane: int, kind: int, base: Base, draft: Draft, carried: float
) -> tuple[float, int]:
    """Least excess of an instance of a kind that carries what the others (and it, at its vertex) do not."""
    load, cost = _at_vertex(items, hulls, lane, kind, draft.vertex[kind])
    rest = 1.0 - carried + load
    if rest < -NOTHING or rest > hulls.most[lane, kind] + NOTHING:
        return np.inf, -1
    pieces = items.piece_at[lane]
    closing, item = closing_in_kind(items, max(0.0, rest), pieces[kind], pieces[kind + 1])
    return closing - cost - base.slope * (rest - load), item


@compiled
def _write(hulls: Hulls, lane: int, counts: Ints, draft: Draft, others: Others, best: Best) -> bool:
    """Write the best known recipe; false where it has no room for all items."""
    recipe = draft.recipe
    recipe[:] = 0
    recipe[PARTIAL] = best.partial
    is_whole = True
    for kind in range(len(counts)):
        number = counts[kind] - int(kind == best.odd)
        for at in range(best.depth):
            number -= int(others.kind[draft.best[at]] == kind)
        if number > 0:
            vertex = draft.vertex[kind]
            item = vertex if vertex >= 0 else ~hulls.idle_item[lane, kind]
            is_whole = take(recipe, item, number) and is_whole
    for at in range(best.depth):
        is_whole = take(recipe, others.item[draft.best[at]], 1) and is_whole
    return is_whole


@compiled
def _with_odd(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft, depth: int, carried: float,
    over: float, best: Best,
) -> Best:  # fmt: skip
    """The best known, or the clocks at hand with one instance of any kind that is not full."""
    for kind in range(len(counts)):
        if counts[kind] > draft.used[kind]:
            excess, partial = _odd(items, hulls, lane, kind, base, draft, carried)
            if over + excess < best.excess:
                best = Best(over + excess, depth, kind, partial)
                draft.best[:depth] = draft.place[:depth]
    return best


@compiled
def _as_bounded(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft, others: Others, carried: float
) -> Best:  # fmt: skip
    """As the bound has it: some instances at the upper end of its segment, one between its ends."""
    kind, length = hulls.kind[base.segment], hulls.length[base.segment]
    number = min(counts[kind] - 1, int(base.left / length + NOTHING))
    excess, partial = _odd(items, hulls, lane, kind, base, draft, carried + number * length)
    if number > MOST_DEPTH or excess == np.inf:
        return Best(np.inf, 0, -1, -1)
    if number > 0:
        draft.best[:number] = np.flatnonzero(others.item == hulls.item[base.segment])[0]
    return Best(excess, number, kind, partial)


@compiled
def _with_one(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft, others: Others,
    carried: float, best: Best,
) -> Best:  # fmt: skip
    """The best known, or one instance at another clock: few sets, which cut off most of the larger ones."""
    for place in range(len(others.item)):
        over = others.excess[place]
        if over >= best.excess:
            break
        kind = others.kind[place]
        draft.place[0] = place
        draft.used[kind] += 1
        here = carried + others.size[place] - _at_vertex(items, hulls, lane, kind, draft.vertex[kind])[0]
        best = _with_odd(items, hulls, lane, counts, base, draft, 1, here, over, best)
        draft.used[kind] -= 1
    return best


@compiled
def _search(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, draft: Draft, others: Others,
    carried: float, best: Best, tolerance: float, most_sets: int,
) -> tuple[Best, bool]:  # fmt: skip
    """Go through sets of other clocks, by depth first; the best, and whether no better one is left."""
    depth, over, is_all = 0, 0.0, True
    best = _with_odd(items, hulls, lane, counts, base, draft, depth, carried, over, best)
    best = _with_one(items, hulls, lane, counts, base, draft, others, carried, best)
    draft.place[0] = 0
    for _ in range(most_sets):
        place = draft.place[depth]
        is_spent = place == len(others.item) or over + others.excess[place] >= best.excess
        if is_spent or depth == MOST_DEPTH:
            is_all = is_all and is_spent
            depth -= 1
            if depth < 0 or best.excess <= tolerance:
                return best, is_all and best.excess > tolerance
            place = draft.place[depth]
            kind = others.kind[place]
            draft.used[kind] -= 1
            carried -= others.size[place] - _at_vertex(items, hulls, lane, kind, draft.vertex[kind])[0]
            over -= others.excess[place]
            draft.place[depth] += 1
            continue
        kind = others.kind[place]
        if draft.used[kind] == counts[kind]:
            draft.place[depth] += 1
            continue
        draft.used[kind] += 1
        carried += others.size[place] - _at_vertex(items, hulls, lane, kind, draft.vertex[kind])[0]
        over += others.excess[place]
        depth += 1
        draft.place[depth] = place
        best = _with_odd(items, hulls, lane, counts, base, draft, depth, carried, over, best)
    return best, False


@compiled
def settle_within(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, tolerance: float, draft: Draft, most_sets: int
) -> tuple[float, float]:  # fmt: skip
    """Find a shape's clocks, written as the draft's recipe, and return their cost and a lower bound of it.

    Args:
        tolerance: cost above the bound that is good enough.
        most_sets: of clocks to look at.
    """
    _vertices(hulls, lane, counts, base, draft)
    carried = 0.0
    for kind in range(len(counts)):
        if counts[kind] > 0:
            carried += counts[kind] * _at_vertex(items, hulls, lane, kind, draft.vertex[kind])[0]
    others = _others(items, hulls, lane, counts, base, draft)
    best = _as_bounded(items, hulls, lane, counts, base, draft, others, carried)
    is_least = False
    if best.excess > tolerance:
        best, is_least = _search(
            items, hulls, lane, counts, base, draft, others, carried, best, tolerance, most_sets
        )
    if best.odd < 0 or not _write(hulls, lane, counts, draft, others, best):
        return np.inf, base.lower
    cost = base.lower + max(0.0, best.excess)
    return cost, cost if is_least else base.lower


@compiled
def settle(
    items: Items, hulls: Hulls, lane: int, counts: Ints, base: Base, tolerance: float, draft: Draft
) -> tuple[float, float]:
    """As `settle_within` the most sets."""
    return settle_within(items, hulls, lane, counts, base, tolerance, draft, MOST_SETS)
