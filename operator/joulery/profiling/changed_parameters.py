"""An accelerator with some of its parameters changed by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

from joulery.serving.parameter_walk import step_name
from joulery.serving.parameters import (
    AcceleratorProfile,
    ClockResponse,
    LatencyParameters,
    Parameter,
    PowerParameters,
)

Change = Callable[[str, Parameter], Parameter]
_Group = TypeVar("_Group", LatencyParameters, PowerParameters, ClockResponse)


def changed(accelerator: AcceleratorProfile, change: Change) -> AcceleratorProfile:
    """The accelerator with `change` applied to every parameter, which is told its name."""
    latency = _group_changed(accelerator.latency, "latency", change)
    steps = {size: change(step_name(size), s) for size, s in latency.streaming_step_ns.items()}
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
