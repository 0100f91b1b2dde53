"""The errors of watts with what is only given moved, one thing at a time: the bounds must not hang on a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from joulery.calibration.holdout import Errors
from joulery.calibration.power.fit import fit_kinds
from joulery.calibration.power.judge import power_errors
from joulery.calibration.power.rows import FITTED_TASK, HELD_OUT_TASK, PowerRow, of_task, small_batches
from joulery.calibration.power.split import GIVEN, Given, split_of

MOVED: Mapping[str, Given] = MappingProxyType(
    {
        "streaming at 75 % of bandwidth": replace(GIVEN, streaming_share=0.75),
        "streaming at 95 % of bandwidth": replace(GIVEN, streaming_share=0.95),
        "KV cache at 70 % of bandwidth": replace(GIVEN, kv_share=0.70),
        "KV cache at the bandwidth": replace(GIVEN, kv_share=1.0),
        "operations at 40 % of the BF16 peak": replace(GIVEN, bf16_peak_share=0.40),
        "operations at 80 % of the BF16 peak": replace(GIVEN, bf16_peak_share=0.80),
        "prompts of half the tokens": replace(GIVEN, prompts=0.5),
        "prompts of twice the tokens": replace(GIVEN, prompts=2.0),
    }
)


@dataclass(frozen=True, slots=True)
class Moved:
    """Errors on the task that is not fitted and on small batches, under another assumption."""

    other_task: Errors
    small: Errors


def sensitivity(rows: Sequence[PowerRow]) -> dict[str, Moved]:
    """The errors under each assumption of `MOVED`, all fitted again."""
    return {name: _moved(rows, given) for name, given in MOVED.items()}


def _moved(rows: Sequence[PowerRow], given: Given) -> Moved:
    fitted = of_task(rows, FITTED_TASK)
    law = fit_kinds(fitted, split_of(rows, given))
    return Moved(power_errors(of_task(rows, HELD_OUT_TASK), law), power_errors(small_batches(fitted), law))
