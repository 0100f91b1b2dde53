"""The demo's figures on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

Json = Mapping[str, Any]


def live_table(summary: Json) -> Table:
    """Live against its own replay, pool by pool."""
    live, replay = summary["live"]["policies"]["Joulery"], summary["squeezedReplay"]["policies"]["Joulery"]
    table = Table(title="Live on the real control plane, beside the replay of the same squeezed day")
    for column in ("pool", "requests", "attained %", "replay %", "TTFT ms", "TPOT ms", "GPU Wh", "replay Wh"):
        table.add_column(column, justify="left" if column == "pool" else "right")
    for name, pool in live["pools"].items():
        twin = replay["pools"][name]
        table.add_row(
            name,
            str(pool["requests"]),
            f"{pool['attainmentPercent']:.2f}",
            f"{twin['attainmentPercent']:.2f}",
            f"{pool['timeToFirstTokenP99Milliseconds']:.0f}",
            f"{pool['timePerOutputTokenP99Milliseconds']:.1f}",
            f"{1000 * pool['gpuKilowattHours']:.1f}",
            f"{1000 * twin['gpuKilowattHours']:.1f}",
        )
    actions = ", ".join(f"{name} {count}" for name, count in summary["actions"].items())
    table.caption = f"latencies are P99; actions: {actions}; lag P99 {summary['lagMillisecondsP99']:.0f} ms"
    return table


def energy_table(summary: Json) -> Table:
    """The day at true time, every baseline shown."""
    table = Table(title=f"The whole day at true time: {summary['declared']['day']}")
    columns = ("policy", "GPU kWh", "fleet kWh", "GPUs", "attained %", "Joulery saves on GPUs")
    for column in columns:
        table.add_column(column, justify="left" if column == "policy" else "right")
    replay = summary["replay"]
    for name, entry in replay["policies"].items():
        lowest = min(pool["attainmentPercent"] for pool in entry["pools"].values())
        table.add_row(
            name,
            f"{entry['gpuKilowattHours']:.1f}",
            f"{entry['fleetKilowattHours']:.1f}",
            f"{entry['meanGpus']:.1f}",
            f"{lowest:.2f}",
            _saving(replay, name),
            style="bold green" if name == "Joulery" else "",
        )
    return table


def _saving(replay: Json, name: str) -> str:
    saving = replay["savingPercent"].get(name)
    if saving is None:
        return ""
    band = replay["savingBandPercent"][name]
    return f"{saving['gpu']:.1f} % ({band['low']:.0f} to {band['high']:.0f})"
