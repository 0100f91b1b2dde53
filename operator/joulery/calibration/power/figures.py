"""The figures about watts as a dictionary, and as tables of the page."""

from __future__ import annotations

from collections.abc import Iterator

from joulery.calibration.page import error_table
from joulery.calibration.power.claims import PowerFound
from joulery.calibration.power.parameters import Fitted, fitted_parameters
from joulery.calibration.power.rows import INPUT_TOKENS
from joulery.calibration.power.split import KV_SHARE, PEAK_SHARE, STREAMING_SHARE
from joulery.calibration.report import claim_figures

INTRODUCTION = """\
## Watts

Watts of one H100 at the default clock, by kind of time: an iteration draws the time-weighted mean of

    host and all-reduce (h), weight streaming (W), decode attention (b nd + k ctx), compute (c M where longer than W)

each at most the board limit, all four times an offset per profile (`power.offset`).

| given, not fitted | |
| --- | --- |
| rows | dense models on H100, ML.ENERGY Benchmark v3, watts of the GPUs (`operator/joulery/data/measurements/`) |
| times | measured: batch over tokens per second. Of them W, c M and k ctx by bytes and operations; of the rest a \
constant per deployment is h, what grows with the batch is b nd |
| bandwidth and peak | 85 % of 3.35 TB/s streaming, 86 % reading KV; 60 % of 989 TFLOP/s BF16, 47 % of 1979 FP8 |
| prompts | 250 tokens (lm-arena-chat), 300 (gpqa): in no column; begun at random (Poisson) |
| fitted | on lm-arena-chat alone, relative least squares, 90 to 700 W; no watts of gpqa are fitted |
"""

OTHERS = """
### Other forms on the same rows

The utilisation form is cap(base + a uw + b uk + c C^g). It holds for the mean of a run, so no engine can play it.
"""

PARAMETERS = """
### Fitted watts, offsets and times

Ranges of watts are those of fits with one model left out, of times with one batch left out, of offsets 10 %. Errors are
on rows not fitted.
"""


def power_figures(found: PowerFound) -> dict[str, object]:
    """All figures about watts."""
    bounded = [claim.is_met for claim in found.claims if claim.bound]
    return {
        "assumed": {
            "inputTokens": dict(INPUT_TOKENS),
            "streamingShareOfBandwidth": STREAMING_SHARE,
            "kvShareOfBandwidth": KV_SHARE,
            "shareOfPeak": dict(PEAK_SHARE),
        },
        "claimsMet": sum(bool(met) for met in bounded),
        "claimsBounded": len(bounded),
        "claims": [claim_figures(c) for c in found.claims],
        "otherForms": [claim_figures(c) for c in found.other_claims],
        "parameters": {p.name: _parameter(p) for p in fitted_parameters(found)},
    }


def power_section(found: PowerFound) -> str:
    """The part of the page about watts."""
    lines = [
        INTRODUCTION,
        *error_table(found.claims),
        OTHERS,
        *error_table(found.other_claims),
        PARAMETERS,
        *_parameters(found),
        "",
    ]
    return "\n".join(lines)


def _parameters(found: PowerFound) -> Iterator[str]:
    yield "| | value | range | points | error % | grade | valid |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for p in fitted_parameters(found):
        shown, low, high = (f"{x:.4g} {p.unit}".rstrip() for x in (p.value, p.low, p.high))
        errors = f"{p.errors.mean_percent:.1f} / {p.errors.max_percent:.1f}"
        yield f"| `{p.name}` | {shown} | {low} to {high} | {p.points} | {errors} | {p.grade} | {p.valid} |"


def _parameter(fitted: Fitted) -> dict[str, object]:
    return {
        "value": round(fitted.value, 4),
        "low": round(fitted.low, 4),
        "high": round(fitted.high, 4),
        "unit": fitted.unit or None,
        "points": fitted.points,
        "errorPercentMean": round(fitted.errors.mean_percent, 2),
        "errorPercentMax": round(fitted.errors.max_percent, 2),
        "grade": str(fitted.grade),
        "source": fitted.source,
        "valid": fitted.valid,
    }
