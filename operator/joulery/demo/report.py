"""The report page: what ran, what it drew, what it would have drawn, as plots that open without a network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

Json = Mapping[str, Any]

# A colour-blind safe palette (Okabe and Ito), one hue per tensor-parallel size and per policy.
_VARIANT = {"tp2": "#009E73", "tp4": "#0072B2", "tp8": "#D55E00"}
_POLICY = {"SinglePool": "#999999", "BestStatic": "#E69F00", "Reactive": "#56B4E9", "Joulery": "#009E73"}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}
h2{font-size:1.2rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child{text-align:left}
tr.ours{font-weight:600;background:#eef8f4}.note{color:#555;font-size:.92rem}
"""


def write_report(path: Path, summary: Json, timelines: Json) -> None:
    """Write one self-contained page.

    Args:
        path: the file to write.
        summary: what `summary.json` holds.
        timelines: by run (`live`, `replay`), by pool, as `Recorder.as_json`.
    """
    sections = [_heading(summary), _energy_table(summary), _energy_bars(summary)]
    for run, title in (
        ("live", "Live: the squeezed day on the real control plane"),
        ("replay", "Replay: the day at true time"),
    ):
        if run in timelines:
            sections.append(f"<h2>{title}</h2>{_page(_timeline_figure(timelines[run]))}")
    sections.append(_knobs(summary))
    sections.append(_declared(summary))
    body = "\n".join(sections)
    script = _script()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Joulery demo</title><style>{_STYLE}</style>"
        f"<script>{script}</script><body>{body}</body></html>"
    )


def _script() -> str:
    # plotly.js travels in the wheel, so the page opens offline.
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _page(figure: go.Figure) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))


def _heading(summary: Json) -> str:
    live = summary["live"]["policies"]["Joulery"]
    attained = ", ".join(f"{name} {pool['attainmentPercent']} %" for name, pool in live["pools"].items())
    return (
        "<h1>One day of public LLM traffic, run by Joulery</h1>"
        f"<p class='note'>{html.escape(summary['declared']['day'])}, seed {summary['seed']}, Kubernetes "
        f"{html.escape(summary['kubernetesVersion'])}, {summary['nodes']} nodes with {summary['gpus']} emulated GPUs. "
        f"Live attainment: {html.escape(attained)}. Lag P99 {summary['lagMillisecondsP99']:.0f} ms.</p>"
    )


def _energy_table(summary: Json) -> str:
    head = "".join(
        f"<th>{h}</th>"
        for h in (
            "true time, whole day",
            "GPU kWh",
            "fleet kWh",
            "server kWh",
            "mean GPUs",
            "lowest attainment %",
        )
    )
    rows = []
    for name, entry in summary["replay"]["policies"].items():
        lowest = min(p["attainmentPercent"] for p in entry["pools"].values())
        figures = [
            entry["gpuKilowattHours"],
            entry["fleetKilowattHours"],
            entry["serverKilowattHours"],
            entry["meanGpus"],
        ]
        cells = "".join(f"<td>{value:.1f}</td>" for value in figures)
        rows.append(f"<tr{_ours(name)}><td>{html.escape(name)}</td>{cells}<td>{lowest:.2f}</td></tr>")
    return (
        f"<h2>Energy of the replayed day</h2><table><tr>{head}</tr>{''.join(rows)}</table>{_savings(summary)}"
    )


def _ours(name: str) -> str:
    return " class='ours'" if name == "Joulery" else ""


def _savings(summary: Json) -> str:
    lines = []
    for baseline, saving in summary["replay"]["savingPercent"].items():
        band = summary["replay"]["savingBandPercent"].get(baseline)
        span = f", band {band['low']:.0f} to {band['high']:.0f} %" if band else ""
        lines.append(
            f"<li>{saving['gpu']:.1f} % less GPU energy than {baseline}{span}; {saving['fleet']:.1f} % at the fleet, "
            f"{saving['server']:.1f} % at the server boundary</li>"
        )
    note = (
        "Modelled joules. The band spans hidden truths drawn by seed: time ±10 %, watts ±15 %, "
        "clock responses within their ranges."
    )
    return f"<ul>{''.join(lines)}</ul><p class='note'>{note}</p>"


def _energy_bars(summary: Json) -> str:
    policies = summary["replay"]["policies"]
    figure = go.Figure()
    for boundary in ("gpu", "fleet", "server"):
        figure.add_bar(
            name=boundary,
            x=list(policies),
            y=[entry[f"{boundary}KilowattHours"] for entry in policies.values()],
        )
    figure.update_layout(barmode="group", yaxis_title="kWh", height=340, margin={"t": 20, "b": 30})
    return _page(figure)


def _timeline_figure(pools: Json) -> go.Figure:
    names = list(pools)
    rows = ("requests/s", "instances", "mean clock MHz", "GPU watts")
    figure = make_subplots(
        rows=len(rows), cols=len(names), shared_xaxes=True, vertical_spacing=0.05, column_titles=names
    )
    for column, name in enumerate(names, start=1):
        for row, trace in _traces(pools[name], first=column == 1):
            figure.add_trace(trace, row=row, col=column)
    for row, title in enumerate(rows, start=1):
        figure.update_yaxes(title_text=title, row=row, col=1, rangemode="tozero")
    unit = "hours" if pools[names[0]]["seconds"][-1] > 7200 else "seconds"
    figure.update_xaxes(title_text=unit, row=len(rows))
    figure.update_layout(height=860, margin={"t": 40, "b": 40}, legend={"orientation": "h", "y": -0.06})
    return figure


def _traces(pool: Json, *, first: bool) -> Iterable[tuple[int, go.Scatter]]:
    seconds = pool["seconds"]
    x = [s / 3600 for s in seconds] if seconds[-1] > 7200 else seconds
    yield (
        1,
        go.Scatter(
            x=x, y=pool["requestsPerSecond"], line={"color": "#333"}, showlegend=False, name="requests/s"
        ),
    )
    for variant, counts in pool["replicas"].items():
        yield 2, go.Scatter(
            x=x, y=counts, name=variant, stackgroup="instances", line={"color": _VARIANT.get(variant), "shape": "hv"},
            showlegend=first, legendgroup=variant,
        )  # fmt: skip
    yield 3, go.Scatter(x=x, y=pool["clockMHz"], line={"color": "#CC79A7"}, showlegend=False, name="clock")
    yield 4, go.Scatter(x=x, y=pool["watts"], line={"color": "#0072B2"}, showlegend=False, name="watts")


def _knobs(summary: Json) -> str:
    knobs = summary["knobs"]
    if not knobs:
        return ""
    figure = go.Figure(
        go.Bar(
            x=list(knobs), y=[k["gpuExtraPercent"] for k in knobs.values()], marker_color=_POLICY["Reactive"]
        )
    )
    figure.update_layout(yaxis_title="extra GPU energy, %", height=300, margin={"t": 20, "b": 30})
    return f"<h2>What each knob is worth: energy when it is switched off</h2>{_page(figure)}"


def _declared(summary: Json) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for key, value in summary["declared"].items()
    )
    return f"<h2>Declared</h2><table>{rows}</table>"
