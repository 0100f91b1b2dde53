"""The emulated pools: true parameters, which the operator never sees, traffic, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from joulery.domain.keys import ObjectKey
from joulery.domain.vllm_metrics import DEFAULT_VLLM_VERSION, VLLM, EngineMetrics, metrics_of
from joulery.emulator.traffic import PoolTraffic
from joulery.errors import ConfigError
from joulery.serving.parameters import EngineProfile


@dataclass(frozen=True, slots=True)
class PoolTruth:
    """Pods of the pool's namespace that serve its model run by these true parameters."""

    key: ObjectKey
    served_model_name: str
    truth: EngineProfile
    accelerator: str
    engine_version: str = DEFAULT_VLLM_VERSION

    @property
    def metrics(self) -> EngineMetrics:
        """Names on its engines' pages. Raises ConfigError for an engine version without a table."""
        table = metrics_of(VLLM, self.engine_version)
        if table is None:
            raise ConfigError(f"pool {self.key}: no metrics table for {VLLM} {self.engine_version}")
        return table


@dataclass(slots=True)
class PoolAccount:
    """A pool's traffic and cost. Energy is that of its pods' GPUs: loading, idle and draining included."""

    pool: PoolTruth
    traffic: PoolTraffic = field(default_factory=PoolTraffic)
    energy_j: float = 0.0
    gpu_seconds: float = 0.0
    starts: int = 0
    clock_changes: int = 0
