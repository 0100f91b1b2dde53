"""The scenario of demo and gate: two pools on six nodes, the truth drawn by seed and hidden from the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property

from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.policy import Cadence, ClockBounds, Guardrails, Policy
from joulery.domain.pool import DemandSource, Engine, Knob, Mode, Pool, Variant
from joulery.domain.request_class import Objective, RequestClass, TokenRange
from joulery.domain.vllm_metrics import DEFAULT_VLLM_VERSION, VLLM
from joulery.serving.catalog import PointCatalog
from joulery.serving.engine import instance_model
from joulery.serving.mix import of_requests
from joulery.serving.parameters import EngineProfile
from joulery.serving.points import OperatingPoints
from joulery.simulator.traces import (
    CODING_DISPERSION,
    CONVERSATION_DISPERSION,
    Requests,
    Workload,
    request_lengths,
    requests_of_day,
)
from joulery.simulator.world import Hardware, PoolWorld, World

# Days of May 2024 that both curves share; the gate runs on all of them.
SHARED_DAYS = tuple(date(2024, 5, day) for day in range(12, 17))
SCENARIO_NAMESPACE = "serving"
ACCELERATOR = "H100-SXM-80GB"
# 70B FP8 on H100: a full chunk of 512 tokens keeps iterations within 100 ms down to TP2 at 1.2 GHz
# (h + W + c x budget x f_max/f, reference calibration), 1024 would not.
TOKEN_BUDGET = 512
MAX_NUM_SEQS = 256
CLOCK_FLOOR_MHZ = 1200
CLOCK_CEILING_MHZ = 1980

# Shares of the 2024 requests that are kept, so that the peak of both fills about two thirds of 48 GPUs.
WORKLOADS: Mapping[str, Workload] = {
    "chat": Workload("conv", 0.30, CONVERSATION_DISPERSION),
    "code": Workload("code", 0.12, CODING_DISPERSION),
}
# Stock vLLM buckets judge TTFT at 1.0 or 2.5 s, not at DynamoLLM's 2.0 s; 2.5 s can be measured without doubt.
OBJECTIVE = Objective(time_to_first_token_ms=2500, time_per_output_token_ms=100)
ONE_CLASS = (RequestClass("All", TokenRange(1, 8192), TokenRange(1, 8192), OBJECTIVE),)


def variants_of(name: str, startup_s: float, sizes: Sequence[int] = (2, 4, 8)) -> tuple[Variant, ...]:
    """One Deployment per tensor-parallel size."""
    return tuple(
        Variant(
            name=f"tp{size}",
            target=TargetRef("apps/v1", "Deployment", f"{name}-tp{size}"),
            accelerator=ACCELERATOR,
            tensor_parallel_size=size,
            token_budget=TOKEN_BUDGET,
            max_num_seqs=MAX_NUM_SEQS,
            min_replicas=0,
            max_replicas=48 // size,
            startup_s=startup_s,
        )
        for size in sizes
    )


def pool_of(name: str, startup_s: float, profile_name: str) -> Pool:
    """A pool in Act with every knob."""
    return Pool(
        key=ObjectKey(SCENARIO_NAMESPACE, name),
        uid=name,
        generation=1,
        profile_name=profile_name,
        engine=Engine(VLLM, DEFAULT_VLLM_VERSION),
        classes=ONE_CLASS,
        variants=variants_of(name, startup_s),
        demand_source=DemandSource(served_model_name=f"{name}-70b"),
        mode=Mode.ACT,
        knobs=frozenset(Knob),
    )


def default_policy(cadence: Cadence | None = None, guardrails: Guardrails | None = None) -> Policy:
    """The administrator's policy: Act allowed, clocks from 1.2 GHz, where measurements end."""
    return Policy(
        name="default",
        max_mode=Mode.ACT,
        clocks=(ClockBounds(ACCELERATOR, CLOCK_FLOOR_MHZ, CLOCK_CEILING_MHZ),),
        guardrails=guardrails or Guardrails(),
        cadence=cadence or Cadence(),
    )


@dataclass(frozen=True)
class Scenario:
    """Pools, what the planner believes (`profile`), what is true (`truth`), and the cluster."""

    profile: EngineProfile
    truth: EngineProfile
    startup_s: float
    seed: int
    hardware: Hardware = field(default_factory=Hardware)
    catalog: PointCatalog = field(default_factory=PointCatalog)

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """The two pools."""
        return tuple(pool_of(name, self.startup_s, self.profile.name) for name in WORKLOADS)

    def with_knobs(self, knobs: frozenset[Knob]) -> tuple[Pool, ...]:
        """The pools with only some knobs."""
        return tuple(replace(pool, knobs=knobs) for pool in self.pools)

    def streams(
        self, day: date, *, squeeze: float = 1.0, duration_s: float | None = None, lead_s: float = 0.0
    ) -> dict[ObjectKey, Requests]:
        """That day's requests per pool, after a lead at its first rate."""
        return {
            pool.key: requests_of_day(
                WORKLOADS[pool.key.name],
                day,
                self.seed,
                squeeze=squeeze,
                duration_s=duration_s,
                lead_s=lead_s,
            )
            for pool in self.pools
        }

    def world(self, pools: Sequence[Pool] | None = None) -> World:
        """A fresh cluster with the true engines."""
        worlds = [
            PoolWorld(
                pool=pool,
                models={
                    v.name: instance_model(self.truth, v.accelerator, v.tensor_parallel_size)
                    for v in pool.variants
                },
                highest_mhz=CLOCK_CEILING_MHZ,
                desired={v.name: 0 for v in pool.variants},
            )
            for pool in (self.pools if pools is None else pools)
        ]
        return World(self.hardware, worlds, startup_s=self.startup_s, seed=self.seed)

    def true_points(self, pool: Pool) -> dict[str, OperatingPoints]:
        """Operating points of the true engine at the pool's true mix, for tuning baselines with hindsight."""
        inputs, outputs = request_lengths(WORKLOADS[pool.key.name].trace)
        mix = of_requests(inputs, outputs)
        return {
            v.name: self.catalog.points(
                self.truth, v, mix=mix, objective=pool.objective, clocks_mhz=self._clocks_mhz(v.accelerator)
            )
            for v in pool.variants
        }

    def _clocks_mhz(self, accelerator: str) -> tuple[int, ...]:
        device = self.truth.accelerators[accelerator].device
        return tuple(c for c in device.supported_clocks_mhz if CLOCK_FLOOR_MHZ <= c <= CLOCK_CEILING_MHZ)
