"""Watts by kind of time from measured watts: one factor on a known profile, or each kind where the points tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from joulery.calibration.form import LatencyLaw
from joulery.profiling.estimate import Estimate, Unknown, estimate
from joulery.profiling.held_out import NOTHING_FITTED, WATTS, Fold, errors_by_name, folds_of
from joulery.profiling.replay import Run
from joulery.serving.parameters import AcceleratorProfile, ClockResponse, HeldOutError, PowerParameters

Floats = npt.NDArray[np.float64]

# Powers above idle, the least certain first, and responses to the clock that watts at several clocks tell.
KINDS = ("host_w", "decode_attention_w", "weight_streaming_w", "compute_w")
FACTOR = "factor"
_LEAST_CLOCKS = 3
_LEAST_SCALE = 0.1
# A response fitted outside of these would let watts fall as clocks rise, or vanish.
_RESPONSE_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"memory_floor": (0.0, 0.99), "compute_exponent": (1.0, 4.0)}
)
RESPONSES = tuple(_RESPONSE_BOUNDS)


@dataclass(frozen=True, eq=False)
class PowerFit:
    """Watts and responses found, how sure they are, their values without each fold, and the errors on the folds.

    Values are those of `KINDS` above idle, of `RESPONSES`, or the one `FACTOR` on all kinds.
    """

    power: PowerParameters
    clock: ClockResponse
    estimate: Estimate
    without_fold: tuple[Mapping[str, float], ...]
    errors: tuple[HeldOutError, ...]

    @property
    def mean_percent(self) -> float:
        """Mean held-out error; infinite where nothing could be held out."""
        points = sum(e.points for e in self.errors)
        return sum(e.points * e.mean_percent for e in self.errors) / points if points else float("inf")

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest plausible value: over all fits, and two standard errors about the value."""
        value, margin = self.estimate.values[name], 2.0 * self.estimate.standard_errors[name]
        seen = [fit[name] for fit in self.without_fold]
        return max(min([value - margin, *seen]), 0.0), max([value + margin, *seen])


def fit_power(
    runs: Sequence[Run], law: LatencyLaw, like: AcceleratorProfile, *, done: Callable[[], None]
) -> PowerFit | None:
    """The better on held-out points of one factor and of all kinds; None without watts. `done` after each fit."""
    measured = [r for r in runs if r.point.watts_per_gpu is not None]
    if not measured:
        return None
    scaled = _fit(measured, law, like, [Unknown(FACTOR, 1.0, 1.0)], done)
    # Kinds are sought about what one factor makes of them.
    base = replace(like, power=scaled.power)
    by_kind = _fit(measured, law, base, list(_unknowns(measured, base)), done)
    return by_kind if by_kind.mean_percent < scaled.mean_percent else scaled


def _unknowns(runs: Sequence[Run], base: AcceleratorProfile) -> Iterator[Unknown]:
    clocks = {r.phi for r in runs}
    if len(clocks) >= _LEAST_CLOCKS:
        for name, (least, most) in _RESPONSE_BOUNDS.items():
            known = min(max(getattr(base.clock, name).value, least), most)
            yield Unknown(name, known, known or _LEAST_SCALE, least, most)
    idle_w = base.power.idle_loaded_w.value
    most_w = base.device.board_limit_w - idle_w
    for name in KINDS:
        above_w = max(getattr(base.power, name).value - idle_w, _LEAST_SCALE)
        yield Unknown(name, above_w, above_w, most=most_w)


def _fit(
    runs: Sequence[Run],
    law: LatencyLaw,
    base: AcceleratorProfile,
    unknowns: Sequence[Unknown],
    done: Callable[[], None],
) -> PowerFit:
    found = estimate(unknowns, _residuals(runs, law, base))
    decided = [u for u in unknowns if u.name not in found.given_up]
    # Where nothing is fitted every row is held out.
    folds = (
        folds_of(runs, lambda kept: len(kept) >= max(2 * len(decided), 1))
        if decided
        else (Fold(NOTHING_FITTED, tuple(runs), ()),)
    )
    refits = [estimate(decided, _residuals(f.kept, law, base), decide=False).values for f in folds]
    done()
    errors = []
    for fold, values in zip(folds, refits, strict=True):
        model = _with(base, values)
        errors += [(fold.name, r.watts_per_gpu(law, model) / _watts(r) - 1.0) for r in fold.held]
    model = _with(base, found.values)
    return PowerFit(model.power, model.clock, found, tuple(refits), errors_by_name(WATTS, errors))


def _residuals(
    runs: Sequence[Run], law: LatencyLaw, base: AcceleratorProfile
) -> Callable[[Mapping[str, float]], Floats]:
    def of(values: Mapping[str, float]) -> Floats:
        model = _with(base, values)
        return np.log([r.watts_per_gpu(law, model) / _watts(r) for r in runs])

    return of


def _with(base: AcceleratorProfile, values: Mapping[str, float]) -> AcceleratorProfile:
    """The accelerator with powers and responses of these values, each parameter's range following."""
    idle_w, limit_w = base.power.idle_loaded_w.value, base.device.board_limit_w
    factor = values.get(FACTOR, 1.0)
    powers, responses = {}, {}
    for name in KINDS:
        known = getattr(base.power, name)
        above_w = values.get(name, factor * (known.value - idle_w))
        powers[name] = known.moved(min(idle_w + above_w, limit_w))
    for name in RESPONSES:
        if name in values:
            responses[name] = getattr(base.clock, name).moved(values[name])
    return replace(base, power=replace(base.power, **powers), clock=replace(base.clock, **responses))


def _watts(run: Run) -> float:
    return run.point.watts_per_gpu or 0.0
