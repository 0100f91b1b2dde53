"""The cheapest partition: whole for few atoms, by single steps for many, asking for few costs.

Costs of lanes are dear (operating points of their own mix), estimates are cheap. So the best partition by what is
known and guessed is found, its unknown lanes are priced, and again, until the best one is known in all its lanes;
then the same with what unpriced lanes cost at least, until none of them can be better or the budget is spent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from joulery.optimizer.lanes.costs import NEVER, Board, Look, Value

# Ten atoms have 1,023 lanes and 29,524 ways to split one off: 0.1 s of interpreted code.
MOST_WHOLE = 10


class Quality(StrEnum):
    """How far a partition is proven under the costs that were given."""

    OPTIMAL = "Optimal"
    """No partition costs less, as far as estimates keep their stated error."""
    BOUNDED = "Bounded"
    """The best of those that were priced; `bound_w`, where there is one, says how much better another may be."""
    LOCAL = "Local"
    """No single merge, move or split costs less; nothing is proven of others."""
    FIXED = "Fixed"
    """As the policy asks; there was nothing to choose."""


@dataclass(frozen=True, slots=True)
class Found:
    """A partition as masks over a board's atoms, sorted, with its value and quality.

    `floor` is what no partition of the board comes below; None where nothing is known.
    """

    masks: tuple[int, ...]
    value: Value
    quality: Quality
    floor: Value | None


def cheapest(board: Board, starts: Sequence[tuple[int, ...]], most_priced: int) -> Found:
    """The best partition within so many priced lanes more, never worse than any of the starts.

    The starts are priced in any case.
    """
    for masks in starts:
        for mask in masks:
            board.cost(mask)
    first = board.priced
    is_whole = len(board.atoms) <= MOST_WHOLE
    reached, is_closed = list(starts), True
    for look in (Look.GUESS, Look.FLOOR) if is_whole else (Look.GUESS,):
        masks, is_closed = _until_known(board, look, starts, first + most_priced)
        reached += [masks] if is_closed else []
    reached.append(_best(board, Look.NOTHING, tuple(reached)))
    best = min(reached, key=lambda masks: (board.total(masks), masks))
    value = board.total(best)
    if not is_whole:
        return Found(best, value, Quality.LOCAL, None)
    floor = board.total(_best(board, Look.FLOOR, starts), Look.FLOOR)
    return Found(best, value, Quality.OPTIMAL if is_closed else Quality.BOUNDED, min(floor, value))


def _until_known(
    board: Board, look: Look, starts: Sequence[tuple[int, ...]], most_priced: int
) -> tuple[tuple[int, ...], bool]:
    """The best partition with its lanes priced, or the one at which the budget ended."""
    while True:
        masks = _best(board, look, starts)
        unknown = [mask for mask in masks if not board.is_known(mask)]
        if not unknown:
            return masks, True
        if board.priced + len(unknown) > most_priced:
            return masks, False
        for mask in unknown:
            board.cost(mask)


def _best(board: Board, look: Look, starts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if len(board.atoms) <= MOST_WHOLE:
        return _of_all(board, look)
    reached = [_by_steps(board, look, start) for start in starts]
    return min(reached, key=lambda masks: (board.total(masks, look), masks))


def _of_all(board: Board, look: Look) -> tuple[int, ...]:
    """Dynamic programme over sets of atoms: the lane of the first atom, and the best of the rest."""
    values = [NEVER] + [board.value(mask, look) for mask in range(1, board.whole + 1)]
    best = [Value(0, 0.0, 0)] + [NEVER] * board.whole
    taken = [0] * (board.whole + 1)
    for rest in range(1, board.whole + 1):
        for mask in _with_first(rest):
            if values[mask] is NEVER:
                continue
            value = values[mask] + best[rest ^ mask]
            if value < best[rest]:
                best[rest], taken[rest] = value, mask
    masks, rest = [], board.whole
    while rest:
        masks.append(taken[rest])
        rest ^= taken[rest]
    return tuple(sorted(masks))


def _with_first(rest: int) -> Iterator[int]:
    """Subsets of a set that hold its lowest member."""
    first = rest & -rest
    others = rest ^ first
    subset = others
    while True:
        yield subset | first
        if not subset:
            return
        subset = (subset - 1) & others


def _by_steps(board: Board, look: Look, start: tuple[int, ...]) -> tuple[int, ...]:
    """The best step again and again; each costs less than the one before, so it ends."""
    masks = tuple(sorted(start))
    value = board.total(masks, look)
    while True:
        step = min(
            ((board.total(near, look), near) for near in _near(masks, board.singles)), default=(value, masks)
        )
        if not step[0] < value:
            return masks
        value, masks = step


def _near(masks: tuple[int, ...], singles: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Partitions one step away: two lanes merged, or one atom moved to another lane or to one of its own."""
    for place, first in enumerate(masks):
        for second in masks[place + 1 :]:
            yield tuple(sorted({*masks} - {first, second} | {first | second}))
    for atom in singles:
        home = next(mask for mask in masks if mask & atom)
        if home == atom:
            continue
        for other in (0, *masks):
            if other != home:
                yield tuple(sorted({*masks} - {home, other} | {home ^ atom, other | atom}))
