"""An instance under steady random load of one class, in closed form: the means that the event kernel would reach.

Every iteration decodes all requests in flight; a share of the iterations carries the prompt of a new one, whole. In
flight are, by Little's law, as many requests as arrive while one decodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulery.serving.instance import ClockCoefficients, InstanceModel

MOST_SEQUENCES = 256  # the engine's own default limit
_ROUNDS = 60
_CLOSE = 1e-9
# Where prompts alone fill the instance nothing is steady; means and tails are taken just below.
_MOST_PROMPT_SHARE = 0.98
_TAIL = 0.01  # P99


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of fixed lengths, tokens, at a Poisson rate."""

    input_tokens: float
    output_tokens: float
    rate_rps: float


@dataclass(frozen=True, slots=True)
class Steady:
    """Means of an instance under a load, and the P99 of the time to first token.

    Attributes:
        in_flight: Mean requests decoding, at most `MOST_SEQUENCES`.
        token_interval_ms: Mean time from a token to the next.
        ttft_ms: Mean time to first token, with what the client adds.
        ttft_p99_ms: Far above any objective where prompts come faster than they can be taken.
        watts: Mean of the whole instance.
        fits: Whether batch limit and KV cache hold what is in flight.
    """

    in_flight: float
    token_interval_ms: float
    ttft_ms: float
    ttft_p99_ms: float
    latency_ms: float
    watts: float
    fits: bool

    @property
    def energy_wh(self) -> float:
        """Watts of the instance times latency of one request: what the published tables hold."""
        return self.watts * self.latency_ms / 3.6e6


@dataclass(frozen=True, slots=True)
class Iteration:
    """Time, and energy of the whole instance, of one iteration."""

    ms: float
    joules: float


def steady(model: InstanceModel, clock_mhz: int, load: Load) -> Steady:
    """The steady state of a variant at a clock."""
    at = model.at_clock(clock_mhz)
    in_flight = _in_flight(at, load)
    plain, with_prompt = (iteration(at, load, in_flight, prompt) for prompt in (0, load.input_tokens))
    interval_ms = _interval_ms(load, plain, with_prompt)
    client_ms = 1e-6 * model.client_ns
    ttft_ms, ttft_p99_ms = (client_ms + ms for ms in _ttft_ms(at, load, plain, with_prompt))
    return Steady(
        in_flight,
        interval_ms,
        ttft_ms,
        ttft_p99_ms,
        ttft_ms + (load.output_tokens - 1) * interval_ms,
        _watts(at, load, in_flight, plain, with_prompt),
        in_flight < min(MOST_SEQUENCES, model.kv_capacity_tokens / _context_tokens(load)),
    )


def _context_tokens(load: Load) -> float:
    """Mean tokens that a request holds while it decodes."""
    return load.input_tokens + load.output_tokens / 2.0


def _in_flight(at: ClockCoefficients, load: Load) -> float:
    """Least fixed point of Little's law, from below."""
    in_flight = 0.0
    for _ in range(_ROUNDS):
        plain, with_prompt = (iteration(at, load, in_flight, prompt) for prompt in (0, load.input_tokens))
        interval_ms = _interval_ms(load, plain, with_prompt)
        after = min(load.rate_rps * (load.output_tokens - 1) * interval_ms * 1e-3, MOST_SEQUENCES)
        if abs(after - in_flight) < _CLOSE * after:
            break
        in_flight = after
    return in_flight


def iteration(at: ClockCoefficients, load: Load, decodes: float, prompt: float) -> Iteration:
    """One iteration by the formula of `LatencyParameters`; batches are means, so steps of kernels are left out."""
    host_ms, streaming_ms = 1e-6 * at.host_ns, 1e-6 * at.streaming_ns[0]
    compute_ms = 1e-9 * at.compute_token_ps * (decodes + prompt)
    per_decode_ms = 1e-9 * (at.sequence_ps + at.context_token_ps * _context_tokens(load))
    attention_ms = per_decode_ms * decodes
    computes = compute_ms > streaming_ms
    linear_ms, linear_w = (compute_ms, at.compute_w) if computes else (streaming_ms, at.streaming_w)
    joules = at.host_w * host_ms + linear_w * linear_ms + at.attention_w * attention_ms
    return Iteration(host_ms + linear_ms + attention_ms, 1e-3 * joules)


def _interval_ms(load: Load, plain: Iteration, with_prompt: Iteration) -> float:
    """Mean iteration: rate x mean iteration of them carry a prompt, which is linear in the mean."""
    share = 1e-3 * load.rate_rps * (with_prompt.ms - plain.ms)
    return plain.ms / (1.0 - min(share, _MOST_PROMPT_SHARE))


def _ttft_ms(
    at: ClockCoefficients, load: Load, plain: Iteration, with_prompt: Iteration
) -> tuple[float, float]:
    """Mean and P99: the iteration in progress, prompts before it (M/D/1, exponential tail), its own.

    Prompts that wait share an iteration: each delays the next by its computing alone.
    """
    prompt_ms = 1e-9 * at.compute_token_ps * load.input_tokens
    used = min(1e-3 * load.rate_rps * prompt_ms, _MOST_PROMPT_SHARE)
    mean_wait_ms = 0.5 * prompt_ms * used / (1.0 - used)
    tail_wait_ms = prompt_ms * math.log(max(used / _TAIL, 1.0)) / (2.0 * (1.0 - used))
    own_ms = with_prompt.ms
    return own_ms + 0.5 * plain.ms + mean_wait_ms, own_ms + plain.ms + tail_wait_ms


def _watts(
    at: ClockCoefficients, load: Load, in_flight: float, plain: Iteration, with_prompt: Iteration
) -> float:
    """Time-weighted; empty as often as a system is that serves its Poisson arrivals side by side (M/G/inf)."""
    prompts = min(1e-3 * load.rate_rps * _interval_ms(load, plain, with_prompt), 1.0)
    joules = (1.0 - prompts) * plain.joules + prompts * with_prompt.joules
    busy_w = 1e3 * joules / ((1.0 - prompts) * plain.ms + prompts * with_prompt.ms)
    empty = math.exp(-in_flight)
    return empty * at.idle_w + (1.0 - empty) * busy_w
