"""Figures of one run in the one result shape of design §10."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulery.domain.pool import Pool
from joulery.domain.request_class import Objective, RequestClass
from joulery.simulator.world import IDLE_EMPTY_GPU_W, Hardware

_MS = 1_000_000
_KWH_J = 3_600_000.0
# MLPerf v4.1 power, 8 x H200: wall = 1,385 W + 1.2 x GPU watts (joulery.data, server fit).
SERVER_FIXED_W = 1385.0
SERVER_SLOPE = 1.2

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Served:
    """Finished requests of one pool as parallel arrays; those `turned_away` never found an instance."""

    input_tokens: IntArray
    output_tokens: IntArray
    ttft_ns: IntArray
    tpot_ns: IntArray
    arrival_ns: IntArray
    turned_away: int = 0

    def __len__(self) -> int:
        return len(self.ttft_ns)


def attained(served: Served, objective: Objective) -> NDArray[np.bool_]:
    """Which requests met TTFT and TPOT."""
    ttft_ok = served.ttft_ns <= objective.time_to_first_token_ms * _MS
    tpot_ok = served.tpot_ns <= objective.time_per_output_token_ms * _MS
    return np.asarray(ttft_ok & tpot_ok)


def _figures(
    served: Served, chosen: NDArray[np.bool_], ok: NDArray[np.bool_], missed: int = 0
) -> dict[str, object]:
    count = int(chosen.sum())
    total = count + missed
    if total == 0:
        return {"requests": 0, "attainmentPercent": None, "timeToFirstTokenP99Milliseconds": None,
                "timePerOutputTokenP99Milliseconds": None}  # fmt: skip
    p99 = [
        float(np.percentile(a[chosen], 99)) / _MS if count else None for a in (served.ttft_ns, served.tpot_ns)
    ]
    return {
        "requests": total,
        "attainmentPercent": round(100.0 * float((ok & chosen).sum()) / total, 4),
        "timeToFirstTokenP99Milliseconds": round(p99[0], 3) if p99[0] is not None else None,
        "timePerOutputTokenP99Milliseconds": round(p99[1], 3) if p99[1] is not None else None,
    }


def _of_class(served: Served, chosen: RequestClass) -> NDArray[np.bool_]:
    inside_input = (served.input_tokens >= chosen.input_tokens.minimum) & (
        served.input_tokens <= chosen.input_tokens.maximum
    )
    inside_output = (served.output_tokens >= chosen.output_tokens.minimum) & (
        served.output_tokens <= chosen.output_tokens.maximum
    )
    return np.asarray(inside_input & inside_output)


def pool_figures(pool: Pool, served: Served) -> dict[str, object]:
    """Requests, attainment and P99s of a pool and of each of its classes, all under the lane's one objective."""
    ok = attained(served, pool.objective)
    everything = np.ones(len(served), dtype=bool)
    figures = _figures(served, everything, ok, missed=served.turned_away)
    figures["worstWindowAttainmentPercent"] = worst_window_percent(served, ok)
    figures["classes"] = {c.name: _figures(served, _of_class(served, c), ok) for c in pool.classes}
    return figures


def worst_window_percent(served: Served, ok: NDArray[np.bool_], window_s: float = 600.0) -> float | None:
    """Lowest attainment over ten-minute windows of at least 100 requests; None where no window has as many."""
    if not len(served):
        return None
    window = served.arrival_ns // round(window_s * 1e9)
    window -= window.min()
    totals = np.bincount(window)
    hits = np.bincount(window, weights=ok)
    counted = totals >= 100
    return round(float(100.0 * (hits[counted] / totals[counted]).min()), 4) if counted.any() else None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Everything one policy's run yields before it is printed."""

    pools: Mapping[str, tuple[Pool, Served]]
    gpu_energy_j: float
    gpu_seconds: float
    duration_s: float
    hardware: Hardware
    constants: Mapping[str, object]
    actions: Mapping[str, int]
    pool_energy_j: Mapping[str, float]


def summarise(run: RunFigures) -> dict[str, object]:
    """One policy's entry under `policies`."""
    idle_j = (run.hardware.gpus * run.duration_s - run.gpu_seconds) * IDLE_EMPTY_GPU_W
    fleet_j = run.gpu_energy_j + idle_j
    server_j = SERVER_SLOPE * fleet_j + SERVER_FIXED_W * run.hardware.nodes * run.duration_s
    pools = {}
    for name, (pool, served) in run.pools.items():
        pools[name] = {**pool_figures(pool, served), "gpuKilowattHours": run.pool_energy_j[name] / _KWH_J}
    return {
        "gpuKilowattHours": run.gpu_energy_j / _KWH_J,
        "fleetKilowattHours": fleet_j / _KWH_J,
        "serverKilowattHours": server_j / _KWH_J,
        "meanGpus": run.gpu_seconds / run.duration_s,
        "shedRequests": sum(served.turned_away for _, served in run.pools.values()),
        "constants": dict(run.constants),
        "actions": dict(run.actions),
        "pools": pools,
    }


def lowest_attainment_percent(summary: Mapping[str, object]) -> float:
    """The worst pool of one policy's entry."""
    pools = summary["pools"]
    assert isinstance(pools, dict)
    return min(float(p["attainmentPercent"]) for p in pools.values() if p["attainmentPercent"] is not None)


def saving_percent(summary: Mapping[str, object], baseline: Mapping[str, object], boundary: str) -> float:
    """1 - energy / baseline at `gpu`, `fleet` or `server`, in percent."""
    key = f"{boundary}KilowattHours"
    return 100.0 * (1.0 - float(str(summary[key])) / float(str(baseline[key])))
