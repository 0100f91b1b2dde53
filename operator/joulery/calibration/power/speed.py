"""How well the latency law times the power rows of a deployment, each batch left out in turn.

Only host and per-sequence time are fitted. A free compute time per token falls below what the peak allows on these
rows (9 us where 15 are the least for 8B): with one prompt length it cannot be told from the time per sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulery.calibration.holdout import Errors
from joulery.calibration.power.rows import PowerRow
from joulery.calibration.power.split import Deployment, Rest, known_times, split_of


@dataclass(frozen=True, slots=True)
class Speed:
    """Host and per-sequence time of a deployment with their fits without one batch, and the errors of these."""

    rows: tuple[PowerRow, ...]
    rest: Rest
    without_one: tuple[Rest, ...]
    errors: Errors


def speed_of(rows: Sequence[PowerRow], deployment: Deployment) -> Speed:
    """Fit a deployment's rows and judge it; at least two batches."""
    own = tuple(r for r in rows if r.deployment == deployment)
    others = tuple(split_of([r for r in own if r is not left]).rests[deployment] for left in own)
    errors = tuple(
        (r.name, 100.0 * (law_s(r, rest) / r.iteration_s - 1.0)) for r, rest in zip(own, others, strict=True)
    )
    return Speed(own, split_of(own).rests[deployment], others, Errors(errors))


def law_s(row: PowerRow, rest: Rest) -> float:
    """Mean time of an iteration by the latency law."""
    return known_times(row).total_s + rest.host_s + rest.sequence_s * row.batch
