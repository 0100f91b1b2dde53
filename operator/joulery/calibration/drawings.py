"""The drawings of docs/serving-model.md: measured against modelled, all on rows that the drawn fit has not seen.

Loading this module loads matplotlib. The same figures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from joulery.calibration.claims import Found
from joulery.calibration.holdout import Errors, Judged
from joulery.calibration.power.claims import PowerFound
from joulery.calibration.power.rows import FITTED_TASK, HELD_OUT_TASK

BAND = 0.10
COLOURS = ("#1f77b4", "#d62728", "#2ca02c")


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of one colour: measured values and what the model gives for them."""

    name: str
    measured: tuple[float, ...]
    modelled: tuple[float, ...]


def drawings(found: Found, power: PowerFound) -> dict[str, str]:
    """SVG by file name."""
    times = [lane for lane in found.lanes if lane.lane.engine == "VLLM"]
    return {
        "times-not-fitted.svg": svg(
            {
                "TPOT, ms": [_times(lane, "tpot") for lane in times],
                "TTFT, ms": [_times(lane, "ttft") for lane in times],
            }
        ),
        "watts-not-fitted.svg": svg({"W per GPU": _watts(power)}),
    }


def _times(judged: Judged, quantity: str) -> Series:
    """One accelerator, each shape by the law of the others."""
    measured = {p.row.name: getattr(p.row, f"{quantity}_ms") for p in judged.lane.points}
    errors = [getattr(scores, quantity) for scores in judged.shapes.values()]
    return _series(judged.lane.accelerator, measured, errors)


def _watts(power: PowerFound) -> list[Series]:
    """The fitted task, each model by the law of the others, and the task that is in no fit."""
    judged = power.judged
    measured = {row.name: row.watts_per_gpu for row in judged.rows}
    return [
        _series(f"{FITTED_TASK}, each model left out", measured, [judged.by_kind.models]),
        _series(f"{HELD_OUT_TASK}, in no fit", measured, [judged.by_kind.other_task]),
    ]


def _series(name: str, measured: Mapping[str, float], errors: Iterable[Errors]) -> Series:
    rows = [row for of_group in errors for row in of_group.by_row]
    values = tuple(measured[row] for row, _ in rows)
    # To what can be seen: the last bits of a fit differ from machine to machine.
    modelled = tuple(
        round(value * (1.0 + percent / 100.0), 2) for value, (_, percent) in zip(values, rows, strict=True)
    )
    return Series(name, values, modelled)


def svg(panels: Mapping[str, Sequence[Series]]) -> str:
    """Panels side by side, one per quantity."""
    # Ids are drawn from this salt, and no date is written: both would differ from run to run otherwise.
    with mpl.rc_context({"svg.hashsalt": "joulery", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(4.2 * len(panels), 4.2), layout="constrained")
        for axes, (quantity, series) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            _draw(axes, quantity, series)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _draw(axes: Axes, quantity: str, series: Sequence[Series]) -> None:
    values = [value for s in series for value in (*s.measured, *s.modelled)]
    ends = np.array([0.9 * min(values), 1.1 * max(values)])
    axes.fill_between(
        ends, (1 - BAND) * ends, (1 + BAND) * ends, color="0.9", label=f"within {100 * BAND:g} %"
    )
    axes.plot(ends, ends, color="0.6", linewidth=0.8)
    for s, colour in zip(series, COLOURS, strict=False):
        axes.scatter(s.measured, s.modelled, s=12, color=colour, label=s.name, linewidths=0)
    if ends[1] > 10 * ends[0]:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(ScalarFormatter())
            axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=f"measured {quantity}", ylabel=f"modelled {quantity}", xlim=ends, ylim=ends)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
