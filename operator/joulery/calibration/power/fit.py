"""Laws of watts by least squares of relative errors, and the offset of one deployment from one measured row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from joulery.calibration.power.form import (
    BOARD_LIMIT_W,
    KindWatts,
    SmallBatchLine,
    TimeShareLaw,
    UtilisationLaw,
    utilisation,
)
from joulery.calibration.power.rows import PowerRow
from joulery.calibration.power.split import Floats, Split
from joulery.errors import ConfigError

# No kind of time draws less than a loaded GPU with nothing to do, nor more than the board.
IDLE_LOADED_W = 90.0
# Plain starts far from the results.
_KINDS_START = KindWatts(200.0, 500.0, 500.0, 650.0)
_UTILISATION_START, _UTILISATION_MOST = (300.0, 100.0, 500.0, 500.0, 0.5), (700.0, 2e3, 5e3, 5e3, 2.0)
_ROWS_PER_PARAMETER = 2


def fit_kinds(rows: Sequence[PowerRow], split: Split) -> TimeShareLaw:
    """Watts by kind of time. Raises ConfigError where the rows are too few."""
    _check_enough(rows, len(_KINDS_START.array))
    shares = np.array([split.shares(r).array for r in rows])
    measured = _measured(rows)
    found = least_squares(
        lambda x: shares @ x / measured - 1.0, _KINDS_START.array, bounds=(IDLE_LOADED_W, BOARD_LIMIT_W)
    )
    return TimeShareLaw(KindWatts(*found.x.tolist()), split)


def fit_utilisation(rows: Sequence[PowerRow]) -> UtilisationLaw:
    """The utilisation form. Raises ConfigError where the rows are too few."""
    _check_enough(rows, len(_UTILISATION_START))
    measured, scale = _measured(rows), np.array(_UTILISATION_START)

    def residuals(x: Floats) -> Floats:
        law = UtilisationLaw(*(x * scale).tolist())
        return np.array([law.watts(r) for r in rows]) / measured - 1.0

    most = np.array(_UTILISATION_MOST) / scale
    found = least_squares(residuals, np.ones(len(scale)), bounds=(0.0, most))
    return UtilisationLaw(*(found.x * scale).tolist())


def fit_line(rows: Sequence[PowerRow]) -> SmallBatchLine:
    """The line of small batches. Raises ConfigError where the rows are too few."""
    _check_enough(rows, 2)
    weights = np.array([utilisation(r)[0] for r in rows])
    terms = np.stack([np.ones(len(rows)), weights], axis=1) / _measured(rows)[:, None]
    base, slope = np.linalg.lstsq(terms, np.ones(len(rows)))[0].tolist()
    return SmallBatchLine(base, slope)


def with_offset(law: TimeShareLaw, row: PowerRow) -> TimeShareLaw:
    """The law with the offset that makes it exact at one row, as far as the board limit of each kind lets it."""
    return replace(law, offset=row.watts_per_gpu / law.watts(row))


def _measured(rows: Sequence[PowerRow]) -> Floats:
    return np.array([r.watts_per_gpu for r in rows])


def _check_enough(rows: Sequence[PowerRow], parameters: int) -> None:
    if len(rows) < _ROWS_PER_PARAMETER * parameters:
        raise ConfigError(
            f"{len(rows)} rows of watts are too few for {parameters} parameters: "
            f"at least {_ROWS_PER_PARAMETER * parameters} are needed"
        )
