"""Which points a fit is kept from, and its errors on them: shape by shape where that leaves enough, else by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from joulery.profiling.replay import Run
from joulery.serving.parameters import HeldOutError

TPOT, TTFT, WATTS = "TimePerOutputToken", "TimeToFirstToken", "WattsPerGPU"
BY_ROWS = "rows, a fifth in turn"
NOTHING_FITTED = "all rows, nothing fitted"
OUT_OF_MEMORY = "out of KV memory"
_ROW_FOLDS = 5
# Shapes of fewer rows, or more of them, are the lengths of real answers, not settings of a benchmark.
_MOST_SHAPES = 8
_LEAST_ROWS = 2


@dataclass(frozen=True, eq=False)
class Fold:
    """Runs that a fit does not see, those that it does, and what the former have in common."""

    name: str
    held: tuple[Run, ...]
    kept: tuple[Run, ...]


def folds_of(runs: Sequence[Run], enough: Callable[[Sequence[Run]], bool]) -> tuple[Fold, ...]:
    """Shapes, where the runs kept are enough without each of them, else fifths of the rows; empty for a single run."""
    by_shape = _split(runs, [r.point.shape for r in runs])
    is_benchmark = 2 <= len(by_shape) <= _MOST_SHAPES and min(len(f.held) for f in by_shape) >= _LEAST_ROWS
    if is_benchmark and all(enough(f.kept) for f in by_shape):
        return by_shape
    if len(runs) < 2:
        return ()
    ordered = sorted(runs, key=lambda r: (r.point.tensor_parallel_size, r.point.concurrency, r.point.shape))
    fifths = _split(ordered, [str(i % _ROW_FOLDS) for i in range(len(ordered))])
    return tuple(Fold(BY_ROWS, f.held, f.kept) for f in fifths)


def _split(runs: Sequence[Run], labels: Sequence[str]) -> tuple[Fold, ...]:
    return tuple(
        Fold(
            name,
            tuple(r for r, label in zip(runs, labels, strict=True) if label == name),
            tuple(r for r, label in zip(runs, labels, strict=True) if label != name),
        )
        for name in dict.fromkeys(labels)
    )


def errors_by_name(quantity: str, found: Iterable[tuple[str, float]]) -> tuple[HeldOutError, ...]:
    """Errors from relative errors, each with the name of what it was held out with."""
    by_name: dict[str, list[float]] = {}
    for name, error in found:
        by_name.setdefault(name, []).append(100.0 * abs(error))
    return tuple(
        HeldOutError(quantity, name, len(errors), sum(errors) / len(errors), max(errors))
        for name, errors in by_name.items()
    )


def mean_percent(errors: Sequence[HeldOutError], quantity: str) -> float | None:
    """Mean error of a quantity over all that was held out; None where nothing was."""
    of = [e for e in errors if e.quantity == quantity and e.held_out != OUT_OF_MEMORY]
    return sum(e.points * e.mean_percent for e in of) / sum(e.points for e in of) if of else None


def summary(errors: Sequence[HeldOutError], quantity: str) -> str:
    """The errors of a quantity in words, over all that was held out."""
    of = [e for e in errors if e.quantity == quantity and e.held_out != OUT_OF_MEMORY]
    mean = mean_percent(errors, quantity)
    if mean is None:
        return "none held out"
    return f"held-out error {mean:.1f} % mean, {max(e.max_percent for e in of):.1f} % max"
