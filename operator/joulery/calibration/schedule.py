"""What an engine does under the benchmark client, iteration by iteration, apart from how long it takes.

Each client sends its next request the moment the last is answered, which is at the end of an iteration. So which
requests an iteration decodes and prefills depends on lengths, token budget, batch limit and KV cache, and not on
time: one run of the engine tells it for all parameters, and a fit only has to time it again. The run is one of an
engine whose iterations take times from which their content can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from joulery.calibration.client import Load, engine_of, play
from joulery.serving.engine import Engine, InstanceModel
from joulery.serving.parameters import (
    AcceleratorParameters,
    AcceleratorProfile,
    ClockResponse,
    Grade,
    LatencyParameters,
    Parameter,
    PowerParameters,
    ServerParameters,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# An iteration takes 1 ns, 1 ns per decoded or prefilled token, 1 ns per context token and this per decode: more than
# any KV cache holds tokens.
_DECODE_NS = 1 << 26


@dataclass(frozen=True, eq=False)
class Schedule:
    """Stretches of like iterations, and at the end of which of them a request arrived, began and ended.

    Of a stretch: its iterations, the tokens (decodes and prefill) and decodes of each, and the context tokens of
    all of them together. Stretch 0 is empty and ends at the start of the run.
    """

    iterations: Ints
    tokens: Ints
    decodes: Ints
    context_tokens: Ints
    arrival: Ints
    first_token: Ints
    finish: Ints
    output_tokens: Ints
    preemptions: int


@lru_cache(maxsize=1024)
def schedule_of(load: Load, kv_capacity_tokens: int) -> Schedule:
    """The schedule of a load with a KV cache of so many tokens."""
    # More memory than all clients together can fill changes nothing.
    enough = load.clients * (load.input_tokens + load.output_tokens + 1)
    if kv_capacity_tokens > enough:
        return schedule_of(load, enough)
    engine = engine_of(_legible_engine(kv_capacity_tokens), load)
    reading = _Reading(engine)
    answers = play(engine, load, landed=reading.landed)
    end_ns = np.array(reading.end_ns, np.int64)
    iterations, tokens, decodes, context_tokens = np.array(reading.stretches, np.int64).T
    return Schedule(
        iterations=iterations,
        tokens=tokens,
        decodes=decodes,
        context_tokens=context_tokens,
        arrival=np.searchsorted(end_ns, answers.arrival_ns),
        first_token=np.searchsorted(end_ns, answers.first_token_ns),
        finish=np.searchsorted(end_ns, answers.finish_ns),
        output_tokens=answers.output_tokens,
        preemptions=answers.preemptions,
    )


class _Reading:
    """Reads stretches off the times of an engine made by `_legible_engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before = engine.time_shares_ns()
        self.stretches: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
        self.end_ns = [engine.now_ns]

    def landed(self) -> None:
        """Note the stretch that ends now."""
        after = self._engine.time_shares_ns()
        iterations, tokens, attention = (
            after[key] - self._before[key] for key in ("host", "compute", "attention")
        )
        # Only stretches of decodes alone have more than one iteration.
        decodes = attention // _DECODE_NS if iterations == 1 else tokens // iterations
        context = attention - iterations * decodes * _DECODE_NS
        self.stretches.append((iterations, tokens // iterations, decodes, context))
        self.end_ns.append(self._engine.now_ns)
        self._before = after


def _legible_engine(kv_capacity_tokens: int) -> InstanceModel:
    """An instance with the times of `_DECODE_NS` and no watts."""
    none, one, thousand = (_exactly(v) for v in (0.0, 1.0, 1000.0))
    latency = LatencyParameters(
        host_base_ns=one,
        host_per_doubling_ns=none,
        weight_streaming_ns=none,
        streaming_step_ns={1: none},
        compute_token_ps=thousand,
        compute_token_undivided_ps=none,
        context_token_ps=thousand,
        sequence_ns=_exactly(_DECODE_NS),
        client_base_ns=none,
        client_per_gpu_ns=none,
    )
    device = AcceleratorParameters(
        name="legible",
        max_clock_mhz=1,
        supported_clocks_mhz=(1,),
        measured_above_mhz=1,
        memory_bytes=1,
        kv_memory_share=1.0,
        reserved_bytes_per_gpu=0,
        board_limit_w=0.0,
        tensor_parallel_sizes=(1,),
        server=ServerParameters(0.0, 1.0, 1),
    )
    power, clock = PowerParameters(*[none] * 6), ClockResponse(*[none] * 5)
    return InstanceModel(
        profile_hash="legible",
        accelerator=device.name,
        tensor_parallel_size=1,
        max_clock_mhz=1,
        supported_clocks_mhz=(1,),
        measured_above_mhz=1,
        kv_capacity_tokens=kv_capacity_tokens,
        max_model_length=kv_capacity_tokens,
        client_ns=0,
        board_limit_w=0.0,
        idle_empty_w=0.0,
        profile=AcceleratorProfile(device, latency, power, clock),
    )


def _exactly(value: float) -> Parameter:
    return Parameter(value, value, value, Grade.ASSUMED, "chosen to be read")
