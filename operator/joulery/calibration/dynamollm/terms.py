"""The terms that the tables decide, each with what it is pulled towards and how hard.

Streaming is pulled to the bytes of the weights at 85 % of the bandwidth, compute to 75 % of the dense peak; host
times to larger ones than measured in 2025, widely; sequences, attention and clock response to those measured in 2025
on the same GPU; watts to public operator medians. The slowdown of memory and the tail of token intervals have no
measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import yaml

from joulery.calibration.dynamollm.judge import ACCELERATOR, Environment
from joulery.calibration.dynamollm.workload import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    STANDARD,
    Workload,
    length_name,
)
from joulery.serving.parameters import ClockResponse, EngineProfile, LatencyParameters, PowerParameters
from joulery.serving.profile_spec import profile_from_spec

Floats = npt.NDArray[np.float64]
_Group = TypeVar("_Group", LatencyParameters, PowerParameters, ClockResponse)

INTERVAL_TAIL = "interval_tail"
# Distance from its pull, in spreads, that no term leaves.
_FARTHEST = 20.0


@dataclass(frozen=True, slots=True)
class Term:
    """One fitted number: `pull` and `spread` (of its logarithm), and the physical bounds on it.

    Bounds of a BF16 model of 69e9 parameters: prefill no faster than two operations per parameter that is multiplied
    at the dense peak, weights and cache no faster than 3.35 TB/s, watts between loaded idle (112 of its range)
    and the board limit. The peak of 989 Tflop/s is that of 1830 MHz; at 1980 MHz it is 1070.
    """

    name: str
    pull: float
    spread: float
    low: float = 0.0
    high: float = math.inf


TERMS: tuple[Term, ...] = (
    Term("host_base_ns", 5e6, 0.5),
    Term("host_per_doubling_ns", 2e6, 0.7),
    Term("weight_streaming_ns", 48e6, 0.25, low=40.9e6),
    Term("compute_token_ps", 186e6, 0.2, low=127.9e6),
    Term("compute_token_undivided_ps", 14e6, 0.5),
    Term("sequence_ns", 48e3, 0.5),
    Term("context_token_ps", 113e3, 0.4, low=97.8e3),
    Term("host_w", 175.0, 0.3, low=112.0),
    Term("weight_streaming_w", 520.0, 0.15, high=700.0),
    Term("compute_w", 690.0, 0.03, high=700.0),
    Term("memory_floor", 0.73, 0.15, high=1.0),
    Term("memory_knee", 0.61, 0.05, high=0.95),
    Term("compute_exponent", 1.8, 0.15),
    Term("bandwidth_slope", 0.3, 0.7, high=0.95),
    Term(INTERVAL_TAIL, 1.5, 0.2, low=1.0),
)

# Of a length in its bucket: means and medians of the trace lie up to 0.45 apart in logarithm.
_LENGTH_SPREAD = 0.3


def length_terms(workload: Workload) -> tuple[Term, ...]:
    """The lengths of a workload as terms, within their buckets: the paper gives no more."""
    lengths = workload.lengths
    kinds = (("input", lengths.inputs, INPUT_BUCKETS), ("output", lengths.outputs, OUTPUT_BUCKETS))
    return tuple(
        Term(length_name(kind, of), tokens, _LENGTH_SPREAD, *buckets[of])
        for kind, pulls, buckets in kinds
        for of, tokens in pulls.items()
    )


@lru_cache(maxsize=8)
def shipped(name: str) -> EngineProfile:
    """A profile that ships."""
    text = files("joulery.data").joinpath(f"profiles/{name}.yaml").read_text(encoding="utf-8")
    return profile_from_spec(yaml.safe_load(text)["spec"], name=name)


def bounds(terms: Sequence[Term], *, physical: bool, unbounded: Sequence[str] = ()) -> tuple[Floats, Floats]:
    """Lowest and highest place of each term; without physics, or for those unbounded, lowest is what no term may be."""
    low = [_place(t, t.low) if physical and t.low and t.name not in unbounded else -_FARTHEST for t in terms]
    high = [_place(t, t.high) if math.isfinite(t.high) else _FARTHEST for t in terms]
    return np.array(low), np.array(high)


def values_at(terms: Sequence[Term], places: Floats) -> dict[str, float]:
    """Values of the terms at places: 1 is the pull, one spread is one unit."""
    return {t.name: t.pull * math.exp(t.spread * (x - 1.0)) for t, x in zip(terms, places, strict=True)}


def environment_of(
    profile: EngineProfile, values: Mapping[str, float], workload: Workload = STANDARD
) -> Environment:
    """The profile and the lengths with terms replaced; attention draws what streaming does."""
    known = profile.accelerators[ACCELERATOR]
    power = _moved(known.power, values)
    if "weight_streaming_w" in values:
        attention_w = power.decode_attention_w.moved(values["weight_streaming_w"])
        power = replace(power, decode_attention_w=attention_w)
    changed = replace(
        known, latency=_moved(known.latency, values), power=power, clock=_moved(known.clock, values)
    )
    return Environment(
        replace(profile, accelerators={ACCELERATOR: changed}),
        values.get(INTERVAL_TAIL, 1.0),
        workload.with_lengths(values),
    )


def _moved(group: _Group, values: Mapping[str, float]) -> _Group:
    own = {name: value for name, value in values.items() if name in group.__slots__}
    return replace(group, **{name: getattr(group, name).moved(value) for name, value in own.items()})


def _place(term: Term, value: float) -> float:
    return 1.0 + math.log(value / term.pull) / term.spread
