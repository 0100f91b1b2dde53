"""Parameters of a `LatencyLaw` by least squares over all tensor-parallel sizes of one accelerator.

Minimised is the soft-L1 sum of log TPOT and 0.3 log TTFT errors: single outliers of a benchmark do not bend the
law. The time of streaming the weights is not fitted (bytes over bandwidth at 85 %), nor is a quadratic term of
prefill attention: on these rows it cannot be told from the linear one and costs 40 to 70 % outside of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from joulery.calibration.form import LatencyLaw, Replayed
from joulery.calibration.measurements import Measurement
from joulery.errors import ConfigError

Floats = npt.NDArray[np.float64]

TTFT_WEIGHT = 0.3
# Errors count by their square up to about this and by their size beyond.
SOFT_ERROR = 0.05
# Tight enough for the same printed digits on every machine.
_TOLERANCE = 1e-11
# Twice as many measured values as parameters, so that held-out errors mean something.
_VALUES_PER_PARAMETER = 2

# A plain start far from both accelerators' results; the fit finds the same from others.
START = LatencyLaw(
    host_base_ms=3.0,
    host_per_doubling_ms=1.0,
    weight_streaming_ms=math.nan,
    compute_token_us=150.0,
    compute_token_undivided_us=15.0,
    context_token_ns=100.0,
    sequence_us=40.0,
    client_base_ms=10.0,
    client_per_gpu_ms=2.0,
    streaming_step_ms={},
)
_STEP_START_MS = 1.0
_DECLARED = ("weight_streaming_ms", "streaming_step_ms")
_FITTED = tuple(f.name for f in fields(LatencyLaw) if f.name not in _DECLARED)


@dataclass(frozen=True, eq=False)
class Point:
    """A measured row and the client's run on its variant."""

    row: Measurement
    run: Replayed

    def errors(self, law: LatencyLaw) -> tuple[float, float]:
        """Relative errors of TTFT and TPOT under a law, positive where it is too slow."""
        ttft_ms, tpot_ms = self.run.means_ms(law)
        return ttft_ms / self.row.ttft_ms - 1.0, tpot_ms / self.row.tpot_ms - 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a fit takes as given: time to stream the weights once on one GPU, weight of TTFT.

    Without weight for TTFT the client's overhead stays 0.
    """

    weight_streaming_ms: float
    ttft_weight: float = TTFT_WEIGHT

    @property
    def without_ttft(self) -> Setting:
        """The same by TPOT alone."""
        return replace(self, ttft_weight=0.0)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Names of the parameters that the points decide, apart from the steps."""
        return _FITTED if self.ttft_weight else tuple(n for n in _FITTED if not n.startswith("client"))

    @property
    def start(self) -> LatencyLaw:
        """Where the fit starts."""
        start = replace(
            START,
            weight_streaming_ms=self.weight_streaming_ms,
        )
        return start if self.ttft_weight else replace(start, client_base_ms=0.0, client_per_gpu_ms=0.0)


def fit(points: Sequence[Point], setting: Setting) -> LatencyLaw:
    """The law of the points. Raises ConfigError where there are too few.

    Sizes that no point has get the mean step of those that have: a step is a choice of kernels, not a law.
    """
    sizes = sorted({p.row.tensor_parallel_size for p in points})
    names, start = setting.fitted, setting.start
    _check_enough(points, len(names) + len(sizes), values=2 if setting.ttft_weight else 1)
    scale = np.array([getattr(start, n) for n in names] + [_STEP_START_MS] * len(sizes))

    def law_of(x: Floats) -> LatencyLaw:
        values = (x * scale).tolist()
        steps = _steps(sizes, values[len(names) :])
        return replace(start, streaming_step_ms=steps, **dict(zip(names, values, strict=False)))

    def residuals(x: Floats) -> Floats:
        law = law_of(x)
        logs = np.log1p([p.errors(law) for p in points])
        return np.concatenate([logs[:, 1], setting.ttft_weight * logs[:, 0]])

    ones = np.ones(len(scale))
    options = {"loss": "soft_l1", "f_scale": SOFT_ERROR, "xtol": _TOLERANCE, "ftol": _TOLERANCE}
    found = least_squares(residuals, ones, bounds=(0.0, 20.0), **options)
    return law_of(found.x)


def _steps(sizes: Sequence[int], fitted_ms: Sequence[float]) -> Mapping[int, float]:
    mean_ms = sum(fitted_ms) / len(fitted_ms)
    return dict.fromkeys((1, 2, 4, 8), mean_ms) | dict(zip(sizes, fitted_ms, strict=True))


def _check_enough(points: Sequence[Point], parameters: int, *, values: int) -> None:
    measured = values * len(points)
    if measured < _VALUES_PER_PARAMETER * parameters:
        raise ConfigError(
            f"{len(points)} rows hold {measured} values of ttft_ms and tpot_ms, too few for {parameters} parameters: "
            f"at least {_VALUES_PER_PARAMETER * parameters} are needed"
        )
