"""What the agent knows of a GPU: facts, readings, failures, and the Protocol that NVML implements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from joulery.errors import DeviceError

# Bits of NVML's clock event reasons that explain a clock below the one asked for: software power cap,
# hardware slowdown, software thermal, hardware thermal, hardware power brake.
THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
IDLE = 0x1


class GpuTrouble(StrEnum):
    """Kinds of failure that call for different reactions."""

    NOT_PERMITTED = "NotPermitted"
    NOT_SUPPORTED = "NotSupported"
    LOST = "Lost"
    STUCK = "Stuck"
    OTHER = "Other"


class GpuError(DeviceError):
    """A GPU refused or failed; the message names GPU, call, cause and cure."""

    def __init__(self, message: str, trouble: GpuTrouble) -> None:
        super().__init__(message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What does not change while the driver is loaded.

    `clocks_mhz` rises; `step_mhz` is its widest gap, the tolerance of every comparison.
    """

    uuid: str
    index: int
    product: str
    clocks_mhz: tuple[int, ...]
    step_mhz: int

    @property
    def product_label(self) -> str:
        """The product as GPU feature discovery writes it in `nvidia.com/gpu.product`."""
        return self.product.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What one GPU shows now; power and energy are None where the GPU does not tell, never 0."""

    sm_clock_mhz: int
    power_mw: int | None
    energy_mj: int | None
    event_reasons: int

    @property
    def is_idle(self) -> bool:
        """Whether the driver says that nothing runs."""
        return bool(self.event_reasons & IDLE)

    @property
    def is_throttled(self) -> bool:
        """Whether something other than a lock holds the clock down."""
        return bool(self.event_reasons & THROTTLED)


class GpuDevice(Protocol):
    """One GPU; calls block and raise GpuError."""

    @property
    def facts(self) -> GpuFacts:
        """The GPU's facts."""
        ...

    def lock(self, highest_mhz: int) -> None:
        """Lock the SM clock to the range from the lowest supported clock to `highest_mhz`."""
        ...

    def reset(self) -> None:
        """Take the lock away."""
        ...

    def read(self) -> GpuReading:
        """Read clock, power, energy and event reasons."""
        ...


def widest_step_mhz(clocks_mhz: Sequence[int]) -> int:
    """The widest gap between neighbouring clocks of a rising list."""
    return max((high - low for low, high in itertools.pairwise(clocks_mhz)), default=0)


def snap(clocks_mhz: Sequence[int], wanted_mhz: int, floor_mhz: int, ceiling_mhz: int) -> int:
    """The supported clock to lock: the next one at or above `wanted_mhz`, inside the bounds.

    Rounding goes up because a row's clock is the lowest that keeps the objective. Where the bounds hold no
    supported clock, the fastest below the ceiling is taken, else the slowest there is.
    """
    within = [c for c in clocks_mhz if floor_mhz <= c <= ceiling_mhz]
    if not within:
        return max((c for c in clocks_mhz if c <= ceiling_mhz), default=min(clocks_mhz))
    return next((c for c in within if c >= wanted_mhz), within[-1])
