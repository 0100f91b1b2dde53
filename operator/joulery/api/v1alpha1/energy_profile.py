"""EnergyProfile: the serving model of one model, engine and precision, per accelerator. Immutable once
created.

Integers in fine units; what has no unit is a decimal string. What needs arithmetic over the whole model
(falling throughput, negative watts) is judged by the serving layer, which names the failing point in the
pool's condition.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import Accelerator, ApiModel, ClockMHz, map_list, rule, with_rules
from joulery.api.v1alpha1.profile_parameters import (
    Amount,
    Decimal,
    Fine,
    PowerParameter,
    RatioParameter,
    Short,
    TimeParameter,
)


class ProfiledEngine(ApiModel):
    """The engine that was measured."""

    type: Annotated[Literal["VLLM"], Field(description="Which engine; only VLLM is known to this version.")]
    version: Annotated[Short, Field(description="Version that was measured.")]
    max_num_batched_tokens: Annotated[
        int,
        Field(
            ge=1,
            le=1_048_576,
            description="Tokens per engine iteration when it was measured: the engine's --max-num-batched-tokens. A "
            "variant is planned with its own.",
        ),
    ]


class KvCache(ApiModel):
    """The KV cache that was measured on one accelerator."""

    type: Annotated[
        str, Field(min_length=1, max_length=32, description="Number format of the KV cache, such as FP8.")
    ]
    bytes_per_token: Annotated[Amount, Field(description="KV cache per token, in bytes over all GPUs.")]


class ModelParameters(ApiModel):
    """Sizes of the model."""

    weight_bytes: Annotated[Amount, Field(description="Resident weights, in bytes over all GPUs.")]
    streamed_weight_bytes: Annotated[Amount, Field(description="Weights read per iteration, in bytes.")]
    kv_bytes_per_token: Annotated[Amount, Field(description="KV cache per token, in bytes over all GPUs.")]
    max_model_length: Annotated[
        int,
        Field(ge=1, le=100_000_000, description="Longest context, in tokens: the engine's --max-model-len."),
    ]


class TensorParallelSize(ApiModel):
    """One tensor-parallel size the profile covers."""

    size: Annotated[int, Field(ge=1, le=64, description="GPUs per instance.")]
    streaming_step_nanoseconds: Annotated[
        TimeParameter,
        Field(description="Time of an iteration that this size adds to the law, in nanoseconds."),
    ]


class Latency(ApiModel):
    """Terms of the iteration time at the highest clock."""

    host_base_nanoseconds: Annotated[
        TimeParameter, Field(description="Host time per iteration with one GPU, in nanoseconds.")
    ]
    host_per_doubling_nanoseconds: Annotated[
        TimeParameter,
        Field(description="Host and all-reduce time added per doubling of GPUs, in nanoseconds."),
    ]
    weight_streaming_nanoseconds: Annotated[
        TimeParameter, Field(description="Time to read the weights once on one GPU, in nanoseconds.")
    ]
    compute_token_picoseconds: Annotated[
        TimeParameter, Field(description="Compute per token, divided by the GPUs, in picoseconds.")
    ]
    compute_token_undivided_picoseconds: Annotated[
        TimeParameter, Field(description="Compute per token that more GPUs do not shorten, in picoseconds.")
    ]
    context_token_picoseconds: Annotated[
        TimeParameter,
        Field(description="Attention per token of context, divided by the GPUs, in picoseconds."),
    ]
    sequence_nanoseconds: Annotated[
        TimeParameter, Field(description="Time per request in the batch, in nanoseconds.")
    ]
    client_base_nanoseconds: Annotated[
        TimeParameter, Field(description="Time to first token outside the engine, in nanoseconds.")
    ]
    client_per_gpu_nanoseconds: Annotated[
        TimeParameter, Field(description="The same per GPU of the instance, in nanoseconds.")
    ]


class Power(ApiModel):
    """Power of one GPU at the highest clock."""

    idle_empty_milliwatts: Annotated[
        PowerParameter, Field(description="Idle without an engine, in milliwatts per GPU.")
    ]
    idle_loaded_milliwatts: Annotated[
        PowerParameter, Field(description="Idle with an engine loaded, in milliwatts per GPU.")
    ]
    host_milliwatts: Annotated[
        PowerParameter, Field(description="Drawn while the host works between iterations, in milliwatts.")
    ]
    weight_streaming_milliwatts: Annotated[
        PowerParameter, Field(description="Drawn while weights are read, in milliwatts per GPU.")
    ]
    decode_attention_milliwatts: Annotated[
        PowerParameter, Field(description="Drawn while the KV cache is read, in milliwatts per GPU.")
    ]
    compute_milliwatts: Annotated[
        PowerParameter, Field(description="Drawn while tensor cores compute, in milliwatts per GPU.")
    ]
    offset: Annotated[
        RatioParameter | None,
        Field(description="Factor on all watts but those of idle, no unit. Default: 1."),
    ] = None


class ClockResponse(ApiModel):
    """How time and power follow the SM clock."""

    memory_floor: Annotated[
        RatioParameter, Field(description="Share of memory-bound power that remains at low clock, no unit.")
    ]
    memory_knee: Annotated[
        RatioParameter,
        Field(description="Share of the highest clock at which that floor is reached, no unit."),
    ]
    compute_exponent: Annotated[
        RatioParameter, Field(description="Exponent of compute power in the clock, no unit.")
    ]
    bandwidth_knee: Annotated[
        RatioParameter, Field(description="Share of the highest clock below which memory slows, no unit.")
    ]
    bandwidth_slope: Annotated[
        RatioParameter, Field(description="How fast memory slows below that knee, no unit.")
    ]


class Server(ApiModel):
    """The host around the GPUs: watts at the wall = base + slope x watts of its GPUs."""

    base_milliwatts: Annotated[Fine, Field(description="Fixed power of the host, in milliwatts.")]
    slope: Annotated[Decimal, Field(description="Wall watts per GPU watt, a decimal without unit.")]
    gpus_per_server: Annotated[int, Field(ge=1, le=64, description="GPUs in one server.")]


class HeldOutError(ApiModel):
    """Error on points the fit did not see."""

    quantity: Annotated[Short, Field(description="What was predicted.")]
    held_out: Annotated[Short, Field(description="Which points were left out of the fit.")]
    points: Annotated[int, Field(ge=1, le=1_000_000, description="How many points.")]
    mean_percent: Annotated[Decimal, Field(description="Mean absolute error, in percent.")]
    max_percent: Annotated[Decimal, Field(description="Largest absolute error, in percent.")]


class ProfiledAccelerator(ApiModel):
    """The model on one accelerator."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.supportedClocksMHz.isSorted() && self.supportedClocksMHz.max() == self.maxClockMHz",
                "supportedClocksMHz must rise and end with maxClockMHz: sort the list and add maxClockMHz",
            )
        )
    )

    name: Annotated[Accelerator, Field(description="Name that variants use, such as H100-SXM-80GB.")]
    max_clock_mhz: Annotated[ClockMHz, Field(description="Highest SM clock, in MHz.")]
    supported_clocks_mhz: Annotated[
        tuple[ClockMHz, ...],
        Field(
            min_length=1,
            max_length=64,
            description="SM clocks worth planning, in MHz, rising, the last one maxClockMHz.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ]
    measured_above_mhz: Annotated[
        int, Field(ge=0, le=10_000, description="SM clock below which the clock response is assumed, in MHz.")
    ]
    memory_bytes: Annotated[Amount, Field(description="Memory per GPU, in bytes.")]
    kv_memory_share: Annotated[
        Decimal, Field(description="Share of memory the engine uses (--gpu-memory-utilization), no unit.")
    ]
    reserved_bytes_per_gpu: Annotated[
        Fine, Field(description="Memory kept from the KV cache, in bytes per GPU.")
    ]
    board_limit_milliwatts: Annotated[Amount, Field(description="Power limit of the board, in milliwatts.")]
    kv_cache: Annotated[
        KvCache | None,
        Field(
            description="KV cache on this accelerator, where it is another than the profile's. Default: kvCacheType "
            "and parameters.kvBytesPerToken."
        ),
    ] = None
    tensor_parallel_sizes: Annotated[
        tuple[TensorParallelSize, ...],
        Field(
            min_length=1,
            max_length=8,
            description="Tensor-parallel sizes the profile covers.",
            json_schema_extra=map_list("size"),
        ),
    ]
    latency: Annotated[Latency, Field(description="Terms of the iteration time at the highest clock.")]
    power: Annotated[Power, Field(description="Power of one GPU at the highest clock.")]
    clock_response: Annotated[ClockResponse, Field(description="How time and power follow the SM clock.")]
    server: Annotated[Server, Field(description="The host around the GPUs.")]
    held_out_errors: Annotated[
        tuple[HeldOutError, ...],
        Field(
            max_length=32,
            description="Errors on points the fit did not see. Default: none reported.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class EnergyProfileSpec(ApiModel):
    """The serving model of one model, engine and precision."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self == oldSelf",
                "a profile's spec is immutable, so that no pool changes unasked: create one of a new name "
                "and change the pools' profileRef",
            )
        )
    )

    model: Annotated[
        str, Field(min_length=1, max_length=128, description="The model, such as llama-3.1-70b.")
    ]
    engine: Annotated[ProfiledEngine, Field(description="The engine that was measured.")]
    precision: Annotated[str, Field(min_length=1, max_length=32, description="Precision of the weights.")]
    kv_cache_type: Annotated[
        str, Field(min_length=1, max_length=32, description="Number format of the KV cache, such as BF16.")
    ]
    parameters: Annotated[ModelParameters, Field(description="Sizes of the model.")]
    accelerators: Annotated[
        tuple[ProfiledAccelerator, ...],
        Field(
            min_length=1,
            max_length=16,
            description="The model by accelerator.",
            json_schema_extra=map_list("name"),
        ),
    ]
