"""What the tables say of the serving model, by what was fitted: nothing, Fig. 3 and Table II, or all of them.

Bounds are the issue's. The published figures are those of two independent prototypes of the same model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulery.calibration.claims import Bound, Claim
from joulery.calibration.dynamollm.fit import Fitted
from joulery.calibration.dynamollm.fits import SAME_TOKENS, Fits, without_shared
from joulery.calibration.dynamollm.judge import (
    ACCELERATOR,
    Environment,
    Played,
    attained,
    figure_errors,
    play,
    regrets,
    relative_errors,
    rows_near_best,
)
from joulery.calibration.dynamollm.models import (
    absolute_errors,
    play_models,
    unit_scale,
    with_16_bit_weights,
)
from joulery.calibration.dynamollm.tables import MODEL, shipped_cells
from joulery.calibration.dynamollm.terms import shipped
from joulery.calibration.dynamollm.workload import FITTED, STANDARD
from joulery.calibration.holdout import Errors
from joulery.serving.parameters import EngineProfile

UNFITTED = "llama-3.1-70b-fp8"

ENERGY_BOUND = Bound(8.0, math.inf)
FIGURE_BOUND = Bound(None, 8.0)
BEST_ROWS_AT_LEAST = 6
UNFITTED_SHARE, FITTED_SHARE = 0.75, 0.85


@dataclass(frozen=True, slots=True)
class Count:
    """How many of so many are right; without `at_least` only printed."""

    quantity: str
    rows: str
    right: int
    of: int
    at_least: int | None
    published: str

    @property
    def is_met(self) -> bool | None:
        """Whether enough are right; None without a bound."""
        return None if self.at_least is None else self.right >= self.at_least


@dataclass(frozen=True, slots=True)
class Section:
    """Claims with one basis, so that what was fitted to the tables never stands beside what was not."""

    title: str
    claims: tuple[Claim | Count, ...]

    @property
    def bounded(self) -> tuple[bool, ...]:
        """Of each bound whether it is met."""
        return tuple(c.is_met for c in self.claims if c.is_met is not None)


def sections(fits: Fits) -> tuple[Section, ...]:
    """All claims, the unfitted ones first."""
    return (*_unfitted(), _predicted(fits.predicting), *_fitted(fits))


def _unfitted() -> tuple[Section, ...]:
    profile = shipped(UNFITTED)
    wide = with_16_bit_weights(profile, shipped(MODEL))
    none_of_it = "nothing of the tables or Fig. 3 in it"
    title, other = f"{UNFITTED} of 2025 with 16-bit weights", "the same as it ships, with 8-bit weights"
    return (
        _unfitted_section(f"Not fitted: {title}, {none_of_it}", wide, UNFITTED_SHARE),
        _unfitted_section(f"Not fitted: {other}, so not the paper's model, {none_of_it}", profile, None),
    )


def _unfitted_section(title: str, profile: EngineProfile, pattern_share: float | None) -> Section:
    own, tokens, medians = (
        Environment(profile, workload=workload) for workload in (STANDARD, SAME_TOKENS, FITTED)
    )
    claims = (
        *_table_claims(own, pattern_share, "7.4", "76-79 %"),
        _pattern(tokens, "Table I, so many input tokens for every class"),
        _pattern(medians, "Table I, median lengths"),
    )
    return Section(title, claims)


def _predicted(fitted: Fitted) -> Section:
    first = play(fitted.environment, without_shared(shipped_cells("I")))
    third = play_models(fitted.environment, without_shared(shipped_cells("III")))
    scale = unit_scale(play(fitted.environment, shipped_cells("II")))
    rows = "Table III, five other models by architecture"
    return Section(
        "Predicted: fitted to Fig. 3 and Table II, nothing of Tables I and III seen",
        (
            _energy(first, "Table I, eight other classes", None, ""),
            _best(first, "Table I, eight other classes", None),
            _count_pattern(first, "Table I, eight other classes", None, ""),
            _energy(third, rows, None, "1-11 fitted"),
            _claim("energy", f"{rows}, unit of Table II", absolute_errors(third, scale), None, ""),
            _best(third, rows, None),
            _count_pattern(third, rows, None, ""),
        ),
    )  # fmt: skip


def _fitted(fits: Fits) -> tuple[Section, ...]:
    judged = (fits.shipping, fits.beyond_peak, fits.free_lengths, fits.free)
    shipping, beyond_peak, lengths, free = (f.environment for f in judged)
    others = (
        ("so many input tokens for every class", fits.same_tokens),
        ("mean lengths", fits.means),
        ("no slowdown of memory with the clock", fits.no_slowdown),
    )
    second = play(shipping, shipped_cells("II"))
    return (
        Section(
            f"Fitted to Tables I, II and Fig. 3 within what the GPU can do, in sample: ships as {MODEL}",
            (
                _figure(shipping),
                *_table_claims(shipping, FITTED_SHARE, "6.4", "90 % at best"),
                _energy(second, "Table II", None, ""),
                _count_pattern(second, "Table II", None, "23 of 24"),
                *(claim for name, f in others for claim in _sensitivity(f.environment, name)),
            ),
        ),
        _left_out("The same, each class left out in turn, errors on it", fits.left_out),
        Section(
            "Fitted to the same with prompts beyond the tensor cores' peak, in sample: why what ships misses",
            (_figure(beyond_peak), *_table_claims(beyond_peak, FITTED_SHARE, "6.4", "90 % at best")),
        ),
        Section(
            "Fitted to the same with lengths free in the buckets of their class, in sample: not shipped",
            (_figure(lengths), *_table_claims(lengths, FITTED_SHARE, "6.4", "90 % at best")),
        ),
        _left_out(
            "The same, each class left out in turn, errors on it: free lengths predict worse",
            fits.left_out_free_lengths,
        ),
        Section(
            "Fitted to the same without physical bounds, in sample: how close the form comes, not shipped",
            (_figure(free), *_table_claims(free, FITTED_SHARE, "6.4", "90 % at best")),
        ),
    )  # fmt: skip


def _left_out(title: str, played: Sequence[Played]) -> Section:
    claims = (
        _energy(played, "Table I", None, ""),
        _best(played, "Table I", None),
        _count_pattern(played, "Table I", None, ""),
    )
    return Section(title, claims)


def _sensitivity(environment: Environment, name: str) -> tuple[Claim | Count, ...]:
    played = play(environment, shipped_cells("I"))
    return (
        _energy(played, f"Table I, {name}", None, ""),
        _count_pattern(played, f"Table I, {name}", None, ""),
    )


def _table_claims(
    environment: Environment, pattern_share: float | None, published: str, published_pattern: str
) -> tuple[Claim | Count, ...]:
    """All claims about Table I; without a share of the pattern none has a bound."""
    played = play(environment, shipped_cells("I"))
    own = regrets(played, own_mask=True)
    is_bounded = pattern_share is not None
    at_least = None if pattern_share is None else math.ceil(pattern_share * len(played))
    return (
        _energy(played, "Table I", ENERGY_BOUND if is_bounded else None, published),
        _energy(attained(played), "Table I, cells that attain for us too", None, ""),
        _best(played, "Table I", BEST_ROWS_AT_LEAST if is_bounded else None),
        Count("best cell, own SLO mask", "Table I", rows_near_best(own), len(own), None, ""),
        _count_pattern(played, "Table I", at_least, published_pattern),
    )


def _energy(played: Sequence[Played], rows: str, bound: Bound | None, published: str) -> Claim:
    return _claim("energy relative to TP8 at 1980 MHz", rows, relative_errors(played), bound, published)


def _figure(environment: Environment) -> Claim:
    errors = figure_errors(environment.profile)
    return _claim("watts of 8 GPUs", "Fig. 3, by load", errors, FIGURE_BOUND, "6.3 max")


def _claim(quantity: str, rows: str, errors: Errors, bound: Bound | None, published: str) -> Claim:
    return Claim(quantity, ACCELERATOR, rows, errors, bound, published)


def _best(played: Sequence[Played], rows: str, at_least: int | None) -> Count:
    found = regrets(played)
    published = "6 of 9" if at_least else ""
    return Count("best cell ours or within 3 %", rows, rows_near_best(found), len(found), at_least, published)


def _pattern(environment: Environment, rows: str) -> Count:
    return _count_pattern(play(environment, shipped_cells("I")), rows, None, "")


def _count_pattern(played: Sequence[Played], rows: str, at_least: int | None, published: str) -> Count:
    right = sum(p.pattern_is_right for p in played)
    return Count("SLO pattern", rows, right, len(played), at_least, published)
