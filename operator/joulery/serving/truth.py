"""True parameters that a profile only estimates, drawn by seed from the profile's own ranges.

The emulator and the replay run on these, hidden from the operator: time stays within 10 % and watts within
15 % of what the profile says, term by term and so in every sum of terms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from joulery.serving.instance import instance_model
from joulery.serving.parameters import (
    AcceleratorProfile,
    ClockResponse,
    EngineProfile,
    LatencyParameters,
    Parameter,
    PowerParameters,
)

TIME_SPREAD = 0.10
POWER_SPREAD = 0.15
_SHRINK_STEPS = 20
_PHI_GRID = tuple(0.5 + 0.01 * i for i in range(51))

_Group = TypeVar("_Group", LatencyParameters, PowerParameters)


# Iterations that stand for all in the factors reported: (decodes, context tokens, prefill tokens).
_REFERENCE = ((1, 1000, 0), (12, 15_000, 0), (48, 60_000, 0), (12, 15_000, 500))


@dataclass(frozen=True, slots=True)
class Truth:
    """A drawn profile and how it compares: mean factors of time and watts, and the slowest iteration's.

    Factors are over reference iterations of all variants asked for at the highest clock; above 1 the truth is
    slower, or draws more, than the profile says.
    """

    profile: EngineProfile
    time_factor: float
    power_factor: float
    slowest_time_factor: float


def perturbed(profile: EngineProfile, *, time_factor: float, power_factor: float) -> EngineProfile:
    """All times and all watts multiplied, watts capped at the board limit; the clock response is kept."""
    accelerators = {
        name: replace(
            known,
            latency=_scaled(known.latency, time_factor),
            power=_scaled(known.power, power_factor),
        )
        for name, known in profile.accelerators.items()
    }
    return replace(profile, accelerators=accelerators)


def draw_truth(
    profile: EngineProfile, seed: int, *, time_factor: float | None = None, on: str | None = None
) -> Truth:
    """True parameters by seed: a common factor uniform in the spread, then each term uniform in its range.

    What would leave the spread is cut to it; clock responses are drawn towards the profile's until watts at
    every clock stay within it.

    Args:
        profile: what the truth is drawn around.
        seed: draws all that is not forced.
        time_factor: forces this factor on every time, however far from the profile's; watts stay as drawn.
        on: the accelerator whose variants the factors told are of, by default all.
    """
    drawn = _drawn_profile(profile, seed)
    true = drawn if time_factor is None else _at_speed(profile, drawn, time_factor)
    return _compared(profile, true, tuple(profile.accelerators) if on is None else (on,))


def _drawn_profile(profile: EngineProfile, seed: int) -> EngineProfile:
    rng = random.Random(seed)
    time_factor = rng.uniform(1.0 - TIME_SPREAD, 1.0 + TIME_SPREAD)
    power_factor = rng.uniform(1.0 - POWER_SPREAD, 1.0 + POWER_SPREAD)
    accelerators = {
        name: replace(
            known,
            latency=_drawn(known.latency, time_factor, TIME_SPREAD, rng),
            power=_drawn(known.power, power_factor, POWER_SPREAD, rng),
            clock=_drawn_clock(known.clock, rng),
        )
        for name, known in profile.accelerators.items()
    }
    bounded = {name: _within_spread(profile.accelerators[name], true) for name, true in accelerators.items()}
    return replace(profile, accelerators=bounded)


def _at_speed(profile: EngineProfile, drawn: EngineProfile, time_factor: float) -> EngineProfile:
    """The drawn one with all of the profile's times multiplied in place of its own."""
    accelerators = {
        name: replace(known, latency=_scaled(profile.accelerators[name].latency, time_factor))
        for name, known in drawn.accelerators.items()
    }
    return replace(drawn, accelerators=accelerators)


def _compared(profile: EngineProfile, true: EngineProfile, names: Sequence[str]) -> Truth:
    times, watts = _time_ratios(profile, true, names), _watts_ratios(profile, true, names)
    return Truth(true, sum(times) / len(times), sum(watts) / len(watts), max(times))


def _scaled(group: _Group, factor: float) -> _Group:
    changes: dict[str, object] = {}
    for field in fields(group):
        value = getattr(group, field.name)
        if isinstance(value, Parameter):
            changes[field.name] = value.scaled(factor)
        else:
            changes[field.name] = {tp: step.scaled(factor) for tp, step in value.items()}
    return replace(group, **changes)  # type: ignore[arg-type]


def _drawn(group: _Group, factor: float, spread: float, rng: random.Random) -> _Group:
    def draw(parameter: Parameter) -> Parameter:
        wanted = factor * rng.uniform(parameter.low, parameter.high)
        low, high = (1.0 - spread) * parameter.value, (1.0 + spread) * parameter.value
        return parameter.moved(min(max(wanted, low), high))

    changes: dict[str, object] = {}
    for field in fields(group):
        value = getattr(group, field.name)
        if isinstance(value, Parameter):
            changes[field.name] = draw(value)
        else:
            changes[field.name] = {tp: draw(step) for tp, step in value.items()}
    return replace(group, **changes)  # type: ignore[arg-type]


def _drawn_clock(clock: ClockResponse, rng: random.Random) -> ClockResponse:
    """Watts' response drawn; the bandwidth's is kept, time being bounded term by term at every clock."""
    return replace(
        clock,
        memory_floor=_uniform(clock.memory_floor, rng),
        memory_knee=_uniform(clock.memory_knee, rng),
        compute_exponent=_uniform(clock.compute_exponent, rng),
    )


def _uniform(parameter: Parameter, rng: random.Random) -> Parameter:
    return parameter.moved(rng.uniform(parameter.low, parameter.high))


def _within_spread(known: AcceleratorProfile, drawn: AcceleratorProfile) -> AcceleratorProfile:
    """The drawn one, its clock response moved to the known one as little as keeps watts in the spread."""
    if _watts_stay(known, drawn):
        return drawn
    low, high = 0.0, 1.0
    for _ in range(_SHRINK_STEPS):
        share = 0.5 * (low + high)
        low, high = (share, high) if _watts_stay(known, _towards(known, drawn, share)) else (low, share)
    return _towards(known, drawn, low)


def _towards(known: AcceleratorProfile, drawn: AcceleratorProfile, share: float) -> AcceleratorProfile:
    changes = {}
    for field in fields(known.clock):
        before, after = getattr(known.clock, field.name), getattr(drawn.clock, field.name)
        changes[field.name] = after.moved(before.value + share * (after.value - before.value))
    return replace(drawn, clock=replace(drawn.clock, **changes))


def _watts_stay(known: AcceleratorProfile, drawn: AcceleratorProfile) -> bool:
    for phi in _PHI_GRID:
        before, after = _watts_by_kind(known, phi), _watts_by_kind(drawn, phi)
        if any(abs(a / b - 1.0) > POWER_SPREAD + 1e-9 for a, b in zip(after, before, strict=True)):
            return False
    return True


def _watts_by_kind(accelerator: AcceleratorProfile, phi: float) -> tuple[float, ...]:
    power, limit = accelerator.power, accelerator.device.board_limit_w
    idle = power.idle_loaded_w.value
    memory, compute = accelerator.clock.memory_bound(phi), accelerator.clock.compute_bound(phi)
    kinds = (
        (power.host_w, memory),
        (power.weight_streaming_w, memory),
        (power.decode_attention_w, memory),
        (power.compute_w, compute),
    )
    return tuple(min(idle + response * (watts.value - idle), limit) for watts, response in kinds)


def _time_ratios(known: EngineProfile, true: EngineProfile, names: Sequence[str]) -> list[float]:
    ratios = []
    for name in names:
        accelerator = known.accelerators[name]
        for size in accelerator.device.tensor_parallel_sizes:
            models = instance_model(known, name, size), instance_model(true, name, size)
            before, after = (model.at_clock(accelerator.device.max_clock_mhz) for model in models)
            for decodes, context, prefill in _REFERENCE:
                said = before.iteration_ns(decodes=decodes, context_tokens=context, prefill_tokens=prefill)
                is_ = after.iteration_ns(decodes=decodes, context_tokens=context, prefill_tokens=prefill)
                ratios.append(is_ / said)
    return ratios


def _watts_ratios(known: EngineProfile, true: EngineProfile, names: Sequence[str]) -> list[float]:
    ratios = []
    for name in names:
        before, after = (
            _watts_by_kind(known.accelerators[name], 1.0),
            _watts_by_kind(true.accelerators[name], 1.0),
        )
        ratios += [is_ / said for said, is_ in zip(before, after, strict=True)]
    return ratios
