"""Errors on rows that a fit has not seen: each shape held out in turn, each tensor-parallel size left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from joulery.calibration.fit import Point, Setting, fit
from joulery.calibration.form import LatencyLaw
from joulery.calibration.lanes import Lane
from joulery.calibration.measurements import Measurement

_Group = TypeVar("_Group", str, int)


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors in percent by row, positive where the model is too slow."""

    by_row: tuple[tuple[str, float], ...]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.by_row)

    @property
    def mean_percent(self) -> float:
        """Mean of absolute errors."""
        return sum(abs(e) for _, e in self.by_row) / len(self.by_row)

    @property
    def bias_percent(self) -> float:
        """Mean of errors with their sign."""
        return sum(e for _, e in self.by_row) / len(self.by_row)

    @property
    def max_percent(self) -> float:
        """Largest absolute error."""
        return abs(self.worst[1])

    @property
    def worst(self) -> tuple[str, float]:
        """The row with the largest absolute error."""
        return max(self.by_row, key=lambda row: abs(row[1]))

    def without_worst(self) -> Errors:
        """All rows but the worst."""
        return Errors(tuple(row for row in self.by_row if row != self.worst))


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of mean TTFT and mean TPOT."""

    ttft: Errors
    tpot: Errors


@dataclass(frozen=True, eq=False)
class Judged:
    """A lane's law from all its rows, its errors in and out of sample, and the laws that gave the latter."""

    lane: Lane
    law: LatencyLaw
    in_sample: Scores
    shapes: dict[str, Scores]
    sizes: dict[int, Scores]
    full: Scores | None
    other_laws: tuple[LatencyLaw, ...]

    def parameters(self) -> dict[str, float]:
        """The fitted parameters, steps by their size."""
        return _flat(self.law, self.lane.sizes)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each parameter over all fits, steps by their size."""
        laws = [_flat(law, self.lane.sizes) for law in (self.law, *self.other_laws)]
        return {name: (min(v), max(v)) for name in laws[0] if (v := [law[name] for law in laws])}


def scores(points: Sequence[Point], law: LatencyLaw) -> Scores:
    """Errors of a law on points."""
    errors = [(p.row.name, *p.errors(law)) for p in points]
    return Scores(
        Errors(tuple((name, 100.0 * ttft) for name, ttft, _ in errors)),
        Errors(tuple((name, 100.0 * tpot) for name, _, tpot in errors)),
    )


def judged(lane: Lane, setting: Setting, *, done: Callable[[], None] = lambda: None) -> Judged:
    """Fit a lane, and again without each shape and without each size; `done` is called after each fit."""
    law = fit(lane.points, setting)
    done()
    by_shape = _held_out(lane, setting, lambda row: row.shape, lane.shapes, done)
    by_size = _held_out(lane, setting, lambda row: row.tensor_parallel_size, lane.sizes, done)
    return Judged(
        lane,
        law,
        in_sample=scores(lane.points, law),
        shapes={shape: held for shape, (held, _) in by_shape.items()},
        sizes={size: held for size, (held, _) in by_size.items()},
        full=scores(lane.full, law) if lane.full else None,
        # Laws without a size know nothing of its step: they are no evidence for the ranges.
        other_laws=tuple(law for _, law in by_shape.values()),
    )


def _held_out(
    lane: Lane,
    setting: Setting,
    group: Callable[[Measurement], _Group],
    groups: Sequence[_Group],
    done: Callable[[], None],
) -> dict[_Group, tuple[Scores, LatencyLaw]]:
    """Errors on each group by the law of all others."""
    found = {}
    for held in groups:
        law = fit([p for p in lane.points if group(p.row) != held], setting)
        found[held] = scores([p for p in lane.points if group(p.row) == held], law), law
        done()
    return found


def fits_of(lane: Lane) -> int:
    """How many fits `judged` makes of a lane."""
    return 1 + len(lane.shapes) + len(lane.sizes)


def _flat(law: LatencyLaw, sizes: Sequence[int]) -> dict[str, float]:
    return dict(_named(law, sizes))


def _named(law: LatencyLaw, sizes: Sequence[int]) -> Iterator[tuple[str, float]]:
    for field in fields(law):
        value = getattr(law, field.name)
        if isinstance(value, float):
            yield field.name, value
        else:
            yield from ((f"{field.name}_tp{tp}", value[tp]) for tp in sizes)
