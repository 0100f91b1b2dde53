"""The figures about watts as a dictionary, and as tables of the page."""

from __future__ import annotations

from collections.abc import Iterator

from joulery.calibration.holdout import Errors
from joulery.calibration.page import error_table
from joulery.calibration.power.claims import PowerFound
from joulery.calibration.power.parameters import Fitted, fitted_parameters
from joulery.calibration.power.rows import HELD_OUT_TASK, INPUT_TOKENS
from joulery.calibration.power.split import GIVEN
from joulery.calibration.report import claim_figures

INTRODUCTION = f"""\
## Watts

Watts of one H100 at the default clock, by kind of time: an iteration draws the time-weighted mean of

    host and all-reduce (h), weight streaming (W), decode attention (b nd + k ctx), compute (c M where longer than W)

each at most the board limit, all four times an offset per profile (`power.offset`).

| given, not fitted | |
| --- | --- |
| rows | dense models on H100, ML.ENERGY Benchmark v3, watts of the GPUs (`operator/joulery/data/measurements/`) |
| times | measured: batch over tokens per second. Of them W, c M and k ctx by bytes and operations; of the rest a \
constant per deployment is h, what grows with the batch is b nd |
| bandwidth and peak | of 3.35 TB/s {GIVEN.streaming_share:g} streaming and {GIVEN.kv_share:g} reading KV; \
{GIVEN.bf16_peak_share:g} of 989 TFLOP/s BF16, {GIVEN.fp8_peak_share:g} of 1979 FP8 |
| prompts | 250 tokens (lm-arena-chat), 300 (gpqa): in no column; begun at random (Poisson) |
| fitted | on lm-arena-chat alone, relative least squares, 90 to 700 W; no watts of gpqa are fitted. \
Host times are from the times of both tasks, but where a row says otherwise |
| published | an independent prototype on the same rows, by utilisation |

![Modelled against measured watts, each model and the other task by laws without them](figures/watts-not-fitted.svg)
"""

OTHERS = """
### Other forms on the same rows

The utilisation form is cap(base + a uw + b uk + c C^g). It holds for the mean of a run, so no engine can play it.
"""

MOVED = """
### What is given, moved

Everything fitted again with one of the given values moved; bounds as above, 7 / 17 and - / 10.
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
            "streamingShareOfBandwidth": GIVEN.streaming_share,
            "kvShareOfBandwidth": GIVEN.kv_share,
            "shareOfPeak": {"BF16": GIVEN.bf16_peak_share, "FP8": GIVEN.fp8_peak_share},
        },
        "claimsMet": sum(bool(met) for met in bounded),
        "claimsBounded": len(bounded),
        "claims": [claim_figures(c) for c in found.claims],
        "otherForms": [claim_figures(c) for c in found.other_claims],
        "moved": {
            name: {HELD_OUT_TASK: _percent(moved.other_task), "smallBatches": _percent(moved.small)}
            for name, moved in found.sensitivity.items()
        },
        "parameters": {p.name: _parameter(p) for p in fitted_parameters(found)},
    }


def power_section(found: PowerFound) -> str:
    """The part of the page about watts."""
    lines = [
        INTRODUCTION,
        *error_table(found.claims),
        OTHERS,
        *error_table(found.other_claims),
        MOVED,
        *_moved(found),
        PARAMETERS,
        *_parameters(found),
        "",
    ]
    return "\n".join(lines)


def _moved(found: PowerFound) -> Iterator[str]:
    yield "| | gpqa, not fitted, error % | B=8 over TP 1 to 8, error % |"
    yield "| --- | --- | --- |"
    for name, moved in found.sensitivity.items():
        cells = (f"{e.mean_percent:.1f} / {e.max_percent:.1f}" for e in (moved.other_task, moved.small))
        yield f"| {name} | {' | '.join(cells)} |"


def _parameters(found: PowerFound) -> Iterator[str]:
    yield "| | value | range | points | error % | grade | valid |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for p in fitted_parameters(found):
        shown, low, high = (f"{x:.4g} {p.unit}".rstrip() for x in (p.value, p.low, p.high))
        errors = f"{p.errors.mean_percent:.1f} / {p.errors.max_percent:.1f}"
        yield f"| `{p.name}` | {shown} | {low} to {high} | {p.points} | {errors} | {p.grade} | {p.valid} |"


def _percent(errors: Errors) -> dict[str, float]:
    return {
        "errorPercentMean": round(errors.mean_percent, 2),
        "errorPercentMax": round(errors.max_percent, 2),
    }


def _parameter(fitted: Fitted) -> dict[str, object]:
    return {
        "value": round(fitted.value, 4),
        "low": round(fitted.low, 4),
        "high": round(fitted.high, 4),
        "unit": fitted.unit or None,
        "points": fitted.points,
        **_percent(fitted.errors),
        "grade": str(fitted.grade),
        "source": fitted.source,
        "valid": fitted.valid,
    }
