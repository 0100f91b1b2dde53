"""Measured points replayed: the load generator that made them, and what the serving model says of each.

What an engine does under a closed-loop client hangs on lengths, limits and KV cache and not on time, so each point is
played once and then timed under any parameters (`joulery.calibration.schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulery.calibration.client import REQUESTS_PER_CLIENT, SHORTEST_SHARE, TOKEN_BUDGET, Load
from joulery.calibration.form import LatencyLaw, Replayed, Weights, replayed
from joulery.calibration.schedule import Schedule, schedule_of
from joulery.errors import ConfigError
from joulery.profiling.points import MeasuredPoint
from joulery.serving.instance import watts_per_gpu
from joulery.serving.parameters import AcceleratorProfile, ClockResponse

# Share of the KV cache that mean demand takes above which a point may queue: 0.69 is clean, 0.8 is not.
FULL_SHARE = 0.75
# Runs differ by the lengths drawn; the mean over seeds takes most of that noise out of the model's side.
SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Client:
    """The load generator and the engine's limits, as declared by whoever measured.

    Lengths are uniform from `shortest_share` of nominal up. Without `max_num_seqs` the engine ran as many requests as
    there were clients.
    """

    requests_per_client: int = REQUESTS_PER_CLIENT
    shortest_share: float = SHORTEST_SHARE
    token_budget: int = TOKEN_BUDGET
    max_num_seqs: int | None = None

    def load(self, point: MeasuredPoint, seed: int) -> Load:
        """The run that gave a point, its lengths drawn by a seed."""
        return Load(
            clients=point.concurrency,
            input_tokens=point.input_tokens,
            output_tokens=point.output_tokens,
            requests_per_client=self.requests_per_client,
            seed=seed,
            shortest_share=self.shortest_share,
            token_budget=self.token_budget,
            max_num_seqs=self.max_num_seqs,
        )

    def kv_demand_tokens(self, point: MeasuredPoint) -> float:
        """Mean tokens in the KV cache with all that may run running: answers are half done on average."""
        mean_share = (1.0 + self.shortest_share) / 2.0
        return self.load(point, 0).batch_limit * mean_share * (point.input_tokens + point.output_tokens / 2)


@dataclass(frozen=True, eq=False)
class Run:
    """A point with its run; `whole` weighs every iteration of it, `phi` is its clock over the highest."""

    point: MeasuredPoint
    times: Replayed
    whole: Weights
    phi: float
    is_full: bool

    def means_ms(self, law: LatencyLaw, clock: ClockResponse) -> tuple[float, float]:
        """Mean TTFT and mean TPOT under a law of the highest clock."""
        return self.times.means_ms(at_clock(law, clock, self.phi))

    def shares(self, law: LatencyLaw, clock: ClockResponse) -> tuple[float, float, float, float]:
        """Shares of the time that go to host, weights, decode attention and compute."""
        now, tp = at_clock(law, clock, self.phi), self.times.tensor_parallel_size
        linear = now.linear_ms(tp, self.times.tokens)
        compute = 1e-3 * (now.compute_token_us / tp + now.compute_token_undivided_us) * self.times.tokens
        # Where both take equally long the engine counts it as streaming.
        computing = np.where(compute >= linear, linear, 0.0)
        kinds = (
            now.host_ms(tp) * self.whole.iterations,
            float(self.whole.by_tokens @ (linear - computing)),
            1e-3 * now.sequence_us * self.whole.decodes
            + 1e-6 * now.context_token_ns / tp * self.whole.context_tokens,
            float(self.whole.by_tokens @ computing),
        )
        total = sum(kinds)
        return kinds[0] / total, kinds[1] / total, kinds[2] / total, kinds[3] / total

    def watts_per_gpu(self, law: LatencyLaw, accelerator: AcceleratorProfile) -> float:
        """Mean watts of one GPU over the run."""
        _, *watts = watts_per_gpu(accelerator, self.phi)
        return sum(s * w for s, w in zip(self.shares(law, accelerator.clock), watts, strict=True))


def at_clock(law: LatencyLaw, clock: ClockResponse, phi: float) -> LatencyLaw:
    """The law at another clock: compute by the clock, streaming and attention by the memory bandwidth left."""
    slower = 1.0 / max(clock.bandwidth(phi), 1e-3)
    return replace(
        law,
        weight_streaming_ms=law.weight_streaming_ms * slower,
        streaming_step_ms={tp: step * slower for tp, step in law.streaming_step_ms.items()},
        context_token_ns=law.context_token_ns * slower,
        compute_token_us=law.compute_token_us / phi,
        compute_token_undivided_us=law.compute_token_undivided_us / phi,
    )


def run_of(
    point: MeasuredPoint,
    client: Client,
    *,
    kv_capacity: int,
    max_clock_mhz: int,
    file: str,
    seeds: Sequence[int] = SEEDS,
) -> Run:
    """Replay a point, its lengths drawn once by each seed.

    Raises ConfigError naming row and column where no engine could have run it.
    """
    _check_fits(point, client, kv_capacity=kv_capacity, max_clock_mhz=max_clock_mhz, file=file)
    is_full = client.kv_demand_tokens(point) >= FULL_SHARE * kv_capacity
    # Full ones are slow to replay, and their time hangs on the queue, not on the lengths drawn.
    drawn = seeds[:1] if is_full else seeds
    schedules = [schedule_of(client.load(point, seed), kv_capacity) for seed in drawn]
    times = replayed(schedules, point.tensor_parallel_size)
    phi = (point.sm_clock_mhz or max_clock_mhz) / max_clock_mhz
    return Run(point, times, _whole(schedules, times), phi, is_full)


def _whole(schedules: Sequence[Schedule], times: Replayed) -> Weights:
    """Every iteration of all runs."""
    iterations = np.concatenate([s.iterations for s in schedules])
    tokens = np.concatenate([s.tokens for s in schedules])
    places = np.searchsorted(times.tokens, tokens)
    return Weights(
        float(iterations.sum()),
        float(iterations @ np.concatenate([s.decodes for s in schedules])),
        float(sum(s.context_tokens.sum() for s in schedules)),
        np.bincount(places, weights=iterations, minlength=len(times.tokens)).astype(np.float64),
    )


def _check_fits(
    point: MeasuredPoint, client: Client, *, kv_capacity: int, max_clock_mhz: int, file: str
) -> None:
    where = f"{file} row {point.row}, column"
    longest = point.input_tokens + point.output_tokens
    if longest > kv_capacity:
        raise ConfigError(
            f"{where} input_tokens: a request of {point.shape} tokens does not fit the KV cache of {kv_capacity} "
            f"tokens that TP{point.tensor_parallel_size} leaves: state the model's sizes and cache type as they were"
        )
    if (point.sm_clock_mhz or 0) > max_clock_mhz:
        raise ConfigError(
            f"{where} sm_clock_mhz: {point.sm_clock_mhz} MHz is above the {max_clock_mhz} MHz of {point.accelerator}"
        )
    batch = client.load(point, 0).batch_limit
    if batch > client.token_budget:
        raise ConfigError(
            f"{where} concurrency: {batch} requests at once decode more tokens than the token budget "
            f"{client.token_budget} of an iteration: state --token-budget and --max-num-seqs as they were"
        )
