"""What a measured task says: percentiles over its seeds, and how it stands against the exact optimum."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from joulery.bench.measure import Measured, Solve

Exact: TypeAlias = Mapping[int, float]
"""Least watts by seed, where they are proven."""
# Pools shed by rounding alone.
SHED_TOLERANCE = 1e-6
# The gap at which an engine that stops by gap calls its plan proven; closer counts as exact.
EXACT_GAP = 1e-5
# Whose proof counts: HiGHS on the whole model.
ORACLES = frozenset({"milp", "textbook", "textbook-partial"})


def exact_of(rows: Sequence[Measured]) -> Exact:
    """Least cost by seed over the oracles that proved theirs."""
    least: dict[int, float] = {}
    for row in rows:
        if row.task.engine not in ORACLES:
            continue
        for seed, solve in enumerate(row.cold):
            found = solve.found
            if found.is_proven and found.cost_w - found.bound_w <= EXACT_GAP * abs(found.cost_w):
                least[seed] = min(found.cost_w, least.get(seed, found.cost_w))
    return least


def figures_of(row: Measured, exact: Exact) -> dict[str, float | int]:
    """Figures by name, units in the names; times of one thread: CPU, and wall clock beside it."""
    found = [solve.found for solve in row.cold]
    served = [f for f in found if f.shed_pools <= SHED_TOLERANCE]
    gaps = [1.0 - f.bound_w / f.cost_w for f in served if f.cost_w > 0.0]
    excess = [
        f.cost_w / exact[seed] - 1.0
        for seed, f in enumerate(found)
        if seed in exact and f.shed_pools <= SHED_TOLERANCE
    ]
    return {
        "seeds": len(found),
        **_times("cold", row.cold),
        **(_times("warm", row.warm) if row.warm else {}),
        **_spread("gapToBound", gaps),
        "exactKnown": len(excess),
        **_spread("excessOverExact", excess),
        "fullyServedSeeds": len(served),
        "provenSeeds": sum(f.is_proven for f in found),
        "meanKilowatts": round(_mean([f.cost_w for f in found if not math.isnan(f.cost_w)]) / 1e3, 4),
        "residentMebibytes": round(row.resident_bytes / 2**20),
    }


def times_faster(row: Measured, other: Measured) -> float:
    """Median over common seeds of the other's wall time over this one's."""
    pairs = zip(row.cold, other.cold, strict=False)
    return round(statistics.median(theirs.wall_s / ours.wall_s for ours, theirs in pairs), 1)


def faults_of(row: Measured) -> tuple[str, ...]:
    """What the checker found in any of its plans."""
    return tuple(
        f"{row.task.case.name} {row.task.form} {row.task.engine} seed {seed}: {fault}"
        for solves in (row.cold, row.warm)
        for seed, solve in enumerate(solves)
        for fault in solve.found.faults
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _times(name: str, solves: Sequence[Solve]) -> dict[str, float]:
    found = {}
    for clock, seconds in (("", [s.wall_s for s in solves]), ("Cpu", [s.cpu_s for s in solves])):
        milliseconds = [value * 1e3 for value in seconds]
        found[f"{name}P50{clock}Milliseconds"] = round(statistics.median(milliseconds), 2)
        found[f"{name}P90{clock}Milliseconds"] = round(ninety(milliseconds), 2)
    return found


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        f"{name}P50": float(f"{statistics.median(values):.3g}"),
        f"{name}P90": float(f"{ninety(values):.3g}"),
        f"{name}Max": float(f"{max(values):.3g}"),
    }


def ninety(values: Sequence[float]) -> float:
    """The 90th percentile, the value itself of one."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=10, method="inclusive")[-1]
