"""A small integer programme, put together column by column and row by row, for HiGHS."""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np

from joulery.optimizer.lp import quiet


@dataclass(slots=True)
class Model:
    """Columns from zero up to `most`, and rows between `least` and `limit`."""

    cost: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)
    is_whole: list[bool] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)

    def column(self, cost: float, most: float, *, is_whole: bool = False) -> int:
        """One more column."""
        self.cost.append(cost)
        self.most.append(most)
        self.is_whole.append(is_whole)
        return len(self.cost) - 1

    def row(self, entries: list[tuple[int, float]], least: float, limit: float = highspy.kHighsInf) -> None:
        """One more row of `(column, value)`."""
        self.entries += [(len(self.least), column, value) for column, value in entries]
        self.least.append(least)
        self.limit.append(limit)

    def passed(self) -> highspy.Highs:
        """HiGHS with the model, without an objective."""
        row, column, value = (np.array(part) for part in zip(*self.entries, strict=True))
        order = np.lexsort((row, column))
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.cost), len(self.least)
        model.col_cost_, model.col_lower_ = np.zeros(len(self.cost)), np.zeros(len(self.cost))
        model.col_upper_ = np.array(self.most)
        model.row_lower_, model.row_upper_ = np.array(self.least), np.array(self.limit)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        starts = np.searchsorted(column[order], np.arange(len(self.cost) + 1))
        model.a_matrix_.start_ = starts.astype(np.int32)
        model.a_matrix_.index_, model.a_matrix_.value_ = row[order].astype(np.int32), value[order]
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[int(is_whole)] for is_whole in self.is_whole]
        highs = quiet()
        highs.passModel(model)
        return highs
