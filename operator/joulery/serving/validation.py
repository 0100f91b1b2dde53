"""What makes a profile unusable, each with the failing point. No numba."""

from __future__ import annotations

from collections.abc import Iterator

from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameter_walk import named_parameters
from joulery.serving.parameters import AcceleratorProfile, EngineProfile

# Iterations at which throughput must not fall as the clock rises: (decodes, context tokens, prefill tokens).
_ITERATIONS = ((1, 500, 0), (32, 40_000, 0), (128, 200_000, 0), (0, 0, 512), (32, 40_000, 2048))


def profile_problems(profile: EngineProfile) -> tuple[str, ...]:
    """Problems of a profile in words; empty where it is usable."""
    problems: list[str] = []
    if not profile.accelerators:
        problems.append("accelerators is empty")
    if profile.token_budget < 1:
        problems.append(f"engine.maxNumBatchedTokens: {profile.token_budget} is below 1")
    for name, accelerator in profile.accelerators.items():
        where = f"accelerators[{name}]"
        found = [*_parameter_problems(where, accelerator), *_device_problems(where, accelerator)]
        # Curves of broken numbers would only say the same again, less clearly.
        found = found or list(_curve_problems(where, profile, name))
        problems.extend(found)
    return tuple(problems)


def _parameter_problems(where: str, accelerator: AcceleratorProfile) -> Iterator[str]:
    for name, parameter in named_parameters(accelerator):
        # A negative clock response shows in the curves, where its clock can be named.
        if min(parameter.low, parameter.value) < 0 and not name.startswith("clock."):
            worst = min(parameter.low, parameter.value)
            yield f"{where}.{name}: {worst:g} is negative"
        elif not parameter.low <= parameter.value <= parameter.high:
            bounds = f"{parameter.low:g}..{parameter.high:g}"
            yield f"{where}.{name}: {parameter.value:g} is outside its range {bounds}"


def _device_problems(where: str, accelerator: AcceleratorProfile) -> Iterator[str]:
    device = accelerator.device
    if device.kv_cache is not None and device.kv_cache.bytes_per_token < 1:
        yield f"{where}.kvCache.bytesPerToken: {device.kv_cache.bytes_per_token} is below 1"
    clocks = device.supported_clocks_mhz
    if not clocks or sorted(set(clocks)) != list(clocks) or clocks[0] <= 0:
        yield f"{where}.supportedClocksMHz must rise and be positive, got {list(clocks)}"
    elif clocks[-1] != device.max_clock_mhz:
        yield f"{where}.supportedClocksMHz must end at maxClockMHz {device.max_clock_mhz}, got {clocks[-1]}"
    sizes = device.tensor_parallel_sizes
    if not sizes or len(set(sizes)) != len(sizes) or min(sizes) < 1:
        yield f"{where}.tensorParallelSizes must differ and be positive, got {list(sizes)}"
    if not 0.0 < device.kv_memory_share <= 1.0:
        yield f"{where}.kvMemoryShare must lie in (0, 1], got {device.kv_memory_share:g}"
    for name in ("memory_knee", "memory_floor", "bandwidth_knee"):
        value = getattr(accelerator.clock, name).value
        if not value < 1.0:
            yield f"{where}.clock.{name} must be below 1, got {value:g}"


def _curve_problems(where: str, profile: EngineProfile, accelerator: str) -> Iterator[str]:
    for size in profile.accelerators[accelerator].device.tensor_parallel_sizes:
        model = instance_model(profile, accelerator, size)
        if model.kv_capacity_tokens < 1:
            yield f"{where} TP{size}: {model.kv_capacity_tokens} tokens of KV cache fit beside the weights"
        yield from _watts_problems(f"{where} TP{size}", model)
        yield from _time_problems(f"{where} TP{size}", model)


def _watts_problems(where: str, model: InstanceModel) -> Iterator[str]:
    idle = model.idle_loaded_w
    for mhz in model.supported_clocks_mhz:
        clock = model.at_clock(mhz)
        for kind in ("host_w", "streaming_w", "attention_w", "compute_w"):
            watts = getattr(clock, kind)
            if watts < idle:
                yield f"{where} at {mhz} MHz: {kind} {watts:g} W is below idle {idle:g} W"


def _time_problems(where: str, model: InstanceModel) -> Iterator[str]:
    for decodes, context, prefill in _ITERATIONS:
        slower: int | None = None
        for mhz in model.supported_clocks_mhz:
            time_ns = model.at_clock(mhz).iteration_ns(
                decodes=decodes, context_tokens=context, prefill_tokens=prefill
            )
            point = f"{decodes} decodes, {context} context and {prefill} prefill tokens"
            if time_ns <= 0:
                yield f"{where} at {mhz} MHz: an iteration of {point} takes {time_ns} ns"
            if slower is not None and time_ns > slower:
                yield f"{where} at {mhz} MHz: throughput falls as the clock rises, for {point}"
            slower = time_ns
