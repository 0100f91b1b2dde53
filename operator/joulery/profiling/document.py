"""A profile as the YAML of an EnergyProfile: the inverse of `joulery.serving.profile_spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from joulery.api.v1alpha1.common import camel
from joulery.serving.parameters import (
    AcceleratorParameters,
    AcceleratorProfile,
    Basis,
    ClockResponse,
    EngineProfile,
    HeldOutError,
    LatencyParameters,
    Parameter,
    PowerParameters,
)

API_VERSION = "joulery.dev/v1alpha1"
# Suffix of a field here, suffix there, and how many of its units are one of ours.
_UNITS: Mapping[str, tuple[str, float]] = {
    "_ns": ("Nanoseconds", 1.0),
    "_ps": ("Picoseconds", 1.0),
    "_w": ("Milliwatts", 1000.0),
}


def manifest_text(profile: EngineProfile, *, comments: Sequence[str] = ()) -> str:
    """The file, with comments at its head."""
    document = {
        "apiVersion": API_VERSION,
        "kind": "EnergyProfile",
        "metadata": {"name": profile.name},
        "spec": spec_of(profile),
    }
    # A file's name may hold a line break, and must not end a comment.
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    return head + yaml.safe_dump(document, sort_keys=False, width=118, allow_unicode=True)


def spec_of(profile: EngineProfile) -> dict[str, object]:
    """The spec, in the units of its field names."""
    model = profile.parameters
    return {
        "model": profile.model,
        "engine": {
            "type": profile.engine,
            "version": profile.engine_version,
            "maxNumBatchedTokens": profile.token_budget,
        },
        "precision": profile.precision,
        "kvCacheType": profile.kv_cache_type,
        "parameters": {
            "weightBytes": model.weight_bytes,
            "streamedWeightBytes": model.streamed_weight_bytes,
            "kvBytesPerToken": model.kv_bytes_per_token,
            "maxModelLength": model.max_model_length,
        },
        "accelerators": [_accelerator(a) for a in profile.accelerators.values()],
    }


def decimal_text(number: float) -> str:
    """A decimal string as the API takes it: at most four digits before the point and six behind."""
    return f"{min(max(number, 0.0), 9999.0):.6f}".rstrip("0").removesuffix(".")


def _accelerator(accelerator: AcceleratorProfile) -> dict[str, object]:
    steps = accelerator.latency.streaming_step_ns
    return {
        **_device(accelerator.device),
        "tensorParallelSizes": [
            {"size": size, "streamingStepNanoseconds": _parameter(steps[size], 1.0)}
            for size in accelerator.device.tensor_parallel_sizes
        ],
        "latency": _group(accelerator.latency),
        "power": _group(accelerator.power),
        "clockResponse": _group(accelerator.clock),
        "server": {
            "baseMilliwatts": round(1000 * accelerator.device.server.base_w),
            "slope": decimal_text(accelerator.device.server.slope),
            "gpusPerServer": accelerator.device.server.gpus_per_server,
        },
        "heldOutErrors": [_error(e) for e in accelerator.held_out_errors],
    }


def _device(device: AcceleratorParameters) -> dict[str, object]:
    own = device.kv_cache
    cache = {} if own is None else {"kvCache": {"type": own.type, "bytesPerToken": own.bytes_per_token}}
    return {
        "name": device.name,
        "maxClockMHz": device.max_clock_mhz,
        "supportedClocksMHz": list(device.supported_clocks_mhz),
        "measuredAboveMHz": device.measured_above_mhz,
        "memoryBytes": device.memory_bytes,
        "kvMemoryShare": decimal_text(device.kv_memory_share),
        "reservedBytesPerGPU": device.reserved_bytes_per_gpu,
        "boardLimitMilliwatts": round(1000 * device.board_limit_w),
        **cache,
    }


def _group(group: LatencyParameters | PowerParameters | ClockResponse) -> dict[str, object]:
    named = {name: getattr(group, name) for name in group.__dataclass_fields__}
    return {
        _field(name): _parameter(value, _scale(name))
        for name, value in named.items()
        if isinstance(value, Parameter)
    }


def _field(name: str) -> str:
    for suffix, (unit, _) in _UNITS.items():
        if name.endswith(suffix):
            return camel(name.removesuffix(suffix)) + unit
    return camel(name)


def _scale(name: str) -> float | None:
    return next((scale for suffix, (_, scale) in _UNITS.items() if name.endswith(suffix)), None)


def _parameter(parameter: Parameter, scale: float | None) -> dict[str, object]:
    """A parameter; without a scale it has no unit and is written as a decimal string."""

    def number(value: float) -> int | str:
        return decimal_text(value) if scale is None else round(scale * value)

    return {
        "value": number(parameter.value),
        "low": number(parameter.low),
        "high": number(parameter.high),
        "grade": str(parameter.grade),
        "source": parameter.source,
        **_basis(parameter.basis),
    }


def _basis(basis: Basis | None) -> dict[str, object]:
    if basis is None:
        return {}
    error = basis.mean_error_percent
    told = {} if error is None else {"meanErrorPercent": decimal_text(round(error, 1))}
    return {"basis": {"points": basis.points, **told, "valid": basis.valid}}


def _error(error: HeldOutError) -> dict[str, object]:
    return {
        "quantity": error.quantity,
        "heldOut": error.held_out,
        "points": error.points,
        "meanPercent": decimal_text(round(error.mean_percent, 1)),
        "maxPercent": decimal_text(round(error.max_percent, 1)),
    }
