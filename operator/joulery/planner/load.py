"""The mix of request lengths a pool is planned for, held still until it has really moved.

Operating points cost seconds to compute and agents hold tables made from them, so a mix that wanders by
noise must not make new ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulery.domain.demand import Demand, LengthHistogram
from joulery.planner.settings import PlannerSettings
from joulery.serving.mix import LengthMix, of_histograms


@dataclass(frozen=True, slots=True)
class LengthAverage:
    """Histograms averaged from `since_s` to `at_s`."""

    inputs: LengthHistogram
    outputs: LengthHistogram
    since_s: float
    at_s: float


def averaged(past: LengthAverage | None, demand: Demand, window_s: float) -> LengthAverage | None:
    """The average with one more poll: plain at first, then forgetting with time constant `window_s`."""
    inputs, outputs = demand.input_lengths, demand.output_lengths
    if inputs is None or outputs is None or not any(inputs.rates) or not any(outputs.rates):
        return past
    now_s = demand.observed_at_s
    if past is None or past.inputs.edges != inputs.edges or past.outputs.edges != outputs.edges:
        return LengthAverage(inputs, outputs, since_s=now_s, at_s=now_s)
    if now_s <= past.at_s:
        return past
    keep = min(math.exp((past.at_s - now_s) / window_s), (past.at_s - past.since_s) / (now_s - past.since_s))
    return LengthAverage(
        _blend(past.inputs, inputs, keep),
        _blend(past.outputs, outputs, keep),
        past.since_s,
        now_s,
    )


def accepted_mix(
    held: LengthMix | None, average: LengthAverage | None, settings: PlannerSettings
) -> LengthMix | None:
    """The mix to plan for: the held one until the average has drifted beyond the threshold."""
    measured = _mix(average) if average is not None else None
    if measured is None:
        return held
    if held is not None and held.distance(measured) <= settings.mix_drift:
        return held
    return measured


def _mix(average: LengthAverage) -> LengthMix | None:
    inputs, outputs = average.inputs, average.outputs
    return of_histograms(inputs, outputs, input_mean=inputs.mean_tokens, output_mean=outputs.mean_tokens)


def _blend(past: LengthHistogram, fresh: LengthHistogram, keep: float) -> LengthHistogram:
    rates = tuple(keep * old + (1.0 - keep) * new for old, new in zip(past.rates, fresh.rates, strict=True))
    if past.tokens_per_s is None or fresh.tokens_per_s is None:
        return LengthHistogram(past.edges, rates)
    return LengthHistogram(past.edges, rates, keep * past.tokens_per_s + (1.0 - keep) * fresh.tokens_per_s)
