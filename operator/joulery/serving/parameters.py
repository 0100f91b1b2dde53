"""What a profile holds: time, power and clock response of one model x engine x precision, per accelerator.

Form J of the serving model (iteration time of a continuous-batching engine as a roofline with laws over
tensor parallelism) and a time-share form of power. Standard library only; loading this module compiles
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property


class Grade(StrEnum):
    """How a parameter is known."""

    MEASURED = "Measured"
    INTERPOLATED = "Interpolated"
    ASSUMED = "Assumed"


@dataclass(frozen=True, slots=True)
class Basis:
    """Points that a value was found from, its mean error on others (percent, None unknown), and where it holds."""

    points: int
    mean_error_percent: float | None
    valid: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number with the range that the bands are drawn from; the unit is in the name of its field."""

    value: float
    low: float
    high: float
    grade: Grade
    source: str
    basis: Basis | None = None

    def scaled(self, factor: float) -> Parameter:
        """Value and range multiplied."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def moved(self, value: float) -> Parameter:
        """Another value; the range is widened where it does not hold it."""
        return replace(self, value=value, low=min(self.low, value), high=max(self.high, value))


@dataclass(frozen=True, slots=True)
class LatencyParameters:
    """Time of an iteration with nd decoding requests holding ctx tokens and P prefill tokens, M = nd + P:

    t = h + max(W, c M f_max/f) + b nd + k ctx, with h = host_base + host_per_doubling log2 TP, W =
    weight_streaming/TP + step(TP) [16 < M <= 32] + step(TP)/2 [M > 32], c = compute_token/TP +
    compute_token_undivided, k = context_token/TP. TTFT adds client_base + client_per_gpu TP (client, HTTP,
    tokeniser).
    """

    host_base_ns: Parameter
    host_per_doubling_ns: Parameter
    weight_streaming_ns: Parameter
    streaming_step_ns: Mapping[int, Parameter]
    compute_token_ps: Parameter
    compute_token_undivided_ps: Parameter
    context_token_ps: Parameter
    sequence_ns: Parameter
    client_base_ns: Parameter
    client_per_gpu_ns: Parameter


@dataclass(frozen=True, slots=True)
class PowerParameters:
    """Watts of one GPU at the highest clock by kind of time; an iteration draws their time-weighted mean.

    Of the terms of `LatencyParameters`, h is host and all-reduce, W weight streaming or c M compute, and
    b nd + k ctx decode attention.
    """

    idle_empty_w: Parameter
    idle_loaded_w: Parameter
    host_w: Parameter
    weight_streaming_w: Parameter
    decode_attention_w: Parameter
    compute_w: Parameter


@dataclass(frozen=True, slots=True)
class ClockResponse:
    """Response of power above idle and of bandwidth to phi = f / f_max.

    Memory-bound and waiting: v_m = v0 + (1 - v0) clip((phi - k)/(1 - k), 0, 1). Compute-bound: v_c = phi^g
    above the knee k and k^(g-1) phi below it (voltage floor; a power law all the way down invents an optimum
    at the lowest clock). Bandwidth is constant above its knee and falls by `bandwidth_slope` per unit of phi
    below.
    """

    memory_floor: Parameter
    memory_knee: Parameter
    compute_exponent: Parameter
    bandwidth_knee: Parameter
    bandwidth_slope: Parameter

    def memory_bound(self, phi: float) -> float:
        """Share of the power above idle that memory-bound time draws at phi."""
        floor, knee = self.memory_floor.value, self.memory_knee.value
        return floor + (1.0 - floor) * min(max((phi - knee) / (1.0 - knee), 0.0), 1.0)

    def compute_bound(self, phi: float) -> float:
        """Share of the power above idle that compute-bound time draws at phi."""
        knee, exponent = self.memory_knee.value, self.compute_exponent.value
        return float(phi**exponent if phi >= knee else knee ** (exponent - 1.0) * phi)

    def bandwidth(self, phi: float) -> float:
        """Memory bandwidth at phi relative to the highest clock."""
        return 1.0 - self.bandwidth_slope.value * max(self.bandwidth_knee.value - phi, 0.0)


@dataclass(frozen=True, slots=True)
class ServerParameters:
    """Wall power of a server: base + slope x watts of its GPUs."""

    base_w: float
    slope: float
    gpus_per_server: int

    def wall_w(self, gpu_w: float, *, gpus: int) -> float:
        """Wall watts of a share of a server with so many GPUs drawing `gpu_w` together."""
        return self.base_w * gpus / self.gpus_per_server + self.slope * gpu_w


@dataclass(frozen=True, slots=True)
class KvCache:
    """Number format of a KV cache, and bytes per token over all GPUs of an instance."""

    type: str
    bytes_per_token: int


@dataclass(frozen=True, slots=True)
class AcceleratorParameters:
    """The device. Of its clocks those worth planning, rising; below `measured_above_mhz` all is assumed.

    `kv_cache` is what was measured on it, None where that is the cache of the profile.
    """

    name: str
    max_clock_mhz: int
    supported_clocks_mhz: tuple[int, ...]
    measured_above_mhz: int
    memory_bytes: int
    kv_memory_share: float
    reserved_bytes_per_gpu: int
    board_limit_w: float
    tensor_parallel_sizes: tuple[int, ...]
    server: ServerParameters
    kv_cache: KvCache | None = None


@dataclass(frozen=True, slots=True)
class HeldOutError:
    """Relative error, in percent, on points that the parameters were not fitted to."""

    quantity: str
    held_out: str
    points: int
    mean_percent: float
    max_percent: float


@dataclass(frozen=True, slots=True)
class AcceleratorProfile:
    """Everything known of a model on one accelerator."""

    device: AcceleratorParameters
    latency: LatencyParameters
    power: PowerParameters
    clock: ClockResponse
    held_out_errors: tuple[HeldOutError, ...] = ()


# Mean held-out errors up to this are what planning has room for: the emulated truth is as far off.
HELD_OUT_LIMIT_PERCENT = 10.0


def worst_mean_error(accelerator: AcceleratorProfile) -> HeldOutError | None:
    """The held-out error of the largest mean; None where none is stated."""
    return max(accelerator.held_out_errors, key=lambda e: e.mean_percent, default=None)


@dataclass(frozen=True, slots=True)
class ModelParameters:
    """Memory of the model; `weight_bytes` as resident, over all GPUs of an instance."""

    weight_bytes: int
    streamed_weight_bytes: int
    kv_bytes_per_token: int
    max_model_length: int


@dataclass(frozen=True)
class EngineProfile:
    """The serving model of one model x engine x precision. Immutable; equal content has an equal hash.

    `token_budget` is that of the iterations that were measured; points are computed with the variant's own.
    """

    name: str
    model: str
    engine: str
    engine_version: str
    token_budget: int
    precision: str
    kv_cache_type: str
    parameters: ModelParameters
    accelerators: Mapping[str, AcceleratorProfile]

    @cached_property
    def content_hash(self) -> str:
        """Hex digest of all content but the name."""
        unnamed = replace(self, name="")
        return hashlib.sha256(repr(unnamed).encode()).hexdigest()[:16]

    def kv_cache(self, accelerator: str) -> KvCache:
        """The KV cache on one of the accelerators."""
        own = self.accelerators[accelerator].device.kv_cache
        return own or KvCache(self.kv_cache_type, self.parameters.kv_bytes_per_token)

    def validate(self) -> tuple[str, ...]:
        """Problems, each with its failing point; empty where the profile is usable."""
        from joulery.serving.validation import profile_problems

        return profile_problems(self)


class UnknownVariantError(KeyError):
    """An accelerator or tensor-parallel size that a profile does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])
