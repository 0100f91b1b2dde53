"""The spec of an EnergyProfile as a plain mapping, read into an `EngineProfile`; the only reader of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from joulery.errors import ProfileError
from joulery.serving.parameters import (
    AcceleratorParameters,
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
    ServerParameters,
)


@dataclass(frozen=True, slots=True)
class _Node:
    """A mapping at a path, so that a missing or mistyped field can be named."""

    path: str
    content: Mapping[str, object]

    def field(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> object:
        if key not in self.content:
            raise ProfileError(f"{self.field(key)} is missing")
        return self.content[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str):
            raise ProfileError(f"{self.field(key)} must be a string, not {value!r}")
        return value

    def integer(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ProfileError(f"{self.field(key)} must be an integer, not {value!r}")
        return value

    def decimal(self, key: str) -> float:
        text = self.text(key)
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise ProfileError(f"{self.field(key)} must be a decimal string, not {text!r}") from None
        if not value.is_finite():
            raise ProfileError(f"{self.field(key)} must be finite, not {text!r}")
        return float(value)

    def integers(self, key: str) -> tuple[int, ...]:
        value = self.get(key)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not all(type(v) is int for v in value)
        ):
            raise ProfileError(f"{self.field(key)} must be a list of integers, not {value!r}")
        return tuple(value)

    def node(self, key: str) -> _Node:
        return _node(self.field(key), self.get(key))

    def nodes(self, key: str, *, required: bool = True) -> tuple[_Node, ...]:
        value = self.get(key) if required else self.content.get(key, ())
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ProfileError(f"{self.field(key)} must be a list, not {value!r}")
        return tuple(_node(f"{self.field(key)}[{i}]", item) for i, item in enumerate(value))

    def scaled(self, key: str, scale: float = 1.0) -> Parameter:
        """A parameter of integers; `scale` takes its unit to the one of the dataclass."""
        node = self.node(key)
        return _parameter(node, lambda k: node.integer(k) * scale)

    def unitless(self, key: str) -> Parameter:
        node = self.node(key)
        return _parameter(node, node.decimal)


def profile_from_spec(spec: Mapping[str, object], *, name: str) -> EngineProfile:
    """The profile of a spec. Raises ProfileError naming the first field missing or of the wrong type."""
    root = _Node("", spec)
    accelerators = {a.device.name: a for a in map(_accelerator, root.nodes("accelerators"))}
    if len(accelerators) != len(root.nodes("accelerators")):
        raise ProfileError("accelerators holds the same name twice")
    engine, model = root.node("engine"), root.node("parameters")
    return EngineProfile(
        name=name,
        model=root.text("model"),
        engine=engine.text("type"),
        engine_version=engine.text("version"),
        token_budget=engine.integer("maxNumBatchedTokens"),
        precision=root.text("precision"),
        kv_cache_type=root.text("kvCacheType"),
        parameters=ModelParameters(
            weight_bytes=model.integer("weightBytes"),
            streamed_weight_bytes=model.integer("streamedWeightBytes"),
            kv_bytes_per_token=model.integer("kvBytesPerToken"),
            max_model_length=model.integer("maxModelLength"),
        ),
        accelerators=accelerators,
    )


def _accelerator(node: _Node) -> AcceleratorProfile:
    return AcceleratorProfile(
        device=_device(node),
        latency=_latency(node),
        power=_power(node.node("power")),
        clock=_clock(node.node("clockResponse")),
        held_out_errors=tuple(_error(e) for e in node.nodes("heldOutErrors", required=False)),
    )


def _device(node: _Node) -> AcceleratorParameters:
    server = node.node("server")
    return AcceleratorParameters(
        name=node.text("name"),
        max_clock_mhz=node.integer("maxClockMHz"),
        supported_clocks_mhz=node.integers("supportedClocksMHz"),
        measured_above_mhz=node.integer("measuredAboveMHz"),
        memory_bytes=node.integer("memoryBytes"),
        kv_memory_share=node.decimal("kvMemoryShare"),
        reserved_bytes_per_gpu=node.integer("reservedBytesPerGPU"),
        board_limit_w=node.integer("boardLimitMilliwatts") / 1000,
        tensor_parallel_sizes=tuple(size.integer("size") for size in node.nodes("tensorParallelSizes")),
        server=ServerParameters(
            base_w=server.integer("baseMilliwatts") / 1000,
            slope=server.decimal("slope"),
            gpus_per_server=server.integer("gpusPerServer"),
        ),
        kv_cache=_kv_cache(node.node("kvCache")) if node.content.get("kvCache") is not None else None,
    )


def _kv_cache(node: _Node) -> KvCache:
    return KvCache(type=node.text("type"), bytes_per_token=node.integer("bytesPerToken"))


def _latency(accelerator: _Node) -> LatencyParameters:
    node = accelerator.node("latency")
    sizes = accelerator.nodes("tensorParallelSizes")
    return LatencyParameters(
        host_base_ns=node.scaled("hostBaseNanoseconds"),
        host_per_doubling_ns=node.scaled("hostPerDoublingNanoseconds"),
        weight_streaming_ns=node.scaled("weightStreamingNanoseconds"),
        streaming_step_ns={s.integer("size"): s.scaled("streamingStepNanoseconds") for s in sizes},
        compute_token_ps=node.scaled("computeTokenPicoseconds"),
        compute_token_undivided_ps=node.scaled("computeTokenUndividedPicoseconds"),
        context_token_ps=node.scaled("contextTokenPicoseconds"),
        sequence_ns=node.scaled("sequenceNanoseconds"),
        client_base_ns=node.scaled("clientBaseNanoseconds"),
        client_per_gpu_ns=node.scaled("clientPerGPUNanoseconds"),
    )


def _power(node: _Node) -> PowerParameters:
    offset = node.unitless("offset") if "offset" in node.content else None

    def busy(key: str) -> Parameter:
        watts = node.scaled(key, 1e-3)
        return watts if offset is None else _product(watts, offset)

    return PowerParameters(
        idle_empty_w=node.scaled("idleEmptyMilliwatts", 1e-3),
        idle_loaded_w=node.scaled("idleLoadedMilliwatts", 1e-3),
        host_w=busy("hostMilliwatts"),
        weight_streaming_w=busy("weightStreamingMilliwatts"),
        decode_attention_w=busy("decodeAttentionMilliwatts"),
        compute_w=busy("computeMilliwatts"),
    )


def _product(watts: Parameter, offset: Parameter) -> Parameter:
    """Watts times the offset of a profile, the range that of both together; an engine caps it at the board limit."""
    return Parameter(
        watts.value * offset.value,
        watts.low * offset.low,
        watts.high * offset.high,
        watts.grade,
        f"{watts.source}; times {offset.value:g}: {offset.source}",
        watts.basis,
    )


def _clock(node: _Node) -> ClockResponse:
    return ClockResponse(
        memory_floor=node.unitless("memoryFloor"),
        memory_knee=node.unitless("memoryKnee"),
        compute_exponent=node.unitless("computeExponent"),
        bandwidth_knee=node.unitless("bandwidthKnee"),
        bandwidth_slope=node.unitless("bandwidthSlope"),
    )


def _error(node: _Node) -> HeldOutError:
    return HeldOutError(
        quantity=node.text("quantity"),
        held_out=node.text("heldOut"),
        points=node.integer("points"),
        mean_percent=node.decimal("meanPercent"),
        max_percent=node.decimal("maxPercent"),
    )


def _parameter(node: _Node, number: Callable[[str], float]) -> Parameter:
    grade = node.text("grade")
    if grade not in tuple(Grade):
        raise ProfileError(f"{node.field('grade')} must be one of {', '.join(Grade)}, not {grade!r}")
    basis = _basis(node.node("basis")) if node.content.get("basis") is not None else None
    return Parameter(number("value"), number("low"), number("high"), Grade(grade), node.text("source"), basis)


def _basis(node: _Node) -> Basis:
    error = node.decimal("meanErrorPercent") if node.content.get("meanErrorPercent") is not None else None
    return Basis(node.integer("points"), error, node.text("valid"))


def _node(path: str, value: object) -> _Node:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{path} must be an object, not {value!r}")
    return _Node(path, value)
