"""What a run came to: requests, energy by boundary, and a timeline; written as one JSON and one NPZ file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulery.emulator.accounts import PoolAccount
from joulery.emulator.instance import WARMUP_CLOCK_SHARE, Instance, InstancePhase
from joulery.emulator.kubelet import STARTUP_JITTER
from joulery.emulator.lag import LagSummary
from joulery.emulator.meters import EMPTY_GPU_W
from joulery.emulator.traffic import PoolOutcome

SCHEMA_VERSION = 1
_NS = 1e-9
# Tensor-parallel sizes whose instances the timeline counts apart.
_SIZES = (1, 2, 4, 8)

# What a reader must know to judge the figures; part of every summary.
DECLARED: Mapping[str, object] = {
    "traffic": "round robin over ready pods, in process; one retry when an engine is killed",
    "timeToFirstToken": "from the first arrival, waiting without a ready pod and retries included",
    "startupJitterShare": STARTUP_JITTER,
    "emptyGpuWatts": EMPTY_GPU_W,
    "loadingPower": "model resident and idle",
    "warmupClockShare": WARMUP_CLOCK_SHARE,
}


@dataclass(frozen=True, slots=True)
class PoolResult:
    """One pool at the `gpu` boundary: GPUs of its pods from start to end."""

    requests: PoolOutcome
    energy_j: float
    gpu_seconds: float
    starts: int
    clock_changes: int


@dataclass(frozen=True, slots=True)
class EmulationOutcomes:
    """The whole run so far; `fleet_energy_j` adds unallocated GPUs of all nodes to the pools'.

    `started_at_s` is model time 0 in seconds since the Unix epoch.
    """

    started_at_s: float
    model_s: float
    pools: Mapping[str, PoolResult]
    fleet_energy_j: float
    lag: LagSummary
    seed: int
    gpus: int
    timeline: Mapping[str, npt.NDArray[np.float64]]


def pool_result(account: PoolAccount) -> PoolResult:
    """A pool's account closed now."""
    return PoolResult(
        requests=account.traffic.outcome(),
        energy_j=account.energy_j,
        gpu_seconds=account.gpu_seconds,
        starts=account.starts,
        clock_changes=account.clock_changes,
    )


def summary(outcomes: EmulationOutcomes) -> dict[str, Any]:
    """The figures as JSON values."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "seed": outcomes.seed,
        "startedAtUnixSeconds": outcomes.started_at_s,
        "modelSeconds": outcomes.model_s,
        "gpus": outcomes.gpus,
        "lag": {
            "ticks": outcomes.lag.ticks,
            "p50Milliseconds": outcomes.lag.p50_ms,
            "p99Milliseconds": outcomes.lag.p99_ms,
            "maxMilliseconds": outcomes.lag.max_ms,
            "valid": outcomes.lag.valid,
        },
        "fleetEnergyJoules": outcomes.fleet_energy_j,
        "pools": {name: _pool_summary(result, outcomes.model_s) for name, result in outcomes.pools.items()},
        "declared": dict(DECLARED),
    }


def _pool_summary(result: PoolResult, model_s: float) -> dict[str, Any]:
    requests = result.requests
    return {
        "requests": len(requests.arrival_ns),
        "finished": requests.finished,
        "failed": requests.failed,
        "retried": requests.retried,
        "waitedAtDoor": requests.waited_at_door,
        "waiting": requests.waiting,
        "gpuEnergyJoules": result.energy_j,
        "meanGpus": result.gpu_seconds / model_s if model_s > 0 else 0.0,
        "starts": result.starts,
        "clockChanges": result.clock_changes,
    }


def write(outcomes: EmulationOutcomes, folder: Path) -> None:
    """Write `outcomes.json`, and `outcomes.npz` with `POOL|column` and `timeline|column` arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, npt.NDArray[Any]] = {
        f"timeline|{name}": values for name, values in outcomes.timeline.items()
    }
    for pool, result in outcomes.pools.items():
        for column in ("arrival_ns", "ttft_ns", "tpot_ns", "finish_ns", "input_tokens", "output_tokens"):
            arrays[f"{pool}|{column}"] = getattr(result.requests, column)
    np.savez_compressed(folder / "outcomes.npz", allow_pickle=False, **arrays)
    (folder / "outcomes.json").write_text(json.dumps(summary(outcomes), indent=1))


@dataclass(slots=True)
class Timeline:
    """One row per sample: model seconds, fleet joules, and per pool the columns below."""

    rows: dict[str, list[float]] = field(default_factory=dict)

    def sample(self, now_s: float, fleet_energy_j: float, pools: Mapping[str, Mapping[str, float]]) -> None:
        """Append a row; every sample must name the same pools."""
        flat = {"time_s": now_s, "fleet_energy_j": fleet_energy_j}
        flat |= {f"{pool}|{name}": value for pool, values in pools.items() for name, value in values.items()}
        for name, value in flat.items():
            self.rows.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Columns as arrays."""
        return {name: np.array(values, float) for name, values in self.rows.items()}


def pool_columns(account: PoolAccount, instances: list[Instance]) -> dict[str, float]:
    """What the timeline keeps of one pool; `clock_mhz` is the mean over its GPUs, 0 without any."""
    gpus = sum(i.options.tensor_parallel_size for i in instances)
    clock_sum = sum(i.options.tensor_parallel_size * i.clock_mhz for i in instances)
    phases = [i.phase for i in instances]
    sizes = [i.options.tensor_parallel_size for i in instances if i.phase is not InstancePhase.DRAINING]
    return {
        **{f"tp{size}": sizes.count(size) for size in _SIZES},
        "loading": phases.count(InstancePhase.LOADING),
        "serving": phases.count(InstancePhase.SERVING),
        "draining": phases.count(InstancePhase.DRAINING),
        "gpus": gpus,
        "clock_mhz": clock_sum / gpus if gpus else 0.0,
        "in_flight": sum(i.in_flight for i in instances),
        "door": account.traffic.waiting,
        "energy_j": account.energy_j,
    }
