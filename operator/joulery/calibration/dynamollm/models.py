"""Other models of Table III from the environment of one: every term scaled by architecture, nothing fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from joulery.calibration.dynamollm.judge import ACCELERATOR, Environment, Played, play
from joulery.calibration.dynamollm.products import bf16_over_fp8
from joulery.calibration.dynamollm.tables import MODEL, Cell
from joulery.calibration.holdout import Errors
from joulery.serving.parameters import EngineProfile, LatencyParameters

_BYTES_PER_NUMBER = 2


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes from the model's published configuration; parameters in 10^9, all of them and those a token passes."""

    parameters_e9: float
    active_e9: float
    layers: int
    kv_heads: int
    head_size: int

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size * _BYTES_PER_NUMBER


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "llama-2-13b": Architecture(13.0, 13.0, 40, 40, 128),
        "mixtral-8x7b": Architecture(46.7, 12.9, 32, 8, 128),
        "llama-2-70b": Architecture(69.0, 69.0, 80, 8, 128),
        "llama-3-70b": Architecture(70.6, 70.6, 80, 8, 128),
        "mixtral-8x22b": Architecture(140.6, 39.1, 56, 8, 128),
        "falcon-180b": Architecture(179.5, 179.5, 80, 8, 64),
    }
)


def environment_for(environment: Environment, model: str) -> Environment:
    """The environment of Llama-2-70B with another model in it.

    Launches scale with layers, streaming with all parameters (batches of ten touch nearly every expert), compute
    with the active ones, work per sequence with layers, attention with the cache per token.
    """
    return replace(environment, profile=_scaled(environment.profile, ARCHITECTURES[model]))


def with_16_bit_weights(profile: EngineProfile, model: EngineProfile) -> EngineProfile:
    """A profile of 8-bit weights serving a model of 16-bit ones: more bytes to stream, slower matrix products.

    What tensor parallelism does not divide of a token is moving 16-bit activations: it stays.
    """
    known, sizes = profile.accelerators[ACCELERATOR], model.parameters
    streaming = sizes.streamed_weight_bytes / profile.parameters.streamed_weight_bytes
    latency = replace(
        known.latency,
        weight_streaming_ns=known.latency.weight_streaming_ns.scaled(streaming),
        compute_token_ps=known.latency.compute_token_ps.scaled(bf16_over_fp8()),
    )
    accelerators = {ACCELERATOR: replace(known, latency=latency)}
    return replace(profile, parameters=sizes, accelerators=accelerators)


def play_models(environment: Environment, cells: Sequence[Cell]) -> tuple[Played, ...]:
    """Every cell in the environment of its own model."""
    played: list[Played] = []
    for model in dict.fromkeys(cell.model for cell in cells):
        own = environment_for(environment, model)
        played += play(own, [cell for cell in cells if cell.model == model])
    return tuple(played)


def unit_scale(played: Sequence[Played]) -> float:
    """What our watts x latency is multiplied by to match published energies, geometric mean over feasible cells."""
    logs = [math.log(p.cell.energy_wh / p.state.energy_wh) for p in played if p.cell.energy_wh is not None]
    return math.exp(sum(logs) / len(logs))


def absolute_errors(played: Sequence[Played], scale: float) -> Errors:
    """Errors of energies in percent by cell, ours multiplied by a scale found elsewhere."""
    return Errors(
        tuple(
            (p.cell.name, 100.0 * (scale * p.state.energy_wh / p.cell.energy_wh - 1.0))
            for p in played
            if p.cell.energy_wh is not None
        )
    )


def _scaled(profile: EngineProfile, to: Architecture) -> EngineProfile:
    known, of = profile.accelerators[ACCELERATOR], ARCHITECTURES[MODEL]
    latency = _scaled_latency(known.latency, of, to)
    weights = to.parameters_e9 / of.parameters_e9
    parameters = replace(
        profile.parameters,
        weight_bytes=round(profile.parameters.weight_bytes * weights),
        streamed_weight_bytes=round(profile.parameters.streamed_weight_bytes * weights),
        kv_bytes_per_token=to.kv_bytes_per_token,
    )
    accelerators = {ACCELERATOR: replace(known, latency=latency)}
    return replace(profile, parameters=parameters, accelerators=accelerators)


def _scaled_latency(latency: LatencyParameters, of: Architecture, to: Architecture) -> LatencyParameters:
    layers, active = to.layers / of.layers, to.active_e9 / of.active_e9
    return replace(
        latency,
        host_base_ns=latency.host_base_ns.scaled(layers),
        host_per_doubling_ns=latency.host_per_doubling_ns.scaled(layers),
        weight_streaming_ns=latency.weight_streaming_ns.scaled(to.parameters_e9 / of.parameters_e9),
        compute_token_ps=latency.compute_token_ps.scaled(active),
        compute_token_undivided_ps=latency.compute_token_undivided_ps.scaled(active),
        sequence_ns=latency.sequence_ns.scaled(layers),
        context_token_ps=latency.context_token_ps.scaled(to.kv_bytes_per_token / of.kv_bytes_per_token),
    )
