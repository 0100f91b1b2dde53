"""Every parameter of an accelerator by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from joulery.serving.parameters import AcceleratorProfile, Parameter


def named_parameters(accelerator: AcceleratorProfile) -> Iterator[tuple[str, Parameter]]:
    """Name and parameter in the order of the profile, such as `latency.host_base_ns`; steps by their size."""
    for group in ("latency", "power", "clock"):
        part = getattr(accelerator, group)
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, Parameter):
                yield f"{group}.{field.name}", value
            else:
                yield from ((step_name(size), step) for size, step in value.items())


def step_name(size: int) -> str:
    """The name of the step of one tensor-parallel size."""
    return f"latency.streaming_step_ns[TP{size}]"
