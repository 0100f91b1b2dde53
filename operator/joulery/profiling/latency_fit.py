"""The latency law of one accelerator from its runs; what they do not tell stays as in the profile it is fitted like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulery.calibration.fit import START, TTFT_WEIGHT
from joulery.calibration.form import LatencyLaw
from joulery.errors import ConfigError
from joulery.profiling.estimate import Estimate, Unknown, estimate
from joulery.profiling.held_out import OUT_OF_MEMORY, TPOT, TTFT, Fold, errors_by_name, folds_of
from joulery.profiling.replay import Run
from joulery.serving.instance import FIRST_STEP_TOKENS
from joulery.serving.parameters import ClockResponse, HeldOutError

Floats = npt.NDArray[np.float64]

# The least certain first: of those that the points cannot tell apart, the first stays as it was.
_OVER_SIZES = ("client_per_gpu_ms", "compute_token_undivided_us", "host_per_doubling_ms")
_AT_ANY_SIZE = ("sequence_us", "client_base_ms", "context_token_ns", "host_base_ms", "compute_token_us")
_OF_TTFT = ("client_per_gpu_ms", "client_base_ms")
_STEP_SCALE_MS = 1.0
_LEAST_CONTEXT_SPREAD = 1.5
# Times that no engine is without, and how far they may be from the known profile's, scaled by bytes.
_NEVER_NOTHING = ("host_base_ms", "compute_token_us", "context_token_ns")
_PLAUSIBLE_FACTOR = 5.0
# Twice as many measured values as parameters, so that held-out errors mean something.
_VALUES_PER_PARAMETER = 2


@dataclass(frozen=True, eq=False)
class LatencyFit:
    """A law, how sure each of its parameters is, their values without each fold, and the errors on the folds."""

    law: LatencyLaw
    estimate: Estimate
    without_fold: tuple[Mapping[str, float], ...]
    errors: tuple[HeldOutError, ...]

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest plausible value: over all fits, and two standard errors about the value."""
        value, margin = self.estimate.values[name], 2.0 * self.estimate.standard_errors[name]
        seen = [fit[name] for fit in self.without_fold if name in fit]
        return max(min([value - margin, *seen]), 0.0), max([value + margin, *seen])


def step_name(size: int) -> str:
    """Name of the kernel step of a tensor-parallel size."""
    return f"streaming_step_ms_tp{size}"


def fit_latency(
    runs: Sequence[Run], prior: LatencyLaw, clock: ClockResponse, *, source: str, done: Callable[[], None]
) -> LatencyFit:
    """Fit all runs within the KV memory and hold out by folds; `done` is called after each fit.

    Raises ConfigError naming `source` where the points are too few.
    """
    clean = [r for r in runs if not r.is_full]
    unknowns = list(_unknowns(clean, prior))
    _check_enough(clean, len(unknowns), source)
    found = estimate(unknowns, _residuals(clean, prior, clock))
    done()
    decided = [u for u in unknowns if u.name not in found.given_up]
    folds = folds_of(clean, lambda kept: _values(kept) >= max(_VALUES_PER_PARAMETER * len(decided), 2))
    refits = [_refit(fold, decided, prior, clock, done) for fold in folds]
    law = _law(prior, found.values)
    return LatencyFit(
        law,
        found,
        tuple(_told(fold, values) for fold, values in zip(folds, refits, strict=True)),
        (*_errors(folds, refits, prior, clock), *_full_errors(runs, law, clock)),
    )


def _refit(
    fold: Fold,
    decided: Sequence[Unknown],
    prior: LatencyLaw,
    clock: ClockResponse,
    done: Callable[[], None],
) -> Mapping[str, float]:
    values = estimate(decided, _residuals(fold.kept, prior, clock), decide=False).values
    done()
    return values


def _told(fold: Fold, values: Mapping[str, float]) -> Mapping[str, float]:
    """Values that the kept points speak of: they know no step of a size that is held out as a whole."""
    steps = {step_name(r.point.tensor_parallel_size) for r in fold.kept}
    return {n: v for n, v in values.items() if not n.startswith("streaming_step") or n in steps}


def _errors(
    folds: Sequence[Fold], refits: Sequence[Mapping[str, float]], prior: LatencyLaw, clock: ClockResponse
) -> Iterator[HeldOutError]:
    tpot: list[tuple[str, float]] = []
    ttft: list[tuple[str, float]] = []
    for fold, values in zip(folds, refits, strict=True):
        law = _law(prior, values)
        for run in fold.held:
            ttft_ms, tpot_ms = run.means_ms(law, clock)
            tpot.append((fold.name, tpot_ms / run.point.tpot_ms - 1.0))
            if run.point.ttft_ms is not None:
                ttft.append((fold.name, ttft_ms / run.point.ttft_ms - 1.0))
    yield from errors_by_name(TPOT, tpot)
    yield from errors_by_name(TTFT, ttft)


def _full_errors(runs: Sequence[Run], law: LatencyLaw, clock: ClockResponse) -> tuple[HeldOutError, ...]:
    full = [r for r in runs if r.is_full]
    found = ((OUT_OF_MEMORY, r.means_ms(law, clock)[1] / r.point.tpot_ms - 1.0) for r in full)
    return errors_by_name(TPOT, found)


def _unknowns(runs: Sequence[Run], prior: LatencyLaw) -> Iterator[Unknown]:
    """What the points may tell, by which sizes, loads and quantities they hold."""
    sizes = sorted({r.point.tensor_parallel_size for r in runs})
    has_ttft = any(r.point.ttft_ms is not None for r in runs)
    names = [*(_OVER_SIZES if len(sizes) > 1 else ()), *_AT_ANY_SIZE]
    contexts = [r.point.input_tokens + r.point.output_tokens / 2 for r in runs]
    has_lengths = max(contexts, default=0.0) > _LEAST_CONTEXT_SPREAD * min(contexts, default=0.0)
    told = {
        **dict.fromkeys(names, True),
        **dict.fromkeys(_OF_TTFT, has_ttft),
        # At one length each request adds the same decode, context and prefill: only their sum shows, and in TTFT
        # the prefill.
        "context_token_ns": has_lengths,
        "compute_token_us": has_lengths or has_ttft,
    }
    scalars = [n for n in names if told[n]]
    for name in (n for n in scalars if n in _OVER_SIZES):
        yield _unknown(name, getattr(prior, name))
    for size in sizes:
        batches = [r.point.concurrency for r in runs if r.point.tensor_parallel_size == size]
        if max(batches) > FIRST_STEP_TOKENS:
            yield _unknown(step_name(size), prior.streaming_step_ms[size])
    for name in (n for n in scalars if n in _AT_ANY_SIZE):
        yield _unknown(name, getattr(prior, name))


def _unknown(name: str, prior: float) -> Unknown:
    """A parameter about its prior; one that is nothing there is sought about that of another model."""
    scale = prior or getattr(START, name, _STEP_SCALE_MS)
    if name in _NEVER_NOTHING:
        return Unknown(name, prior, scale, scale / _PLAUSIBLE_FACTOR, scale * _PLAUSIBLE_FACTOR)
    return Unknown(name, prior, scale)


def _law(prior: LatencyLaw, values: Mapping[str, float]) -> LatencyLaw:
    steps = {size: values.get(step_name(size), step) for size, step in prior.streaming_step_ms.items()}
    scalars = {name: value for name, value in values.items() if not name.startswith("streaming_step")}
    return replace(prior, streaming_step_ms=steps, **scalars)


def _residuals(
    runs: Sequence[Run], prior: LatencyLaw, clock: ClockResponse
) -> Callable[[Mapping[str, float]], Floats]:
    def of(values: Mapping[str, float]) -> Floats:
        law = _law(prior, values)
        logs = []
        for run in runs:
            ttft_ms, tpot_ms = run.means_ms(law, clock)
            logs.append(np.log(tpot_ms / run.point.tpot_ms))
            if run.point.ttft_ms is not None:
                logs.append(TTFT_WEIGHT * np.log(ttft_ms / run.point.ttft_ms))
        return np.array(logs)

    return of


def _values(runs: Sequence[Run]) -> int:
    return sum(1 if r.point.ttft_ms is None else 2 for r in runs)


def _check_enough(runs: Sequence[Run], parameters: int, source: str) -> None:
    needed, held = _VALUES_PER_PARAMETER * parameters, _values(runs)
    if held < needed:
        raise ConfigError(
            f"{source}: {len(runs)} rows within the KV memory hold {held} values of ttft_ms and tpot_ms, too few for "
            f"{parameters} parameters: measure other loads, lengths or sizes until there are {needed}"
        )
