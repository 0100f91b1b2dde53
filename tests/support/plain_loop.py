"""Continuous batching as a plain compiled loop over the active requests of every iteration.

What anybody would write first: arrays in, times out, no table, no stretches, nothing resumable. It is the
yardstick of the kernel's speed, and equal to it to the nanosecond.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from joulery.serving.instance import FIRST_STEP_TOKENS, SECOND_STEP_TOKENS, InstanceModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class PlainRun(NamedTuple):
    """Times by request, token intervals by bin, joules of iterations and preemptions."""

    first_ns: Ints
    finish_ns: Ints
    intervals: Ints
    busy_j: float
    preemptions: int


def run_plainly(
    model: InstanceModel,
    limits: tuple[int, int],
    requests: tuple[Ints, Ints, Ints],
    clock_changes: tuple[tuple[int, int], ...],
    edges_ns: Ints,
) -> PlainRun:
    """Serve requests (arrivals, inputs, outputs) to the end within (token budget, max_num_seqs).

    `clock_changes` are (time, MHz), the first at time 0 or before.
    """
    clocks = [model.at_clock(mhz) for _, mhz in clock_changes]
    coefficients = np.array(
        [
            (at, c.host_ns, *c.streaming_ns, c.compute_token_ps, c.context_token_ps, c.sequence_ps)
            for (at, _), c in zip(clock_changes, clocks, strict=True)
        ],
        np.int64,
    )
    watts = np.array([(c.host_w, c.streaming_w, c.compute_w, c.attention_w) for c in clocks])
    first_ns, finish_ns = np.full((2, len(requests[0])), -1, np.int64)
    intervals = np.zeros(len(edges_ns) + 1, np.int64)
    busy_j, preemptions = _serve(
        (*limits, model.kv_capacity_tokens),
        *requests,
        coefficients,
        watts,
        (first_ns, finish_ns),
        edges_ns,
        intervals,
    )
    return PlainRun(first_ns, finish_ns, intervals, busy_j, preemptions)


@numba.njit(nogil=True)
def _serve(
    limits: tuple[int, int, int],
    arrivals: Ints,
    inputs: Ints,
    outputs: Ints,
    coefficients: Ints,
    watts: Floats,
    times: tuple[Ints, Ints],
    edges: Ints,
    intervals: Ints,
) -> tuple[float, int]:
    budget, most, capacity = limits
    first_ns, finish_ns = times
    count = len(arrivals)
    # Per request: tokens out, tokens in the KV cache, those its prefill must reach, of these in this iteration.
    generated, held = np.zeros(count, np.int64), np.zeros(count, np.int64)
    target, chunk = np.zeros(count, np.int64), np.zeros(count, np.int64)
    last_ns = np.zeros(count, np.int64)
    running, preempted = np.zeros(most, np.int64), np.zeros(most, np.int64)
    active, again, queued, finished, preemptions, clock, now = 0, 0, 0, 0, 0, 0, 0
    joules = 0.0
    while finished < count:
        while clock + 1 < len(coefficients) and coefficients[clock + 1, 0] <= now:
            clock += 1
        decodes, context, reserved = 0, 0, 0
        for request in running[:active]:
            reserved += max(held[request], target[request])
            if held[request] >= target[request]:
                decodes += 1
                context += held[request]
        while reserved + decodes > capacity:
            active -= 1
            request = running[active]
            reserved -= max(held[request], target[request])
            if held[request] >= target[request]:
                decodes -= 1
                context -= held[request]
            held[request], target[request] = 0, 0
            preempted[again] = request
            again += 1
            preemptions += 1
        left = budget - decodes
        for request in running[:active]:
            if held[request] < target[request]:
                chunk[request] = min(left, target[request] - held[request])
                left -= chunk[request]
        while left > 0 and active < most:
            if again > 0:
                request = preempted[again - 1]
            elif queued < count and arrivals[queued] <= now:
                request = queued
            else:
                break
            need = inputs[request] + generated[request]
            if reserved + decodes + need > capacity:
                break
            if again > 0:
                again -= 1
            else:
                queued += 1
            running[active] = request
            active += 1
            reserved += need
            target[request] = need
            chunk[request] = min(left, need)
            left -= chunk[request]
        if left == budget:
            now = arrivals[queued]
            continue
        taken_ns, taken_j = _iterate(coefficients[clock], budget - left, decodes, context, watts[clock])
        now += taken_ns
        joules += taken_j
        kept = 0
        for request in running[:active]:
            running[kept] = request
            kept += 1
            if held[request] < target[request]:
                held[request] += chunk[request]
                if held[request] < target[request]:
                    continue
            else:
                held[request] += 1
            generated[request] += 1
            if generated[request] == 1:
                first_ns[request] = now
            else:
                intervals[np.searchsorted(edges, now - last_ns[request])] += 1
            last_ns[request] = now
            if generated[request] == outputs[request]:
                finish_ns[request] = now
                finished += 1
                kept -= 1
        active = kept
    return joules, preemptions


@numba.njit(nogil=True)
def _iterate(at_clock: Ints, tokens: int, decodes: int, context: int, watts: Floats) -> tuple[int, float]:
    """Nanoseconds and joules of one iteration."""
    steps = (tokens > FIRST_STEP_TOKENS) + (tokens > SECOND_STEP_TOKENS)
    host, streaming = at_clock[1], at_clock[2 + steps]
    compute = (at_clock[5] * tokens + 500) // 1000
    attention = (at_clock[6] * context + 500) // 1000 + (at_clock[7] * decodes + 500) // 1000
    linear_j = compute * watts[2] if compute > streaming else streaming * watts[1]
    joules = 1e-9 * (host * watts[0] + linear_j + attention * watts[3])
    return host + max(compute, streaming) + attention, joules
