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
from joulery.calibration.dynamollm.terms import (
    TERMS,
    bounds,
    environment_of,
    length_terms,
    shipped,
    values_at,
)
from joulery.calibration.dynamollm.workload import FITTED, Workload

Floats = npt.NDArray[np.float64]

# Errors of the tables count by their size, as the bound on their mean does: some cells no smooth model explains. One
# counts as a spread of a pull does at about the mean error of a table by TP and clock alone; below the rounding of
# published values it counts by its square. Fig. 3 has a unit and no such points.
TABLE_ERROR = 0.06
ROUNDING_ERROR = 0.01
FIGURE_ERROR = 0.02
# A pattern that is right by this much (in log latency) costs nothing more, one that is wrong costs by its size.
PATTERN_WIDTH = 0.05
PATTERN_WEIGHT = 0.3
_STEP = 2e-3  # above the rounding of an engine's integer nanoseconds
_MOST_ROUNDS = 60
# Beyond this a cell is overloaded and its energy means nothing.
_FARTHEST_ERROR = 2.0


@dataclass(frozen=True, slots=True)
class How:
    """What a fit is held by: weight of the pull, physical bounds or none, terms that are held, lengths held or not.

    `unbounded` names terms that physical bounds do not hold.
    """

    pull_weight: float
    is_physical: bool
    held: tuple[tuple[str, float], ...] = ()
    has_free_lengths: bool = False
    unbounded: tuple[str, ...] = ()


# What ships, and how close the form comes to the tables when nothing holds it. Of pulls of 1, 1/2, 1/4 and 1/10 a half
# predicts a class left out best: 9.8, 9.4, 9.6 and 10.0 %, before host watts had a bound.
PHYSICAL = How(0.5, True)
FREE = How(0.25, False)
# Watts and clock trade with time in the tables: a fit without slowdown is nearly as good.
NO_SLOWDOWN = How(0.5, True, (("bandwidth_slope", 0.0),))
# The one bound that the tables press against: prompts as fast as they like, beyond the peak of the tensor cores.
BEYOND_PEAK = How(0.5, True, unbounded=("compute_token_ps",))
# Requests of any lengths within the buckets of their class.
FREE_LENGTHS = How(0.5, True, has_free_lengths=True)


@dataclass(frozen=True, eq=False)
class Fitted:
    """An environment with the values of its terms."""

    environment: Environment
    values: dict[str, float]


def fit(
    cells: Sequence[Cell],
    how: How = PHYSICAL,
    workload: Workload = FITTED,
    *,
    done: Callable[[], None] = lambda: None,
) -> Fitted:
    """The environment that explains cells and Fig. 3; `done` is called at the end."""
    profile = shipped(MODEL)
    lengths = length_terms(workload) if how.has_free_lengths else ()
    terms = (*(t for t in TERMS if t.name not in dict(how.held)), *lengths)

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
        bounds=bounds(terms, physical=how.is_physical, unbounded=how.unbounded),
        diff_step=_STEP,
        max_nfev=_MOST_ROUNDS,
    )
    done()
    return Fitted(environment_at(found.x), values_of(found.x))


def _misses(environment: Environment, cells: Sequence[Cell]) -> tuple[Floats, Floats, Floats]:
    played = play(environment, cells)
    tables = [ours / theirs - 1.0 for _, ours, theirs in relative_energies(played)]
    figure = [math.log1p(0.01 * percent) for _, percent in figure_errors(environment.profile).by_row[1:]]
    return (
        _by_size(np.clip(tables, -_FARTHEST_ERROR, _FARTHEST_ERROR)),
        np.array(figure) / FIGURE_ERROR,
        np.array([_pattern_miss(p) for p in played]),
    )


def _by_size(errors: Floats) -> Floats:
    """Signed square roots of a loss that is the size over `TABLE_ERROR`, soft below `ROUNDING_ERROR`."""
    soft = np.hypot(1.0, errors / ROUNDING_ERROR) - 1.0
    root: Floats = np.sign(errors) * np.sqrt(2.0 * ROUNDING_ERROR / TABLE_ERROR * soft)
    return root


def _pattern_miss(played: Played) -> float:
    wrong = played.lateness if played.cell.energy_wh is not None else -played.lateness
    return PATTERN_WEIGHT * math.sqrt(float(np.logaddexp(0.0, wrong / PATTERN_WIDTH)))
