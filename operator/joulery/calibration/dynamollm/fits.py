"""All fits that are judged: what ships, what it is held against, and each class of Table I left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from joulery.calibration.dynamollm.fit import (
    BEYOND_PEAK,
    FREE,
    FREE_LENGTHS,
    NO_SLOWDOWN,
    PHYSICAL,
    Fitted,
    How,
    fit,
)
from joulery.calibration.dynamollm.judge import Played, play
from joulery.calibration.dynamollm.tables import CLASSES, MODEL, Cell, shipped_cells
from joulery.calibration.dynamollm.workload import MEDIAN_LENGTHS, STANDARD, Reading, Workload

SAME_TOKENS = Workload(reading=Reading.SAME_TOKENS)
_SAME_TOKENS_FITTED = Workload(MEDIAN_LENGTHS, Reading.SAME_TOKENS)


@dataclass(frozen=True, eq=False)
class Fits:
    """The environments that are judged; `ranges` are those whose terms span the bands of what ships."""

    predicting: Fitted
    shipping: Fitted
    free_lengths: Fitted
    free: Fitted
    same_tokens: Fitted
    means: Fitted
    no_slowdown: Fitted
    beyond_peak: Fitted
    left_out: tuple[Played, ...]
    left_out_free_lengths: tuple[Played, ...]

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest value of each term."""
        of = (self.shipping, self.predicting, self.same_tokens, self.means, self.no_slowdown)
        return {n: (min(v), max(v)) for n in self.shipping.values if (v := [f.values[n] for f in of])}


FITS = 8 + 2 * len(CLASSES)


def all_fits(*, done: Callable[[], None] = lambda: None) -> Fits:
    """All fits; `done` is called `FITS` times."""
    second = shipped_cells("II")
    both = (*shipped_cells("I"), *without_shared(second))
    return Fits(
        predicting=fit(second, done=done),
        shipping=fit(both, done=done),
        free_lengths=fit(both, FREE_LENGTHS, done=done),
        free=fit(both, FREE, done=done),
        same_tokens=fit(both, PHYSICAL, _SAME_TOKENS_FITTED, done=done),
        means=fit(both, PHYSICAL, STANDARD, done=done),
        no_slowdown=fit(both, NO_SLOWDOWN, done=done),
        beyond_peak=fit(both, BEYOND_PEAK, done=done),
        left_out=_left_out(both, PHYSICAL, done),
        left_out_free_lengths=_left_out(both, FREE_LENGTHS, done),
    )


def without_shared(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Without the row that all three tables have: MM of Llama-2-70B at 2000 tokens/s."""
    shared = (MODEL, "MM", 2000.0)
    return tuple(c for c in cells if (c.model, c.request_class, c.input_tokens_per_s) != shared)


def _left_out(cells: Sequence[Cell], how: How, done: Callable[[], None]) -> tuple[Played, ...]:
    """Every class of Table I in an environment fitted to all cells of the others; MM without Table II."""
    found: list[Played] = []
    for name in CLASSES:
        environment = fit([c for c in cells if c.request_class != name], how, done=done).environment
        found += play(environment, [c for c in cells if (c.table, c.request_class) == ("I", name)])
    return tuple(found)
