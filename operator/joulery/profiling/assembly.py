"""From fits to the parameters of a profile: value, range, grade and source of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from joulery.profiling.held_out import TPOT, TTFT, WATTS, mean_percent, summary
from joulery.profiling.latency_fit import LatencyFit, step_name
from joulery.profiling.power_fit import KINDS, RESPONSES, PowerFit
from joulery.serving.parameters import (
    AcceleratorProfile,
    Basis,
    ClockResponse,
    EngineProfile,
    Grade,
    HeldOutError,
    KvCache,
    LatencyParameters,
    ModelParameters,
    Parameter,
    PowerParameters,
)

# Field of the law, field of the profile, and how many of its units are one of the law's.
_FIELDS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "host_base_ms": ("host_base_ns", 1e6),
        "host_per_doubling_ms": ("host_per_doubling_ns", 1e6),
        "compute_token_us": ("compute_token_ps", 1e6),
        "compute_token_undivided_us": ("compute_token_undivided_ps", 1e6),
        "context_token_ns": ("context_token_ps", 1e3),
        "sequence_us": ("sequence_ns", 1e3),
        "client_base_ms": ("client_base_ns", 1e6),
        "client_per_gpu_ms": ("client_per_gpu_ns", 1e6),
    }
)
_STEP_SCALE = 1e6
_BY_WEIGHTS = ("compute_token_ps", "compute_token_undivided_ps", "weight_streaming_ns")
_LONGEST_SOURCE = 300


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a fit rests on: the file's name, its points within the KV memory, and of those with watts how many.

    `lowest_clock_mhz` is the lowest clock at which watts were measured, the highest one where no clock is given;
    `valid` says at which sizes, loads, lengths and clocks points were measured.
    """

    file: str
    points: int
    points_with_watts: int
    lowest_clock_mhz: int
    valid: str

    def basis(self, errors: Sequence[HeldOutError], quantity: str) -> Basis:
        """What a parameter that a quantity tells rests on."""
        points = self.points_with_watts if quantity == WATTS else self.points
        return Basis(points, mean_percent(errors, quantity), self.valid)


def scaled_like(
    like: EngineProfile, accelerator: str, model: ModelParameters, cache: KvCache, sizes: set[int]
) -> AcceleratorProfile:
    """What is taken from a profile for a model of other sizes: times go by the bytes of weights, or of KV cache.

    Compute does too: as many operations for each byte of weights. All of it is graded Assumed. Sizes that the profile
    lacks get the mean step of those that it has.
    """
    known = like.accelerators[accelerator]
    weights = model.streamed_weight_bytes / like.parameters.streamed_weight_bytes
    kv_bytes = cache.bytes_per_token / like.kv_cache(accelerator).bytes_per_token
    latency = known.latency
    steps = dict(latency.streaming_step_ns)
    typical = next(iter(steps.values()))
    mean_ns = sum(s.value for s in steps.values()) / len(steps)
    for size in sizes - set(steps):
        steps[size] = replace(typical.moved(mean_ns), source=f"mean of other sizes; {typical.source}")
    scaled = {name: getattr(latency, name).scaled(weights) for name in _BY_WEIGHTS}
    latency = replace(
        latency,
        **scaled,
        context_token_ps=latency.context_token_ps.scaled(kv_bytes),
        streaming_step_ns={size: steps[size].scaled(weights) for size in sorted(sizes)},
    )
    device = replace(known.device, tensor_parallel_sizes=tuple(sorted(sizes)), kv_cache=cache)
    return replace(known, device=device, latency=latency, held_out_errors=())


def assembled(
    base: AcceleratorProfile, like: str, latency: LatencyFit, power: PowerFit | None, evidence: Evidence
) -> AcceleratorProfile:
    """The accelerator with what was found, and the rest as taken from the profile `like`."""
    device = base.device
    if power is not None and any(name in power.estimate.standard_errors for name in RESPONSES):
        device = replace(device, measured_above_mhz=evidence.lowest_clock_mhz)
    return replace(
        base,
        device=device,
        latency=_latency(base.latency, like, latency, evidence),
        power=_power(base, like, power, evidence),
        clock=_clock(base.clock, like, power, evidence),
        held_out_errors=(*latency.errors, *(power.errors if power else ())),
    )


def _latency(base: LatencyParameters, like: str, fit: LatencyFit, evidence: Evidence) -> LatencyParameters:
    found: dict[str, Parameter] = {"weight_streaming_ns": taken(base.weight_streaming_ns, like)}
    for law_name, (name, scale) in _FIELDS.items():
        quantity = TTFT if law_name.startswith("client") else TPOT
        found[name] = _found(getattr(base, name), law_name, scale, fit, like, quantity, evidence)
    steps = {
        size: _found(step, step_name(size), _STEP_SCALE, fit, like, TPOT, evidence)
        for size, step in base.streaming_step_ns.items()
    }
    return LatencyParameters(streaming_step_ns=steps, **found)


def _found(
    base: Parameter, name: str, scale: float, fit: LatencyFit, like: str, quantity: str, evidence: Evidence
) -> Parameter:
    if name not in fit.estimate.standard_errors:
        return taken(base, like)
    low, high = fit.range_of(name)
    value = fit.estimate.values[name]
    source, basis = _source(fit, quantity, evidence), evidence.basis(fit.errors, quantity)
    return Parameter(scale * value, scale * low, scale * high, Grade.MEASURED, source, basis)


def taken(base: Parameter, like: str) -> Parameter:
    """A parameter of another profile, known there and assumed here."""
    source = _cut(f"from {like}, not told by the points: {base.source}")
    return replace(base, grade=Grade.ASSUMED, source=source, basis=None)


def _power(base: AcceleratorProfile, like: str, fit: PowerFit | None, evidence: Evidence) -> PowerParameters:
    known = base.power
    idle = {name: taken(getattr(known, name), like) for name in ("idle_empty_w", "idle_loaded_w")}
    if fit is None:
        return replace(known, **idle, **{name: taken(getattr(known, name), like) for name in KINDS})
    kinds = {name: _watts(base, name, fit, like, evidence) for name in KINDS}
    return replace(known, **idle, **kinds)


def _watts(base: AcceleratorProfile, name: str, fit: PowerFit, like: str, evidence: Evidence) -> Parameter:
    """Powers are sought above idle and kept within idle and the board's limit."""
    idle_w, limit_w = base.power.idle_loaded_w.value, base.device.board_limit_w
    value_w: float = getattr(fit.power, name).value
    told = f"{evidence.points_with_watts} points with watts of {evidence.file}, {summary(fit.errors, WATTS)}"
    basis = evidence.basis(fit.errors, WATTS)
    if name in fit.estimate.standard_errors:
        low, high = (min(idle_w + w, limit_w) for w in fit.range_of(name))
        source = _cut(f"fit of {told}")
        return Parameter(value_w, min(low, value_w), max(high, value_w), Grade.MEASURED, source, basis)
    known: Parameter = getattr(base.power, name)
    above_w = known.value - idle_w
    factor = (value_w - idle_w) / above_w if above_w > 0.0 else 1.0
    low, high = (min(idle_w + factor * max(w - idle_w, 0.0), limit_w) for w in (known.low, known.high))
    source = _cut(f"{like} times {factor:.2f} above idle by {told}: {known.source}")
    return Parameter(value_w, min(low, value_w), max(high, value_w), Grade.INTERPOLATED, source, basis)


def _clock(base: ClockResponse, like: str, fit: PowerFit | None, evidence: Evidence) -> ClockResponse:
    names = base.__dataclass_fields__
    response = {name: taken(getattr(base, name), like) for name in names}
    for name in RESPONSES:
        if fit is not None and name in fit.estimate.standard_errors:
            source = f"fit of {evidence.points_with_watts} points with watts of {evidence.file}"
            low, high = fit.range_of(name)
            value = getattr(fit.clock, name).value
            high = min(high, 0.99) if name == "memory_floor" else high
            response[name] = Parameter(
                value,
                min(low, value),
                max(high, value),
                Grade.MEASURED,
                f"{source}, {summary(fit.errors, WATTS)}",
                evidence.basis(fit.errors, WATTS),
            )
    return ClockResponse(**response)


def _source(fit: LatencyFit, quantity: str, evidence: Evidence) -> str:
    return _cut(
        f"fit of {evidence.points} points of {evidence.file}, {quantity} {summary(fit.errors, quantity)}"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SOURCE else f"{text[: _LONGEST_SOURCE - 3]}..."
