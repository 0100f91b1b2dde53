"""Terms by least squares over relative energies, SLO pattern and Fig. 3, pulled towards what is known of the GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from joulery.calibration.dynamollm.judge import (
    Environment,
    Played,
    figure_errors,
    play,
    relative_energies,
)
from joulery.calibration.dynamollm.tables import MODEL, Cell
from joulery.calibration.dynamollm.terms import TERMS, bounds, environment_of, shipped, values_at
from joulery.calibration.dynamollm.workload import STANDARD, Workload

Floats = npt.NDArray[np.float64]

# Errors of the tables count by their square up to about this and by their size beyond: some cells no smooth model
# explains. Fig. 3 has a unit and no such points.
SOFT_TABLE_ERROR = 0.06
FIGURE_ERROR = 0.02
# A pattern that is right by this much (in log latency) costs nothing more, one that is wrong costs by its size.
PATTERN_WIDTH = 0.05
PATTERN_WEIGHT = 0.3
_STEP = 2e-3  # above the rounding of an engine's integer nanoseconds
_MOST_ROUNDS = 60
# Beyond this a cell is overloaded and its energy means nothing.
_FARTHEST_LOG = 1.0


@dataclass(frozen=True, slots=True)
class How:
    """What a fit is held by: weight of the pull, physical bounds or none, terms not fitted but held."""

    pull_weight: float
    is_physical: bool
    held: tuple[tuple[str, float], ...] = ()


# What ships, and how close the form comes to the tables when nothing holds it.
PHYSICAL = How(1.0, True)
FREE = How(0.25, False)
# Watts and clock trade with time in the tables: a fit without slowdown is nearly as good.
NO_SLOWDOWN = How(1.0, True, (("bandwidth_slope", 0.0),))


@dataclass(frozen=True, eq=False)
class Fitted:
    """An environment with the values of its terms."""

    environment: Environment
    values: dict[str, float]


def fit(
    cells: Sequence[Cell],
    how: How = PHYSICAL,
    workload: Workload = STANDARD,
    *,
    done: Callable[[], None] = lambda: None,
) -> Fitted:
    """The environment that explains cells and Fig. 3; `done` is called at the end."""
    profile = shipped(MODEL)
    terms = tuple(t for t in TERMS if t.name not in dict(how.held))

    def values_of(places: Floats) -> dict[str, float]:
        return values_at(terms, places) | dict(how.held)

    def environment_at(places: Floats) -> Environment:
        return environment_of(profile, values_of(places), workload)

    def residuals(places: Floats) -> Floats:
        environment = environment_at(places)
        return np.concatenate([*_misses(environment, cells), how.pull_weight * (places - 1.0)])

    found = least_squares(
        residuals,
        np.ones(len(terms)),
        bounds=bounds(terms, physical=how.is_physical),
        diff_step=_STEP,
        max_nfev=_MOST_ROUNDS,
    )
    done()
    return Fitted(environment_at(found.x), values_of(found.x))


def _misses(environment: Environment, cells: Sequence[Cell]) -> tuple[Floats, Floats, Floats]:
    played = play(environment, cells)
    tables = [math.log(ours / theirs) for _, ours, theirs in relative_energies(played)]
    figure = [math.log1p(0.01 * percent) for _, percent in figure_errors(environment.profile).by_row[1:]]
    return (
        _soft(np.clip(tables, -_FARTHEST_LOG, _FARTHEST_LOG), SOFT_TABLE_ERROR),
        np.array(figure) / FIGURE_ERROR,
        np.array([_pattern_miss(p) for p in played]),
    )


def _soft(errors: Floats, scale: float) -> Floats:
    """Signed square roots of the soft-L1 loss."""
    root: Floats = np.sign(errors) * np.sqrt(2.0 * (np.hypot(1.0, errors / scale) - 1.0))
    return root


def _pattern_miss(played: Played) -> float:
    wrong = played.lateness if played.cell.energy_wh is not None else -played.lateness
    return PATTERN_WEIGHT * math.sqrt(float(np.logaddexp(0.0, wrong / PATTERN_WIDTH)))
