"""What the clock alone saves at a fixed rate, by load: Llama-3.1-70B FP8 on H100 TP4, with bands.

The shipped profile on the engine that the operator plans with, on every request of the Azure 2023 conversation hour.
Bands are quantiles over profiles whose every parameter is drawn from its range.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib.resources import files
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from joulery.calibration.dynamollm.judge import ACCELERATOR
from joulery.calibration.dynamollm.terms import shipped
from joulery.domain.request_class import Objective
from joulery.serving.instance import instance_model
from joulery.serving.parameters import (
    ClockResponse,
    EngineProfile,
    LatencyParameters,
    Parameter,
    PowerParameters,
)
from joulery.serving.sample import Sample
from joulery.serving.trial import Trial

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_Group = TypeVar("_Group", LatencyParameters, PowerParameters, ClockResponse)

PROFILE = "llama-3.1-70b-fp8"
SIZE = 4
TOKEN_BUDGET = 512
MAX_NUM_SEQS = 256
LONGEST_INPUT_TOKENS = 8192
OBJECTIVE = Objective(
    time_to_first_token_ms=2000, time_per_output_token_ms=100, inter_token_latency_p99_ms=100
)
ATTAINMENT = 0.99
LOADS = (0.05, 0.10, 0.20, 0.40, 0.70, 0.85)

# Below the lowest clock that ships nothing is measured: what the model says there is printed, and not planned with.
ASSUMED_CLOCKS_MHZ = (795, 870, 930, 1005, 1065, 1140)

DRAWS = 60
SEED = 0
BAND = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Saving:
    """The cheapest clock at one load, and what it saves against the highest; shares of GPU and of wall power."""

    load: float
    watts_per_gpu: float
    joules_per_token: float
    best_joules_per_token: float
    best_clock_mhz: int
    gpu_share: float
    wall_share: float


@dataclass(frozen=True, slots=True)
class Banded:
    """A saving of the shipped profile with the quantiles `BAND` over draws, and that with assumed clocks allowed."""

    shipped: Saving
    clock_band_mhz: tuple[int, int]
    gpu_band: tuple[float, float]
    with_assumed_clocks: Saving


@dataclass(frozen=True, slots=True)
class Savings:
    """All loads; the highest rate is that at the highest clock."""

    highest_rate_rps: float
    draws: int
    by_load: tuple[Banded, ...]


def clock_savings(*, draws: int = DRAWS, done: Callable[[], None] = lambda: None) -> Savings:
    """The table; `done` is called after each drawn profile."""
    profile = shipped(PROFILE)
    clocks = profile.accelerators[ACCELERATOR].device.supported_clocks_mhz
    sample = _sample()
    rng = random.Random(SEED)
    drawn = []
    for _ in range(draws):
        drawn.append(savings_of(_drawn(profile, rng), clocks, sample))
        done()
    own = savings_of(profile, clocks, sample)
    everywhere = savings_of(profile, (*ASSUMED_CLOCKS_MHZ, *clocks), sample)
    return Savings(
        _trial(profile, sample).highest_rate_rps(clocks[-1]),
        draws,
        tuple(_banded(own[i], [d[i] for d in drawn], everywhere[i]) for i in range(len(LOADS))),
    )


def savings_of(profile: EngineProfile, clocks_mhz: Sequence[int], sample: Sample) -> tuple[Saving, ...]:
    """The saving at each load; loads are shares of the profile's own highest rate at the highest clock."""
    trial = _trial(profile, sample)
    highest = trial.highest_rate_rps(clocks_mhz[-1])
    rates = {
        mhz: trial.highest_rate_rps(mhz, near_rps=highest * mhz / clocks_mhz[-1]) for mhz in clocks_mhz[:-1]
    }
    rates[clocks_mhz[-1]] = highest
    return tuple(_saving(profile, trial, rates, load * highest, load) for load in LOADS)


def _saving(
    profile: EngineProfile, trial: Trial, rates: dict[int, float], rate_rps: float, load: float
) -> Saving:
    watts = {mhz: trial.mean_watts(mhz, rate_rps) for mhz, highest in rates.items() if highest >= rate_rps}
    best, full = min(watts, key=lambda mhz: watts[mhz]), watts[max(watts)]
    server = profile.accelerators[ACCELERATOR].device.server
    tokens_per_s = rate_rps * float(trial.sample.output_tokens.mean())
    wall = [server.wall_w(w, gpus=SIZE) for w in (watts[best], full)]
    return Saving(
        load,
        full / SIZE,
        full / tokens_per_s,
        watts[best] / tokens_per_s,
        best,
        1.0 - watts[best] / full,
        1.0 - wall[0] / wall[1],
    )


def _banded(own: Saving, drawn: Sequence[Saving], everywhere: Saving) -> Banded:
    clocks = np.quantile([d.best_clock_mhz for d in drawn] or [own.best_clock_mhz], BAND, method="nearest")
    low, high = np.quantile([d.gpu_share for d in drawn] or [own.gpu_share], BAND).tolist()
    return Banded(own, (int(clocks[0]), int(clocks[1])), (low, high), everywhere)


def _trial(profile: EngineProfile, sample: Sample) -> Trial:
    model = instance_model(profile, ACCELERATOR, SIZE)
    return Trial(model, TOKEN_BUDGET, MAX_NUM_SEQS, sample, OBJECTIVE, ATTAINMENT)


@lru_cache(maxsize=1)
def trace_lengths() -> tuple[Ints, Ints]:
    """Input and output tokens of every request of the Azure 2023 conversation hour, in order of arrival."""
    file = files("joulery.data").joinpath("traces/azure-2023-conv-lengths.csv.gz")
    with file.open("rb") as packed, gzip.open(packed, "rt") as lines:
        rows = [(int(row["input_tokens"]), int(row["output_tokens"])) for row in csv.DictReader(lines)]
    lengths = np.array(rows, dtype=np.int64)
    return np.minimum(lengths[:, 0], LONGEST_INPUT_TOKENS), lengths[:, 1]


def _sample() -> Sample:
    inputs, outputs = trace_lengths()
    order = np.random.default_rng(SEED).permutation(len(inputs))
    return Sample.of_lengths(inputs[order], outputs[order], seed=SEED)


def _drawn(profile: EngineProfile, rng: random.Random) -> EngineProfile:
    known = profile.accelerators[ACCELERATOR]
    return replace(
        profile,
        accelerators={
            ACCELERATOR: replace(
                known,
                latency=_uniform(known.latency, rng),
                power=_uniform(known.power, rng),
                clock=_uniform(known.clock, rng),
            )
        },
    )


def _uniform(group: _Group, rng: random.Random) -> _Group:
    """Every parameter drawn from its own range; a table of them entry by entry."""

    def draw(parameter: Parameter) -> Parameter:
        return parameter.moved(rng.uniform(parameter.low, parameter.high))

    changes: dict[str, object] = {}
    for field in fields(group):
        value = getattr(group, field.name)
        is_one = isinstance(value, Parameter)
        changes[field.name] = draw(value) if is_one else {tp: draw(step) for tp, step in value.items()}
    return replace(group, **changes)  # type: ignore[arg-type]
