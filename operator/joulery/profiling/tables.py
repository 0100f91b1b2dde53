"""A profile as tables for the terminal: parameters, what an instance does by size and clock, held-out errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.table import Table

from joulery.serving.instance import ClockCoefficients, InstanceModel, instance_model
from joulery.serving.parameter_walk import named_parameters
from joulery.serving.parameters import AcceleratorProfile, Basis, EngineProfile, Grade

# What is shown of an instance at a clock: decoding requests, their context tokens, prefill tokens.
DECODE = (32, 40_000, 0)
PREFILL = (0, 0, 2048)
_STYLES = {Grade.MEASURED: "green", Grade.INTERPOLATED: "yellow", Grade.ASSUMED: "red"}
_UNITS = {"ns": (1e-3, "us"), "ps": (1e-3, "ns"), "w": (1.0, "W")}


def tables_of(profile: EngineProfile) -> Iterator[Table]:
    """All tables of a profile, accelerator by accelerator."""
    for name, accelerator in profile.accelerators.items():
        yield _parameters(profile, name, accelerator)
        yield _operation(profile, name, accelerator)
        yield _errors(name, accelerator)


def _parameters(profile: EngineProfile, name: str, accelerator: AcceleratorProfile) -> Table:
    title = (
        f"{profile.name}: {profile.model} {profile.precision}, {profile.engine} {profile.engine_version} with a token "
        f"budget of {profile.token_budget}, KV cache {profile.kv_cache(name).type}, on {name}"
    )
    table = Table("parameter", title=title)
    for head in ("value", "low", "high"):
        table.add_column(head, justify="right")
    for head in ("unit", "grade", "points, error and where measured", "source"):
        table.add_column(head)
    for parameter_name, parameter in named_parameters(accelerator):
        words, scale, unit = _unit(parameter_name)
        numbers = (_shown(scale * v) for v in (parameter.value, parameter.low, parameter.high))
        grade = f"[{_STYLES[parameter.grade]}]{parameter.grade}[/]"
        told = (_basis(parameter.basis), parameter.source)
        table.add_row(words, *numbers, unit, grade, *(text.replace("[", r"\[") for text in told))
    return table


def _basis(basis: Basis | None) -> str:
    if basis is None:
        return ""
    error = "" if basis.mean_error_percent is None else f", {basis.mean_error_percent:g} %"
    return f"{basis.points}{error}: {basis.valid}"


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000.0 else f"{number:.4g}"


def _unit(name: str) -> tuple[str, float, str]:
    """Name in words, factor and unit in which a parameter is shown."""
    size = re.search(r"\[TP(\d+)\]", name)
    plain = name.partition("[")[0].partition(".")[2]
    stem, _, suffix = plain.rpartition("_")
    words = (stem if suffix in _UNITS else plain).replace("_", " ")
    scale, unit = _UNITS.get(suffix, (1.0, ""))
    return f"{words} TP{size.group(1)}" if size else words, scale, unit


def _operation(profile: EngineProfile, name: str, accelerator: AcceleratorProfile) -> Table:
    """Watts of one GPU in each kind of time, and how long iterations take."""
    decodes, context, _ = DECODE
    table = Table("TP", title=f"One GPU of an instance on {name}, by clock", title_justify="left")
    heads = (
        "MHz", "idle W", "host W", "weights W", "attention W", "compute W",
        f"decode of {decodes} ms", f"prefill of {PREFILL[2]} ms", "KV tokens",
    )  # fmt: skip
    for head in heads:
        table.add_column(head, justify="right")
    for size in accelerator.device.tensor_parallel_sizes:
        model = instance_model(profile, name, size)
        for mhz in model.supported_clocks_mhz:
            table.add_row(*_operation_cells(model, model.at_clock(mhz)))
        table.add_section()
    table.caption = (
        f"decode: {decodes} requests with {context} tokens of context; clocks below "
        f"{accelerator.device.measured_above_mhz} MHz are assumed"
    )
    return table


def _operation_cells(model: InstanceModel, clock: ClockCoefficients) -> Iterator[str]:
    size = model.tensor_parallel_size
    yield from (str(size), str(clock.clock_mhz))
    watts = (clock.idle_w, clock.host_w, clock.streaming_w, clock.attention_w, clock.compute_w)
    yield from (f"{w / size:.0f}" for w in watts)
    for decodes, context, prefill in (DECODE, PREFILL):
        ns = clock.iteration_ns(decodes=decodes, context_tokens=context, prefill_tokens=prefill)
        yield f"{1e-6 * ns:.2f}"
    yield f"{model.kv_capacity_tokens:,}"


def _errors(name: str, accelerator: AcceleratorProfile) -> Table:
    table = Table("quantity", "held out", title=f"Errors on points not fitted, {name}")
    for head in ("points", "mean %", "max %"):
        table.add_column(head, justify="right")
    for error in accelerator.held_out_errors:
        table.add_row(
            error.quantity,
            error.held_out,
            str(error.points),
            f"{error.mean_percent:g}",
            f"{error.max_percent:g}",
        )
    if not accelerator.held_out_errors:
        table.caption = "none stated: how far this profile can be trusted is not known"
    return table
