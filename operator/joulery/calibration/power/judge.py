"""Errors of watts on rows that a law was not fitted to: another task, each model left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from joulery.calibration.holdout import Errors
from joulery.calibration.power.fit import fit_kinds, fit_utilisation, with_offset
from joulery.calibration.power.form import KindWatts, PowerLaw, TimeShareLaw, UtilisationLaw
from joulery.calibration.power.rows import (
    FITTED_TASK,
    HELD_OUT_TASK,
    SMALL_BATCH,
    PowerRow,
    of_task,
    small_batches,
)
from joulery.calibration.power.split import Deployment, split_of

_Law = TypeVar("_Law", bound=PowerLaw)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Errors of one form of law: of the fit on one task on its own rows, on another task's and on small batches, and
    of fits without a model on that model's rows.
    """

    in_sample: Errors
    other_task: Errors
    small: Errors
    models: Errors
    models_small: Errors


@dataclass(frozen=True, slots=True)
class Offset:
    """The factor of a deployment from its row of the smallest batch, and the errors of its other rows with it.

    `held_out` are the errors where the shared watts, too, are fitted without the model.
    """

    value: float
    errors: Errors
    held_out: Errors


@dataclass(frozen=True, eq=False)
class PowerJudged:
    """The laws of the shipped rows with their errors. `kind_ranges` are over all fits with a model left out.

    Host times come from the times of all rows, the other task's included: no watts of those are fitted. With
    `strict_other_task` they come from the fitted task's rows alone.
    """

    rows: tuple[PowerRow, ...]
    law: TimeShareLaw
    by_kind: Judgement
    strict_other_task: Errors
    kind_ranges: Mapping[str, tuple[float, float]]
    offsets: Mapping[Deployment, Offset]
    utilisation: UtilisationLaw
    by_utilisation: Judgement


def power_judged(rows: Sequence[PowerRow]) -> PowerJudged:
    """Fit both forms and judge them."""
    split, fitted = split_of(rows), of_task(rows, FITTED_TASK)
    law = fit_kinds(fitted, split)
    folds = _folds(fitted, lambda of: fit_kinds(of, split))
    utilisation = fit_utilisation(fitted)
    strict = fit_kinds(fitted, split_of(fitted))
    return PowerJudged(
        rows=tuple(rows),
        law=law,
        by_kind=_judgement(rows, law, folds),
        strict_other_task=power_errors(of_task(rows, HELD_OUT_TASK), strict),
        kind_ranges=_ranges([law, *folds.values()]),
        offsets={
            deployment: _offset(rows, deployment, law, folds[deployment[0]]) for deployment in split.rests
        },
        utilisation=utilisation,
        by_utilisation=_judgement(rows, utilisation, _folds(fitted, fit_utilisation)),
    )


def power_errors(rows: Sequence[PowerRow], law: PowerLaw) -> Errors:
    """Errors of a law on rows, positive where it gives too many watts."""
    return Errors(tuple((r.name, 100.0 * (law.watts(r) / r.watts_per_gpu - 1.0)) for r in rows))


def _folds(rows: Sequence[PowerRow], fit: Callable[[Sequence[PowerRow]], _Law]) -> dict[str, _Law]:
    """By model, the law of all other models' rows."""
    models = sorted({r.model for r in rows})
    return {model: fit([r for r in rows if r.model != model]) for model in models}


def _judgement(rows: Sequence[PowerRow], law: PowerLaw, folds: Mapping[str, PowerLaw]) -> Judgement:
    fitted = of_task(rows, FITTED_TASK)
    small = small_batches(fitted)
    return Judgement(
        in_sample=power_errors(fitted, law),
        other_task=power_errors(of_task(rows, HELD_OUT_TASK), law),
        small=power_errors(small, law),
        models=_held_out(fitted, folds),
        models_small=_held_out(small, folds),
    )


def _held_out(rows: Sequence[PowerRow], folds: Mapping[str, PowerLaw]) -> Errors:
    return Errors(tuple(e for r in rows for e in power_errors([r], folds[r.model]).by_row))


def _offset(
    rows: Sequence[PowerRow], deployment: Deployment, law: TimeShareLaw, fold: TimeShareLaw
) -> Offset:
    own = [r for r in rows if r.deployment == deployment]
    known = next(r for r in own if (r.task, r.max_num_seqs) == (FITTED_TASK, SMALL_BATCH))
    others = [r for r in own if r is not known]
    exact = with_offset(law, known)
    return Offset(exact.offset, power_errors(others, exact), power_errors(others, with_offset(fold, known)))


def _ranges(laws: Sequence[TimeShareLaw]) -> dict[str, tuple[float, float]]:
    by_kind = {f.name: [getattr(law.kinds, f.name) for law in laws] for f in fields(KindWatts)}
    return {name: (min(values), max(values)) for name, values in by_kind.items()}
