"""What a profile says of closed-loop clients: times, watts and joules per token with bands, by load and by clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from joulery.calibration.form import LatencyLaw
from joulery.calibration.lanes import law_of
from joulery.profiling.changed_parameters import changed
from joulery.profiling.points import MeasuredPoint
from joulery.profiling.replay import FULL_SHARE, Client, Run, run_of
from joulery.serving.instance import kv_capacity_tokens
from joulery.serving.parameter_walk import named_parameters
from joulery.serving.parameters import AcceleratorProfile, EngineProfile, Parameter

QUANTITIES = ("TPOT, ms", "TTFT, ms", "watts per GPU", "joules per output token")
# One draw of lengths: the eye does not see what the others would change.
_SEEDS = (0,)

Means = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Banded:
    """The four `QUANTITIES` at one point, and the ends of their bands."""

    means: Means
    low: Means
    high: Means


@dataclass(frozen=True, eq=False)
class Curve:
    """One tensor-parallel size against load (clients) or clock (MHz)."""

    tensor_parallel_size: int
    x: tuple[int, ...]
    y: tuple[Banded, ...]


@dataclass(frozen=True, eq=False)
class Variants:
    """An accelerator with its parameters one by one at each end of their range, each with its law."""

    middle: tuple[AcceleratorProfile, LatencyLaw]
    ends: tuple[tuple[tuple[AcceleratorProfile, LatencyLaw], tuple[AcceleratorProfile, LatencyLaw]], ...]


def variants_of(accelerator: AcceleratorProfile) -> Variants:
    """All variants of an accelerator."""

    def at(name: str, end: str) -> tuple[AcceleratorProfile, LatencyLaw]:
        def change(known: str, parameter: Parameter) -> Parameter:
            return parameter.moved(getattr(parameter, end)) if known == name else parameter

        moved = changed(accelerator, change)
        return moved, law_of(moved.latency)

    names = [n for n, p in named_parameters(accelerator) if p.low < p.high]
    return Variants(
        (accelerator, law_of(accelerator.latency)), tuple((at(n, "low"), at(n, "high")) for n in names)
    )


def measured_means(point: MeasuredPoint, client: Client) -> tuple[float | None, ...]:
    """The four quantities as measured."""
    joules = None
    if point.watts_per_gpu is not None:
        joules = _joules_per_token(point, client, point.ttft_ms or 0.0, point.tpot_ms, point.watts_per_gpu)
    return point.tpot_ms, point.ttft_ms, point.watts_per_gpu, joules


def estimated(run: Run, client: Client, variants: Variants) -> Banded:
    """The four quantities of a run; each band is the root of the summed squares of what single parameters do."""
    middle = _means(run, client, *variants.middle)
    low, high = [0.0] * len(middle), [0.0] * len(middle)
    for pair in variants.ends:
        moves = [[v - m for v, m in zip(_means(run, client, *end), middle, strict=True)] for end in pair]
        for i, ends in enumerate(zip(*moves, strict=True)):
            low[i] += min(*ends, 0.0) ** 2
            high[i] += max(*ends, 0.0) ** 2
    return Banded(
        middle,
        _tuple([max(m - math.sqrt(v), 0.0) for m, v in zip(middle, low, strict=True)]),
        _tuple([m + math.sqrt(v) for m, v in zip(middle, high, strict=True)]),
    )


@dataclass(frozen=True, eq=False)
class Drawing:
    """One accelerator of a profile, to be drawn under a client of which it is declared how it loads."""

    profile: EngineProfile
    accelerator: str
    client: Client
    variants: Variants
    done: Callable[[], None]

    def against_load(self, shape: tuple[int, int], loads: Sequence[int]) -> tuple[Curve, ...]:
        """Curves by size at the highest clock over so many clients, each up to where the KV memory is full."""
        curves = []
        for size in self._sizes:
            runs = [r for n in loads if (r := self._run(size, n, shape)) is not None]
            if runs:
                x = tuple(r.point.concurrency for r in runs)
                curves.append(Curve(size, x, tuple(estimated(r, self.client, self.variants) for r in runs)))
        return tuple(curves)

    def against_clock(self, shape: tuple[int, int], clients: int) -> tuple[Curve, ...]:
        """Curves by size at one load, over all supported clocks."""
        device = self.profile.accelerators[self.accelerator].device
        curves = []
        for size in self._sizes:
            run = self._run(size, clients, shape)
            if run is not None:
                at = [replace(run, phi=mhz / device.max_clock_mhz) for mhz in device.supported_clocks_mhz]
                found = tuple(estimated(r, self.client, self.variants) for r in at)
                curves.append(Curve(size, device.supported_clocks_mhz, found))
        return tuple(curves)

    @property
    def _sizes(self) -> Sequence[int]:
        return self.profile.accelerators[self.accelerator].device.tensor_parallel_sizes

    def _run(self, size: int, clients: int, shape: tuple[int, int]) -> Run | None:
        """The run of so many clients; None where the KV memory would be full or no request fits."""
        self.done()
        point = MeasuredPoint(self.accelerator, size, clients, *shape, ttft_ms=None, tpot_ms=1.0)
        capacity = kv_capacity_tokens(self.profile, self.accelerator, size)
        if sum(shape) > capacity or self.client.kv_demand_tokens(point) >= FULL_SHARE * capacity:
            return None
        clock_mhz = self.profile.accelerators[self.accelerator].device.max_clock_mhz
        return run_of(
            point, self.client, kv_capacity=capacity, max_clock_mhz=clock_mhz, file="plot", seeds=_SEEDS
        )


def _means(run: Run, client: Client, accelerator: AcceleratorProfile, law: LatencyLaw) -> Means:
    ttft_ms, tpot_ms = run.means_ms(law, accelerator.clock)
    watts = run.watts_per_gpu(law, accelerator)
    return tpot_ms, ttft_ms, watts, _joules_per_token(run.point, client, ttft_ms, tpot_ms, watts)


def _joules_per_token(
    point: MeasuredPoint, client: Client, ttft_ms: float, tpot_ms: float, watts: float
) -> float:
    """Watts of the instance over its output tokens per second, which by Little's law are clients over latency."""
    tokens = max(point.output_tokens * (1.0 + client.shortest_share) / 2.0, 2.0)
    latency_s = 1e-3 * (ttft_ms + tpot_ms * (tokens - 1.0))
    return watts * point.tensor_parallel_size * latency_s / (point.concurrency * tokens)


def _tuple(values: Sequence[float]) -> Means:
    return values[0], values[1], values[2], values[3]
