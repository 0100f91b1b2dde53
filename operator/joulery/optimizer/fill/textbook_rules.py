"""What lanes ask of their instances, as rows beneath the textbook model's own.

fewest     sum of n >= fewest
lost       for one kind j:  sum of n min(C_k, C_j) >= (1 + s C_j) q_j,  sum of q_j >= 1       (see `kernel_rules`)
switching  up_k >= n_k - running_k,  short_a >= instances_a - n_k of every a that is awaited of kind k
starts     sum of up <= most, with those of pools
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.problem import Floats


@dataclass(slots=True)
class Rows:
    """Rows `sum of value x >= least` over the model's columns and new ones, each with cost, whether it is whole.

    `options` are the new columns of each pool's options.
    """

    columns: int
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    is_whole: list[bool] = field(default_factory=list)
    options: list[list[int]] = field(default_factory=list)

    def add(self, entries: list[tuple[int, float]], least: float) -> None:
        """One more row of `(column, value)`."""
        self.entries += [(len(self.least), column, value) for column, value in entries]
        self.least.append(least)

    def column(self, cost: float, *, is_whole: bool) -> int:
        """One more column."""
        self.cost.append(cost)
        self.is_whole.append(is_whole)
        return self.columns + len(self.cost) - 1


def rule_rows(
    problem: LaneProblem, columns: int, unit_w: float, loads: int | None = None
) -> tuple[Rows, list[tuple[int, float]]]:
    """Rows of all lanes, and starts by column; an item's instances are the column of its place among all items.

    Args:
        loads: how far behind its instances the column of an item's load is, where lanes may shed: the rules then
            hold for what is served.
    """
    rows, first = Rows(columns), 0
    starts: list[tuple[int, float]] = []
    for lane in problem.lanes:
        places = list(range(first, first + len(lane)))
        first += len(lane)
        if lane.fewest > 1:
            _add_fewest(rows, lane, places, loads)
        if lane.lost:
            _add_lost(rows, lane, places, loads)
        if lane.start_w or lane.awaited or problem.max_starts is not None:
            starts += [(up, 1.0) for up in _add_switching(rows, lane, places, len(problem.kinds), unit_w)]
    return rows, starts


def most_instances(lane: Lane) -> Floats:
    """Of each item, more than any plan has use for."""
    needed = np.ceil((1.0 + lane.lost * lane.capacity.max()) / lane.capacity)
    most: Floats = needed + float(lane.fewest if lane.fewest > 1 else 0)
    for wanted in lane.awaited:
        most = np.where(lane.kind == wanted.kind, np.maximum(most, wanted.instances), most)
    return most


def _served(places: list[int], loads: int | None) -> list[tuple[int, float]]:
    """What is served of a lane, with a minus, where that is less than one."""
    return [] if loads is None else [(place + loads, -1.0) for place in places]


def _add_fewest(rows: Rows, lane: Lane, places: list[int], loads: int | None) -> None:
    instances = [(place, 1.0) for place in places]
    if loads is None:
        rows.add(instances, float(lane.fewest))
        return
    serves = rows.column(0.0, is_whole=True)
    rows.add([(serves, 1.0), *_served(places, loads)], 0.0)
    rows.add([*instances, (serves, -float(lane.fewest))], 0.0)


def _add_lost(rows: Rows, lane: Lane, places: list[int], loads: int | None) -> None:
    served = _served(places, loads)
    kinds = lane.kind.tolist()
    most = {kind: float(lane.capacity[lane.kind == kind].max()) for kind in set(kinds)}
    chosen = []
    for least in sorted(set(most.values())):
        column = rows.column(0.0, is_whole=True)
        chosen.append((column, 1.0))
        values = [(place, min(most[kind], least)) for place, kind in zip(places, kinds, strict=True)]
        rows.add([*values, (column, -(1.0 + lane.lost * least)), *served], -1.0 if served else 0.0)
    rows.add([*chosen, *served], 0.0 if served else 1.0)


def _add_switching(rows: Rows, lane: Lane, places: list[int], kinds: int, unit_w: float) -> list[int]:
    """Rows of starts and of what is awaited; returns the columns of starts."""
    running, starts = dict(lane.running), []
    for kind in range(kinds):
        of_kind = [place for place, k in zip(places, lane.kind.tolist(), strict=True) if k == kind]
        up = rows.column(lane.start_w / unit_w, is_whole=False)
        rows.add([(up, 1.0), *((place, -1.0) for place in of_kind)], -float(running.get(kind, 0)))
        starts.append(up)
        for wanted in lane.awaited:
            if wanted.kind == kind:
                short = rows.column(wanted.short_w / unit_w, is_whole=False)
                rows.add([(short, 1.0), *((place, 1.0) for place in of_kind)], float(wanted.instances))
    return starts
