"""What the watts are held to: errors beside the bounds and beside an independent prototype's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from joulery.calibration.claims import H100, Bound, Claim
from joulery.calibration.holdout import Errors
from joulery.calibration.lanes import shipped_profile
from joulery.calibration.power.fit import fit_line
from joulery.calibration.power.form import KindWatts, SmallBatchLine, TimeShareLaw
from joulery.calibration.power.judge import Judgement, PowerJudged, power_errors, power_judged
from joulery.calibration.power.played import PROFILE, played_errors, small_model_profile
from joulery.calibration.power.rows import (
    FITTED_TASK,
    HELD_OUT_TASK,
    of_task,
    shipped_power_rows,
    small_batches,
)
from joulery.calibration.power.sensitivity import Moved, sensitivity
from joulery.calibration.power.speed import Speed, speed_of
from joulery.calibration.power.split import Deployment

# The deployment whose latency, too, comes from these rows.
SMALL_MODEL: Deployment = ("meta-llama/Llama-3.1-8B-Instruct", 1)
TASK_BOUND, SMALL_BATCH_BOUND = Bound(7.0, 17.0), Bound(None, 10.0)
# The line of the first published fit; its watts were extrapolated to an empty batch.
PUBLISHED_LINE = SmallBatchLine(232.0, 272.0)

_FITTED, _HELD = "lm-arena-chat", "gpqa, not fitted"
_LEFT_OUT, _SMALL = "each model left out", "B=8 over TP 1 to 8"
_PUBLISHED = MappingProxyType({"in sample": "5.3/14.1", "task": "5.4/15.5", "model": "8.3/18.2"})


@dataclass(frozen=True, eq=False)
class PowerFound:
    """The fits of watts and what they are held to: by kind of time, as the engine plays, and by other forms."""

    judged: PowerJudged
    speed: Speed
    line: SmallBatchLine
    sensitivity: Mapping[str, Moved]
    claims: tuple[Claim, ...]
    other_claims: tuple[Claim, ...]


def calibrate_power() -> PowerFound:
    """Fit and judge the shipped rows; a few seconds."""
    judged = power_judged(shipped_power_rows())
    speed = speed_of(judged.rows, SMALL_MODEL)
    small = small_batches(of_task(judged.rows, FITTED_TASK))
    line = fit_line(small)
    return PowerFound(
        judged,
        speed,
        line,
        sensitivity(judged.rows),
        claims=(*_held(judged.by_kind), *_printed(judged), *_small_model(speed)),
        other_claims=(
            *_utilisation(judged.by_utilisation),
            _claim(
                f"small-batch line, {_SMALL}, in sample",
                power_errors(small, line),
                SMALL_BATCH_BOUND,
                "9.2 max",
            ),
            _claim(f"published line 232 + 272 uw, {_SMALL}", power_errors(small, PUBLISHED_LINE)),
            *_profile(judged),
        ),
    )


def _held(found: Judgement) -> tuple[Claim, ...]:
    return (
        _claim(_HELD, found.other_task, TASK_BOUND, _PUBLISHED["task"]),
        _claim(f"{_SMALL}, fit on all batches", found.small, SMALL_BATCH_BOUND, "9.2 max"),
        _claim(f"{_FITTED}, {_LEFT_OUT}", found.models, None, _PUBLISHED["model"]),
        _claim(f"{_SMALL}, {_LEFT_OUT}", found.models_small),
        _claim(f"{_FITTED}, in sample", found.in_sample, None, _PUBLISHED["in sample"]),
    )


def _printed(judged: PowerJudged) -> tuple[Claim, ...]:
    """What is only printed: without any time of the other task, and with an offset per deployment."""
    offsets = judged.offsets.values()
    pooled = Errors(tuple(row for offset in offsets for row in offset.held_out.by_row))
    return (
        _claim(f"{_HELD}, host time from {_FITTED} alone", judged.strict_other_task),
        _claim(f"{_LEFT_OUT}, offset from its B=8 row", pooled, None, "5.5/17"),
    )


def _small_model(speed: Speed) -> tuple[Claim, ...]:
    """The times that these rows are the only source of, and the shipped profile as the engine plays it."""
    times, watts = played_errors(small_model_profile(), speed.rows)
    played = f"profile {PROFILE} as the engine plays it, in sample"
    model, size = SMALL_MODEL
    left_out = f"{model.rpartition('/')[2]} BF16 TP{size}, each batch left out"
    return (
        Claim("TPOT", H100, left_out, speed.errors, None, ""),
        Claim("TPOT", H100, played, times, None, ""),
        _claim(played, watts),
    )


def _utilisation(found: Judgement) -> tuple[Claim, ...]:
    form = "utilisation form"
    return (
        _claim(f"{form}, {_HELD}", found.other_task, TASK_BOUND, _PUBLISHED["task"]),
        _claim(f"{form}, {_SMALL}", found.small, SMALL_BATCH_BOUND),
        _claim(f"{form}, {_LEFT_OUT}", found.models, None, _PUBLISHED["model"]),
        _claim(f"{form}, in sample", found.in_sample, None, _PUBLISHED["in sample"]),
    )


def _profile(judged: PowerJudged) -> tuple[Claim, ...]:
    """The watts of the shipped 70B profile on these rows."""
    profile = shipped_profile()
    of = profile.accelerators[H100].power
    kinds = KindWatts(
        of.host_w.value, of.weight_streaming_w.value, of.decode_attention_w.value, of.compute_w.value
    )
    law, form = TimeShareLaw(kinds, judged.law.split), f"watts of profile {profile.name}"
    rows = {_FITTED: of_task(judged.rows, FITTED_TASK), HELD_OUT_TASK: of_task(judged.rows, HELD_OUT_TASK)}
    rows[_SMALL] = small_batches(rows[_FITTED])
    return tuple(_claim(f"{form}, {name}", power_errors(of_rows, law)) for name, of_rows in rows.items())


def _claim(rows: str, errors: Errors, bound: Bound | None = None, published: str = "") -> Claim:
    return Claim("watts", H100, rows, errors, bound, published)
