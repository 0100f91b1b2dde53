"""The public rows by accelerator and engine, each replayed once, and those out of KV memory set apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import yaml

from joulery.calibration.fit import Point, Setting
from joulery.calibration.form import LatencyLaw, replayed
from joulery.calibration.measurements import Measurement
from joulery.calibration.schedule import schedule_of
from joulery.serving.instance import kv_capacity_tokens
from joulery.serving.parameters import EngineProfile, LatencyParameters
from joulery.serving.profile_spec import profile_from_spec

# The profile whose devices, weights and KV caches the lanes have. No column says which type of cache was run: 16 bit
# on H100; on H200 TP1 a 16-bit cache would be full at 8192/1024 and 32 clients, which the measured TTFT refutes.
PROFILE = "llama-3.1-70b-fp8"

# Lengths are on average 0.9 of nominal. Rows below 0.69 of the KV cache are clean and those above 0.8 queue.
MEAN_LENGTH_SHARE = 0.9
FULL_SHARE = 0.75

# The model admits by whole prompts and preempts, as vLLM does. TensorRT-LLM admits by whole answers by default, so its
# rows out of KV memory are no test of the model.
PREEMPTING_ENGINE = "VLLM"

# Runs differ by the lengths drawn; the mean over seeds takes most of that noise out of the model's side.
SEEDS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class Lane:
    """Rows of one engine on one accelerator: those to fit, those out of KV memory, and what a fit takes as given."""

    accelerator: str
    engine: str
    points: tuple[Point, ...]
    full: tuple[Point, ...]
    setting: Setting

    @property
    def shapes(self) -> tuple[str, ...]:
        """Nominal lengths that were measured."""
        return tuple(sorted({p.row.shape for p in self.points}))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tensor-parallel sizes that were measured."""
        return tuple(sorted({p.row.tensor_parallel_size for p in self.points}))


def shipped_profile() -> EngineProfile:
    """The profile that ships for the accelerators of the rows."""
    text = files("joulery.data").joinpath(f"profiles/{PROFILE}.yaml").read_text(encoding="utf-8")
    return profile_from_spec(yaml.safe_load(text)["spec"], name=PROFILE)


def lane_of(
    rows: Sequence[Measurement], accelerator: str, engine: str, *, done: Callable[[], None] = lambda: None
) -> Lane:
    """Replay the rows of one lane; `done` is called after each."""
    profile = shipped_profile()
    points: list[Point] = []
    full: list[Point] = []
    for row in rows:
        if (row.accelerator, row.engine) != (accelerator, engine):
            continue
        capacity = kv_capacity_tokens(profile, accelerator, row.tensor_parallel_size)
        if _kv_demand_tokens(row) < FULL_SHARE * capacity:
            points.append(_replay(row, capacity, SEEDS))
        elif engine == PREEMPTING_ENGINE:
            # Slow to replay, and the time hangs on the queue, not on the lengths drawn.
            full.append(_replay(row, capacity, SEEDS[:1]))
        done()
    streaming_ms = law_of_profile(profile, accelerator).weight_streaming_ms
    return Lane(accelerator, engine, tuple(points), tuple(full), Setting(streaming_ms))


def _replay(row: Measurement, capacity_tokens: int, seeds: Sequence[int]) -> Point:
    schedules = [schedule_of(row.load(seed), capacity_tokens) for seed in seeds]
    return Point(row, replayed(schedules, row.tensor_parallel_size))


def law_of_profile(profile: EngineProfile, accelerator: str) -> LatencyLaw:
    """The law that the engine plays for an accelerator of a profile."""
    return law_of(profile.accelerators[accelerator].latency)


def law_of(of: LatencyParameters) -> LatencyLaw:
    """The law of a profile's parameters, in its own units."""
    return LatencyLaw(
        host_base_ms=1e-6 * of.host_base_ns.value,
        host_per_doubling_ms=1e-6 * of.host_per_doubling_ns.value,
        weight_streaming_ms=1e-6 * of.weight_streaming_ns.value,
        compute_token_us=1e-6 * of.compute_token_ps.value,
        compute_token_undivided_us=1e-6 * of.compute_token_undivided_ps.value,
        context_token_ns=1e-3 * of.context_token_ps.value,
        sequence_us=1e-3 * of.sequence_ns.value,
        client_base_ms=1e-6 * of.client_base_ns.value,
        client_per_gpu_ms=1e-6 * of.client_per_gpu_ns.value,
        streaming_step_ms={tp: 1e-6 * step.value for tp, step in of.streaming_step_ns.items()},
    )


def _kv_demand_tokens(row: Measurement) -> float:
    """Mean tokens in the KV cache with all clients running: answers are half done on average."""
    return row.concurrency * MEAN_LENGTH_SHARE * (row.input_tokens + row.output_tokens / 2)
