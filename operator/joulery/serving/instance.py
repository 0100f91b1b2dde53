"""One (accelerator, tensor-parallel size) of a profile as the plain numbers that an engine runs on.

Integer nanoseconds and picoseconds, so that the same schedule follows on every machine; watts of the whole
instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulery.serving.parameters import (
    AcceleratorProfile,
    EngineProfile,
    LatencyParameters,
    UnknownVariantError,
)

# Decoding and prefill tokens per iteration above which vLLM's FP8 kernels take a step, and above which another
# choice of kernels leaves this share of it. Mean TPOT errors of laws fitted to the public rows are 1.4 % on H100 and
# 2.2 % on H200 with a half, 1.8 and 2.9 % with one and a half.
FIRST_STEP_TOKENS = 16
SECOND_STEP_TOKENS = 32
SECOND_STEP_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class ClockCoefficients:
    """Iteration time and watts of a whole instance at one clock; `streaming_ns` up to 16, 32 and more tokens."""

    clock_mhz: int
    host_ns: int
    streaming_ns: tuple[int, int, int]
    compute_token_ps: int
    context_token_ps: int
    sequence_ps: int
    idle_w: float
    host_w: float
    streaming_w: float
    attention_w: float
    compute_w: float

    def iteration_ns(self, *, decodes: int, context_tokens: int, prefill_tokens: int) -> int:
        """Time of one iteration by the formula of `LatencyParameters`, each term rounded to nanoseconds."""
        tokens = decodes + prefill_tokens
        steps = (tokens > FIRST_STEP_TOKENS) + (tokens > SECOND_STEP_TOKENS)
        linear = max(self.streaming_ns[steps], _to_ns(self.compute_token_ps * tokens))
        attention = _to_ns(self.sequence_ps * decodes) + _to_ns(self.context_token_ps * context_tokens)
        return self.host_ns + linear + attention


@dataclass(frozen=True)
class InstanceModel:
    """What an engine instance of one variant is, at any clock. Made by `instance_model`."""

    profile_hash: str
    accelerator: str
    tensor_parallel_size: int
    max_clock_mhz: int
    supported_clocks_mhz: tuple[int, ...]
    measured_above_mhz: int
    kv_capacity_tokens: int
    max_model_length: int
    client_ns: int
    board_limit_w: float
    idle_empty_w: float
    profile: AcceleratorProfile

    @property
    def idle_loaded_w(self) -> float:
        """Watts of the whole instance with the model loaded and nothing to do; no clock changes them."""
        return self.tensor_parallel_size * self.profile.power.idle_loaded_w.value

    @property
    def longest_request_tokens(self) -> int:
        """Most input and output tokens together that one request may have."""
        return min(self.kv_capacity_tokens, self.max_model_length)

    def at_clock(self, clock_mhz: int) -> ClockCoefficients:
        """Coefficients at a clock. Raises ValueError outside 1..max_clock_mhz."""
        if not 0 < clock_mhz <= self.max_clock_mhz:
            raise ValueError(
                f"clock {clock_mhz} MHz of {self.accelerator} is outside 1..{self.max_clock_mhz} MHz"
            )
        phi = clock_mhz / self.max_clock_mhz
        tp, latency = self.tensor_parallel_size, self.profile.latency
        slower = 1.0 / max(self.profile.clock.bandwidth(phi), 1e-3)
        compute = latency.compute_token_ps.value / tp + latency.compute_token_undivided_ps.value
        idle, host, streaming, attention, compute_w = watts_per_gpu(self.profile, phi)
        return ClockCoefficients(
            clock_mhz=clock_mhz,
            host_ns=_host_ns(latency, tp),
            streaming_ns=_streaming_ns(latency, tp, slower),
            compute_token_ps=round(compute / phi),
            context_token_ps=round(latency.context_token_ps.value / tp * slower),
            sequence_ps=round(latency.sequence_ns.value * 1000),
            idle_w=tp * idle,
            host_w=tp * host,
            streaming_w=tp * streaming,
            attention_w=tp * attention,
            compute_w=tp * compute_w,
        )


def instance_model(profile: EngineProfile, accelerator: str, tensor_parallel_size: int) -> InstanceModel:
    """The instance of one variant. Raises UnknownVariantError naming what the profile does hold."""
    known = profile.accelerators.get(accelerator)
    if known is None:
        held = ", ".join(sorted(profile.accelerators))
        raise UnknownVariantError(f"profile {profile.name} holds no accelerator {accelerator!r}, only {held}")
    sizes = known.device.tensor_parallel_sizes
    if tensor_parallel_size not in sizes:
        raise UnknownVariantError(
            f"profile {profile.name} holds no TP{tensor_parallel_size} on {accelerator}, only TP {sizes}"
        )
    latency = known.latency
    return InstanceModel(
        profile_hash=profile.content_hash,
        accelerator=accelerator,
        tensor_parallel_size=tensor_parallel_size,
        max_clock_mhz=known.device.max_clock_mhz,
        supported_clocks_mhz=known.device.supported_clocks_mhz,
        measured_above_mhz=known.device.measured_above_mhz,
        kv_capacity_tokens=kv_capacity_tokens(profile, accelerator, tensor_parallel_size),
        max_model_length=profile.parameters.max_model_length,
        client_ns=round(
            latency.client_base_ns.value + latency.client_per_gpu_ns.value * tensor_parallel_size
        ),
        board_limit_w=known.device.board_limit_w,
        idle_empty_w=known.power.idle_empty_w.value * tensor_parallel_size,
        profile=known,
    )


def kv_capacity_tokens(profile: EngineProfile, accelerator: str, tensor_parallel_size: int) -> int:
    """Tokens that fit: (share x memory x TP - weights - reserve x TP) / bytes per token, at least 0."""
    device = profile.accelerators[accelerator].device
    usable = device.kv_memory_share * device.memory_bytes * tensor_parallel_size
    left = usable - profile.parameters.weight_bytes - device.reserved_bytes_per_gpu * tensor_parallel_size
    return max(0, int(left // profile.kv_cache(accelerator).bytes_per_token))


def _host_ns(latency: LatencyParameters, tp: int) -> int:
    return round(latency.host_base_ns.value + latency.host_per_doubling_ns.value * math.log2(tp))


def _streaming_ns(latency: LatencyParameters, tp: int, slower: float) -> tuple[int, int, int]:
    base, step = latency.weight_streaming_ns.value / tp, latency.streaming_step_ns[tp].value
    later = SECOND_STEP_SHARE * step
    return round(base * slower), round((base + step) * slower), round((base + later) * slower)


def watts_per_gpu(profile: AcceleratorProfile, phi: float) -> tuple[float, float, float, float, float]:
    """Watts per GPU idle, in host, streaming, attention and compute time, each at most the board limit."""
    power, clock, limit = profile.power, profile.clock, profile.device.board_limit_w
    memory, compute = clock.memory_bound(phi), clock.compute_bound(phi)
    idle = power.idle_loaded_w.value

    def above_idle(watts: float, response: float) -> float:
        return min(idle + response * (watts - idle), limit)

    return (
        idle,
        above_idle(power.host_w.value, memory),
        above_idle(power.weight_streaming_w.value, memory),
        above_idle(power.decode_attention_w.value, memory),
        above_idle(power.compute_w.value, compute),
    )


def _to_ns(picoseconds: int) -> int:
    return (picoseconds + 500) // 1000
