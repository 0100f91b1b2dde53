"""Curves and measured points as one page that opens without a network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from joulery.profiling.curves import QUANTITIES, Curve
from joulery.serving.parameter_walk import named_parameters
from joulery.serving.parameters import EngineProfile

# A colour-blind safe palette (Okabe and Ito), one hue per tensor-parallel size.
_HUES = {1: "#CC79A7", 2: "#009E73", 4: "#0072B2", 8: "#D55E00"}
_OTHER_HUE = "#555555"
_LOGARITHMIC = (1, 3)
_MANY_DECADES = 500.0
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:1200px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2rem}.note{color:#555;font-size:.92rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:right}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
"""


@dataclass(frozen=True, slots=True)
class Dot:
    """A measured point at its place in a panel; its quantities, None where they were not measured."""

    tensor_parallel_size: int
    x: int
    y: tuple[float | None, ...]
    name: str
    is_full: bool


@dataclass(frozen=True, eq=False)
class Column:
    """One column of panels: its title, what lies on x, the curves, and the points measured there."""

    title: str
    curves: Sequence[Curve]
    dots: Sequence[Dot]


@dataclass(frozen=True, eq=False)
class Section:
    """One accelerator: columns against load, and columns against the clock."""

    accelerator: str
    by_load: Sequence[Column]
    by_clock: Sequence[Column]


def page(profile: EngineProfile, sections: Iterable[Section], *, client: str) -> str:
    """The whole page; `client` says how the load is declared."""
    body = "\n".join(_section(profile, s) for s in sections)
    title = f"{profile.name}: {profile.model} {profile.precision}"
    caches = ", ".join(f"{profile.kv_cache(name).type} on {name}" for name in profile.accelerators)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script><body><h1>{html.escape(title)}</h1>"
        f"<p class='note'>{profile.engine} {html.escape(profile.engine_version)} measured with a token budget of "
        f"{profile.token_budget}, KV cache {html.escape(caches)}. Closed-loop clients, {html.escape(client)}. "
        "Lines are the model, circles are measured (open: out of KV memory), bands span the ranges of the parameters, "
        "each moved alone and added as independent. Means over all requests of a run, the first wave included.</p>"
        f"{body}</body></html>"
    )


def _section(profile: EngineProfile, section: Section) -> str:
    name = html.escape(section.accelerator)
    parts = [f"<h2>{name}: against load, at the highest clock</h2>"]
    parts.append(_html(_figure(section.by_load, "clients", logarithmic_x=True)))
    if section.by_clock:
        parts.append(f"<h2>{name}: against the SM clock</h2>{_clock_note(profile, section)}")
        parts.append(_html(_figure(section.by_clock, "SM clock, MHz", logarithmic_x=False)))
    parts.append(f"<h2>{name}: errors on points that were not fitted</h2>{_errors(profile, section)}")
    return "".join(parts)


def _clock_note(profile: EngineProfile, section: Section) -> str:
    accelerator = profile.accelerators[section.accelerator]
    by_grade: dict[str, list[str]] = {}
    for name, parameter in named_parameters(accelerator):
        if name.startswith("clock."):
            by_grade.setdefault(parameter.grade.lower(), []).append(name.partition(".")[2].replace("_", " "))
    grades = "; ".join(f"{', '.join(names)} {grade}" for grade, names in by_grade.items())
    floor = accelerator.device.measured_above_mhz
    return f"<p class='note'>Response to the clock: {grades}; below {floor} MHz all of it assumed.</p>"


def _errors(profile: EngineProfile, section: Section) -> str:
    errors = profile.accelerators[section.accelerator].held_out_errors
    if not errors:
        return "<p class='note'>The profile states none.</p>"
    rows = "".join(
        f"<tr><td>{html.escape(e.quantity)}</td><td>{html.escape(e.held_out)}</td><td>{e.points}</td>"
        f"<td>{e.mean_percent:.1f}</td><td>{e.max_percent:.1f}</td></tr>"
        for e in errors
    )
    heads = "".join(f"<th>{h}</th>" for h in ("quantity", "held out", "points", "mean %", "max %"))
    return f"<table><tr>{heads}</tr>{rows}</table>"


def _html(figure: go.Figure) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False}))


def _figure(columns: Sequence[Column], x_title: str, *, logarithmic_x: bool) -> go.Figure:
    figure = make_subplots(
        rows=len(QUANTITIES), cols=len(columns), shared_xaxes=True, shared_yaxes=True,
        vertical_spacing=0.035, horizontal_spacing=0.03, column_titles=[c.title for c in columns],
    )  # fmt: skip
    named: set[int] = set()
    for place, column in enumerate(columns, start=1):
        for row in range(len(QUANTITIES)):
            for curve in column.curves:
                is_first = curve.tensor_parallel_size not in named
                named.add(curve.tensor_parallel_size)
                for trace in _traces(curve, row, is_first=is_first):
                    figure.add_trace(trace, row=row + 1, col=place)
            for trace in _dots(column.dots, row):
                figure.add_trace(trace, row=row + 1, col=place)
    _axes(figure, columns, x_title, logarithmic_x=logarithmic_x)
    return figure


def _axes(figure: go.Figure, columns: Sequence[Column], x_title: str, *, logarithmic_x: bool) -> None:
    for row, quantity in enumerate(QUANTITIES):
        figure.update_yaxes(title_text=quantity, row=row + 1, col=1)
        figure.update_yaxes(
            row=row + 1, **(_ticks(columns, row) if row in _LOGARITHMIC else {"rangemode": "tozero"})
        )
    if logarithmic_x:
        most = max((x for c in columns for curve in c.curves for x in curve.x), default=1)
        loads = [2**i for i in range(most.bit_length() + 1)]
        figure.update_xaxes(type="log", tickvals=loads, ticktext=[str(n) for n in loads])
    figure.update_xaxes(title_text=x_title, row=len(QUANTITIES))
    figure.update_layout(
        height=1000, template="plotly_white", margin={"t": 50, "b": 50, "l": 60, "r": 20},
        legend={"orientation": "h", "y": 1.07, "x": 1.0, "xanchor": "right"},
    )  # fmt: skip


def _ticks(columns: Sequence[Column], row: int) -> dict[str, object]:
    """A logarithmic axis with 1, 2, 5 per decade, or 1 where there are many decades."""
    seen = [e.means[row] for c in columns for curve in c.curves for e in curve.y]
    seen += [y for c in columns for dot in c.dots if (y := dot.y[row]) is not None]
    low, high = min(seen, default=1.0), max(seen, default=1.0)
    steps = (1, 2, 5) if high < _MANY_DECADES * low else (1,)
    ticks = [step * 10.0**decade for decade in range(-4, 9) for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{t:,.10g}" for t in ticks]}


def _traces(curve: Curve, row: int, *, is_first: bool) -> Iterable[go.Scatter]:
    size = curve.tensor_parallel_size
    hue = _HUES.get(size, _OTHER_HUE)
    around = [*curve.x, *reversed(curve.x)]
    edge = [e.high[row] for e in curve.y] + [e.low[row] for e in reversed(curve.y)]
    yield go.Scatter(
        x=around, y=edge, mode="lines", fill="toself", fillcolor=_faint(hue), line={"width": 0}, hoverinfo="skip",
        showlegend=False, legendgroup=f"TP{size}",
    )  # fmt: skip
    yield go.Scatter(
        x=curve.x, y=[e.means[row] for e in curve.y], mode="lines", line={"color": hue, "width": 2},
        name=f"TP{size}", legendgroup=f"TP{size}", showlegend=is_first and row == 0,
    )  # fmt: skip


def _dots(dots: Sequence[Dot], row: int) -> Iterable[go.Scatter]:
    for size in sorted({d.tensor_parallel_size for d in dots}):
        shown = [d for d in dots if d.tensor_parallel_size == size and d.y[row] is not None]
        if shown:
            symbols = ["circle-open" if d.is_full else "circle" for d in shown]
            yield go.Scatter(
                x=[d.x for d in shown], y=[d.y[row] for d in shown], mode="markers",
                marker={"color": _HUES.get(size, _OTHER_HUE), "size": 7, "symbol": symbols},
                text=[d.name for d in shown], hovertemplate="%{text}: %{y:.4g}<extra>measured</extra>",
                showlegend=False, legendgroup=f"TP{size}",
            )  # fmt: skip


def _faint(hue: str) -> str:
    red, green, blue = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"
