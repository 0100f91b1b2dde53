"""Least squares that knows what its data cannot tell: parameters that the points do not decide are given up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from joulery.calibration.fit import SOFT_ERROR

Floats = npt.NDArray[np.float64]
Residuals = Callable[[Mapping[str, float]], Floats]

# A fit may find so many times the scale.
_LARGEST_FACTOR = 20.0
# Times and watts are not measured better than this, so that a perfect fit does not decide what no data can.
_LEAST_NOISE = 0.01
# A standard error above this share of the value, or of where it started, decides nothing.
UNDECIDED_SHARE = 0.5
_AT_BOUND = 0.01
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Unknown:
    """A parameter to be found between bounds.

    `prior` is what stays if it is given up; `scale`, above 0, is a plausible value: start and unit of the search.
    Where `least` is above 0 the bounds are those of what can be: a fit that ends at one has found nothing.
    """

    name: str
    prior: float
    scale: float
    least: float = 0.0
    most: float = math.inf

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds as factors of the scale."""
        return self.least / self.scale, min(self.most / self.scale, _LARGEST_FACTOR)

    def is_decided(self, factor: float, standard_error: float) -> bool:
        """Whether the data tell it; both are factors of the scale."""
        if not standard_error <= UNDECIDED_SHARE * max(factor, 1.0):
            return False
        low, high = self.bounds
        return self.least == 0.0 or low + _AT_BOUND < factor < high - _AT_BOUND


@dataclass(frozen=True, slots=True)
class Estimate:
    """Values of all parameters; standard errors of those that the data decided, the others are as before."""

    values: Mapping[str, float]
    standard_errors: Mapping[str, float]

    @property
    def given_up(self) -> frozenset[str]:
        """Parameters that kept their prior."""
        return frozenset(self.values) - frozenset(self.standard_errors)


def estimate(unknowns: Sequence[Unknown], residuals: Residuals, *, decide: bool = True) -> Estimate:
    """Fit relative residuals by soft L1.

    Args:
        unknowns: what is sought, the least certain first: of several that the data leave open the first is given up.
        residuals: logarithms of model over measured, for values by name.
        decide: whether parameters may be given up.
    """
    priors = {u.name: u.prior for u in unknowns}
    sought = list(unknowns)
    while sought:
        factors, errors = _solve(sought, priors, residuals)
        open_ones = [
            unknown
            for unknown, factor, error in zip(sought, factors, errors, strict=True)
            if not unknown.is_decided(factor, error)
        ]
        if not (decide and open_ones):
            values = {u.name: u.scale * f for u, f in zip(sought, factors, strict=True)}
            spread = {u.name: u.scale * e for u, e in zip(sought, errors, strict=True)}
            return Estimate(priors | values, spread)
        sought.remove(open_ones[0])
    return Estimate(priors, {})


def _solve(
    sought: Sequence[Unknown], priors: Mapping[str, float], residuals: Residuals
) -> tuple[list[float], list[float]]:
    """Factors of the scales and their standard errors."""

    def of_factors(factors: Floats) -> Floats:
        moved = {u.name: u.scale * float(f) for u, f in zip(sought, factors, strict=True)}
        return residuals({**priors, **moved})

    bounds = np.array([u.bounds for u in sought]).T
    # The search starts inside of the bounds: a scale may be one.
    start = np.clip(np.ones(len(sought)), bounds[0] + 1e-3, bounds[1] - 1e-3)
    options = {"loss": "soft_l1", "f_scale": SOFT_ERROR, "xtol": _TOLERANCE, "ftol": _TOLERANCE}
    found = least_squares(of_factors, start, bounds=(bounds[0], bounds[1]), **options)
    freedom = max(len(found.fun) - len(sought), 1)
    noise = max(math.sqrt(2.0 * found.cost / freedom), _LEAST_NOISE)
    return found.x.tolist(), (noise * _spread(found.jac)).tolist()


def _spread(jacobian: Floats) -> Floats:
    """Square roots of the diagonal of (J'J)^-1, huge where columns cannot be told apart."""
    _, singular, rows = np.linalg.svd(jacobian, full_matrices=False)
    least = 1e-12 * max(float(singular[0]), 1e-12)
    missing = jacobian.shape[1] - len(singular)
    if missing > 0:
        return np.full(jacobian.shape[1], math.inf)
    spread: Floats = np.sqrt(((rows / np.maximum(singular, least)[:, None]) ** 2).sum(axis=0))
    return spread
