"""The table that people read: one line per engine and case."""

from __future__ import annotations

from collections.abc import Mapping

_COLUMNS = (
    ("coldP50CpuMilliseconds", "cold p50", "{:.1f}"),
    ("coldP90CpuMilliseconds", "p90", "{:.1f}"),
    ("warmP50CpuMilliseconds", "warm p50", "{:.1f}"),
    ("coldP50Milliseconds", "wall", "{:.1f}"),
    ("gapToBoundP50", "gap p50", "{:.1e}"),
    ("gapToBoundMax", "gap max", "{:.1e}"),
    ("excessOverExactP50", "off p50", "{:.1e}"),
    ("excessOverExactMax", "off max", "{:.1e}"),
    ("timesFasterThanTextbook", "x faster", "{:.0f}"),
    ("meanKilowatts", "kW", "{:.2f}"),
    ("provenSeeds", "proven", "{:d}"),
    ("fullyServedSeeds", "served", "{:d}"),
    ("seeds", "seeds", "{:d}"),
    ("residentMebibytes", "MiB", "{:d}"),
)


def heading() -> str:
    """Names of the columns; CPU milliseconds but for `wall`, `off` is excess over the proven optimum."""
    return _row("case", "engine", [title for _, title, _ in _COLUMNS])


def line(case: str, engine: str, figures: Mapping[str, float | int]) -> str:
    """One engine's figures; a dash where there is nothing to say."""
    return _row(case, engine, [form.format(figures[k]) if k in figures else "-" for k, _, form in _COLUMNS])


def _row(case: str, engine: str, cells: list[str]) -> str:
    return f"{case:<44} {engine:<17}" + "".join(f"{cell:>9}" for cell in cells)
