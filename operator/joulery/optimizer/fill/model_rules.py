"""What a lane asks of its instances, as rows of a small integer programme over their counts."""

from __future__ import annotations

import math

import highspy

from joulery.optimizer.fill.kernel_rules import most_awaited
from joulery.optimizer.fill.model import Model
from joulery.optimizer.fill.table import LaneTable


def most_needed(table: LaneTable, lane: int, kind: int, capacity: float) -> float:
    """Instances of a kind beyond which one that carries so much is of no use."""
    rules = table.rules
    kept = 1.0 + float(rules.lost[lane]) * float(table.searched.hulls.most[lane].max())
    return max(math.ceil(kept / capacity) + float(rules.fewest[lane]), most_awaited(rules, lane, kind))


def add_asked(table: LaneTable, model: Model, lane: int, share: int, of_lane: dict[int, int]) -> None:
    """Fewest instances, and instances that may be lost (see `kernel_rules`), where anything is served."""
    most, fewest, lost = (
        table.searched.hulls.most[lane],
        int(table.rules.fewest[lane]),
        int(table.rules.lost[lane]),
    )
    if fewest > 1:
        serves = model.column(0.0, 1.0, is_whole=True)
        model.row([(serves, 1.0), (share, -1.0)], 0.0)
        model.row([*((c, 1.0) for c in of_lane.values()), (serves, -float(fewest))], 0.0)
    if lost:
        chosen = []
        for least in sorted({float(most[kind]) for kind in of_lane}):
            column = model.column(0.0, 1.0, is_whole=True)
            chosen.append((column, 1.0))
            kept = [(c, min(float(most[kind]), least)) for kind, c in of_lane.items()]
            model.row([*kept, (column, -(1.0 + lost * least)), (share, -1.0)], -1.0)
        model.row([*chosen, (share, -1.0)], 0.0)


def add_switching(table: LaneTable, model: Model, lane: int, of_lane: dict[int, int]) -> list[int]:
    """Starts where they cost something or are limited, and what is awaited; the columns of starts."""
    rules, awaited = table.rules, table.rules.awaited_at[lane]
    if not (table.has_limited_starts or rules.start[lane] or awaited[0] < awaited[-1]):
        return []
    starts = []
    for kind, column in of_lane.items():
        present = float(rules.running[lane, kind])
        up = model.column(float(rules.start[lane]), highspy.kHighsInf)
        model.row([(up, 1.0), (column, -1.0)], -present)
        for entry in range(awaited[kind], awaited[kind + 1]):
            short = model.column(float(rules.short[entry]), highspy.kHighsInf)
            model.row([(short, 1.0), (column, 1.0)], float(rules.awaited[entry]))
        starts.append(up)
    return starts
