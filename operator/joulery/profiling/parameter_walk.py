"""Every parameter of an accelerator by name, and the accelerator with some of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

from joulery.serving.parameters import (
    AcceleratorProfile,
    ClockResponse,
    LatencyParameters,
    Parameter,
    PowerParameters,
)

Change = Callable[[str, Parameter], Parameter]
_Group = TypeVar("_Group", LatencyParameters, PowerParameters, ClockResponse)


def named_parameters(accelerator: AcceleratorProfile) -> Iterator[tuple[str, Parameter]]:
    """Name and parameter in the order of the profile, such as `latency.host_base_ns`; steps by their size."""
    for group in ("latency", "power", "clock"):
        part = getattr(accelerator, group)
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, Parameter):
                yield f"{group}.{field.name}", value
            else:
                yield from ((_step_name(size), step) for size, step in value.items())


def changed(accelerator: AcceleratorProfile, change: Change) -> AcceleratorProfile:
    """The accelerator with `change` applied to every parameter, which is told its name."""
    latency = _group_changed(accelerator.latency, "latency", change)
    steps = {size: change(_step_name(size), s) for size, s in latency.streaming_step_ns.items()}
    return replace(
        accelerator,
        latency=replace(latency, streaming_step_ns=steps),
        power=_group_changed(accelerator.power, "power", change),
        clock=_group_changed(accelerator.clock, "clock", change),
    )


def _group_changed(group: _Group, name: str, change: Change) -> _Group:
    values = ((f.name, getattr(group, f.name)) for f in fields(group))
    # All parameters of a group are of one type; only the steps by size are not.
    new: dict[str, Any] = {k: change(f"{name}.{k}", v) for k, v in values if isinstance(v, Parameter)}
    return replace(group, **new)


def _step_name(size: int) -> str:
    return f"latency.streaming_step_ns[TP{size}]"
