"""Every fitted watt, offset and time with its range, number of points, error, grade, source and valid range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from joulery.calibration.holdout import Errors
from joulery.calibration.power.claims import PowerFound
from joulery.calibration.power.form import KindWatts
from joulery.calibration.power.judge import Offset, PowerJudged
from joulery.calibration.power.rows import FITTED_TASK, PowerRow, of_task
from joulery.calibration.power.speed import Speed
from joulery.calibration.power.split import Deployment
from joulery.serving.parameters import Grade

SOURCE = "ML.ENERGY Benchmark v3, dense models on H100, lm-arena-chat"
# Wide enough for all but the worst deployments; see the errors with an offset.
OFFSET_BAND = 0.10


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted number; the errors are those of the rows that it was not fitted to, where there are any."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    points: int
    errors: Errors
    grade: Grade
    source: str
    valid: str


def fitted_parameters(found: PowerFound) -> tuple[Fitted, ...]:
    """Watts by kind of time, ranges over the fits with one model left out; offsets; times of the small model."""
    return (*_kinds(found.judged), *_offsets(found.judged), *_times(found.speed))


def _kinds(judged: PowerJudged) -> Iterator[Fitted]:
    rows = of_task(judged.rows, FITTED_TASK)
    for field in fields(KindWatts):
        low, high = judged.kind_ranges[field.name]
        yield Fitted(
            field.name, "W", getattr(judged.law.kinds, field.name), low, high, len(rows),
            judged.by_kind.models, Grade.MEASURED, SOURCE, _valid(rows),
        )  # fmt: skip


def _offsets(judged: PowerJudged) -> Iterator[Fitted]:
    for deployment, offset in judged.offsets.items():
        rows = [r for r in judged.rows if r.deployment == deployment]
        yield _offset(deployment, offset, _valid(rows))


def _offset(deployment: Deployment, offset: Offset, valid: str) -> Fitted:
    model, size = deployment[0].rpartition("/")[2], deployment[1]
    low, high = ((1.0 + sign * OFFSET_BAND) * offset.value for sign in (-1, 1))
    return Fitted(
        f"offset {model} TP{size}", "", offset.value, low, high, 1,
        offset.errors, Grade.MEASURED, f"{SOURCE}, its B=8 row", valid,
    )  # fmt: skip


def _times(speed: Speed) -> Iterator[Fitted]:
    row = speed.rows[0]
    model = f"{row.model.rpartition('/')[2]} TP{row.tensor_parallel_size}"
    for name, attribute in (("host", "host_s"), ("per sequence", "sequence_s")):
        value = 1e6 * getattr(speed.rest, attribute)
        left_out = [1e6 * getattr(rest, attribute) for rest in speed.without_one]
        yield Fitted(
            f"{name} {model}", "us", value, min(left_out), max(left_out), len(speed.rows),
            speed.errors, Grade.MEASURED, SOURCE, _valid(speed.rows),
        )  # fmt: skip


def _valid(rows: list[PowerRow] | tuple[PowerRow, ...]) -> str:
    """Where the rows lie."""
    sizes = sorted({r.tensor_parallel_size for r in rows})
    batches, contexts = [r.batch for r in rows], [r.context_tokens / r.batch for r in rows]
    return (
        f"TP {', '.join(map(str, sizes))}, batch {min(batches):.0f} to {max(batches):.0f}, "
        f"context {min(contexts):.0f} to {max(contexts):.0f} tokens, default clock"
    )
