"""Iterations that only decode, between two events, in closed form. Compiled.

Iteration i of such a stretch takes fixed + (slope i + offset) // 1000 nanoseconds, because every iteration adds
a token per request to the context that the next one reads. Sums of these are floor sums; all is exact.
"""

from __future__ import annotations

import math
from typing import Final

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Floats, Ints, compiled

# Up to so many iterations are added up; from there on a closed form is faster.
LONGEST_WALK: Final = 32
# Bounds within which all sums over a stretch of iterations, in picoseconds, fit 63 bits.
LONGEST_STRETCH: Final = 1 << 16
LONGEST_ITERATION_PS: Final = 1 << 46


@compiled
def bin_of(edges: Ints, nanoseconds: int) -> int:
    """Bin of an interval: that of the first edge >= its length. One by one, for nearly all are short."""
    place = 0
    while place < edges.shape[0] and edges[place] < nanoseconds:
        place += 1
    return place


@compiled
def linear_ns(state: Ints, tokens: int) -> tuple[int, bool]:
    """Time of the linear layers for so many tokens, and whether compute bounds it."""
    steps = 0
    if tokens > state[at.STEP_TOKENS]:
        steps = 2 if tokens > state[at.STEP_TOKENS + 1] else 1
    streaming = state[at.CLOCK_STREAMING_NS + steps]
    compute = (state[at.CLOCK_COMPUTE_PS] * tokens + 500) // 1000
    return max(compute, streaming), compute > streaming


@compiled
def energy_j(joules: Floats, host_ns: int, linear_ns: int, attention_ns: int, is_compute: bool) -> float:
    """Joules of such times at the clock."""
    watts = joules[at.COMPUTE_W] if is_compute else joules[at.STREAMING_W]
    busy_nj = host_ns * joules[at.HOST_W] + linear_ns * watts + attention_ns * joules[at.ATTENTION_W]
    return 1e-9 * float(busy_nj)


@compiled
def floor_sum(count: int, slope: int, offset: int, divisor: int) -> int:
    """Sum of (slope i + offset) // divisor over i from 0 to count - 1, by Euclid's algorithm; none negative."""
    total = 0
    while count > 0:
        total += (count - 1) * count // 2 * (slope // divisor) + count * (offset // divisor)
        slope %= divisor
        top = slope * count + offset % divisor
        # Lattice points under the line, counted by column so far, are counted by row from here.
        count, offset, slope, divisor = top // divisor, top % divisor, divisor, slope
    return total


@compiled
def _next_due(state: Ints, due: Ints) -> int:
    """The iteration whose end completes the next answer; somebody must be decoding."""
    if state[at.NEXT_DUE] < 0:
        iteration = state[at.ITERATION] + 1
        while due[iteration & (due.shape[0] - 1)] < 0:
            iteration += 1
        state[at.NEXT_DUE] = iteration
    return int(state[at.NEXT_DUE])


@compiled
def _quiet_until_ns(a: Arrays, until_ns: int) -> int:
    """Until when no start of an iteration can admit a request, given that this one could not.

    The KV cache only fills while requests only decode: whoever was refused is refused until one completes. In
    order of deadlines somebody yet to arrive may come before whoever was refused.
    """
    state = a.state
    if state[at.PREEMPTED] > 0 or state[at.QUEUE_LENGTH] == state[at.SORTED]:
        return until_ns
    if state[at.RUNNING] >= state[at.MAX_NUM_SEQS] or state[at.DECODES] >= state[at.TOKEN_BUDGET]:
        return until_ns
    place = (state[at.QUEUE_HEAD] + state[at.SORTED]) & (a.queue.shape[0] - 1)
    arrival = a.requests[a.queue[place], at.ARRIVAL]
    return until_ns if arrival <= state[at.NOW] else min(until_ns, arrival)


@compiled
def _fit(fixed: int, slope: int, offset: int, most: int, quiet_ns: int) -> tuple[int, int]:
    """How many iterations end before the quiet does, at most so many, and the time of their context.

    Many are estimated by the quadratic without rounding and put right. Few are added up, a nanosecond for each.
    """
    count = context = 0
    if most > LONGEST_WALK and quiet_ns > LONGEST_WALK * (fixed + offset // 1000):
        first = fixed + 0.001 * (offset - 0.5 * slope)
        count = min(most, int(2.0 * quiet_ns / (first + math.sqrt(first * first + 0.002 * slope * quiet_ns))))
        context = floor_sum(count, slope, offset, 1000)
        while count * fixed + context >= quiet_ns:
            count -= 1
            context -= (slope * count + offset) // 1000
    while count < most:
        longer = context + (slope * count + offset) // 1000
        if (count + 1) * fixed + longer >= quiet_ns:
            break
        context = longer
        count += 1
    return count, context


@compiled
def count_within(fixed_ns: int, slope_ps: int, offset_ps: int, limit_ns: int) -> int:
    """How many iterations of a stretch, the shortest first, last at most so long; the first must."""
    return (1000 * (limit_ns - fixed_ns) + 999 - offset_ps) // slope_ps + 1


@compiled
def _observe_stretch(a: Arrays, fixed_ns: int, slope_ps: int, offset_ps: int, count: int) -> None:
    """Count the token intervals of a stretch, whose iterations never get shorter, bin by bin."""
    edges, intervals, decodes = a.edges, a.intervals, a.state[at.DECODES]
    place = bin_of(edges, fixed_ns + offset_ps // 1000)
    longest_ns = fixed_ns + (slope_ps * (count - 1) + offset_ps) // 1000
    counted = 0
    while place < edges.shape[0] and edges[place] < longest_ns:
        within = count_within(fixed_ns, slope_ps, offset_ps, edges[place])
        intervals[place] += (within - counted) * decodes
        counted = within
        place += 1
    intervals[place] += (count - counted) * decodes


@compiled
def _most(a: Arrays, fixed: int, slope: int, offset: int) -> int:
    """How many iterations may pass before one completes an answer or one finds the KV cache too small."""
    state = a.state
    most = min(_next_due(state, a.due) - state[at.ITERATION] - 1, LONGEST_STRETCH)
    room = state[at.KV_CAPACITY] - state[at.KV_TOKENS]
    if (most + 1) * state[at.DECODES] > room:
        most = room // state[at.DECODES] - 1
    return most if 1000 * fixed + slope * most + offset < LONGEST_ITERATION_PS else 0


@compiled
def pass_decodes(a: Arrays, until_ns: int) -> None:
    """Complete all iterations before the one that an event follows; that one is the caller's to launch."""
    state, decodes = a.state, a.state[at.DECODES]
    host = state[at.CLOCK_HOST_NS]
    linear, is_compute = linear_ns(state, decodes)
    sequences = (state[at.CLOCK_SEQUENCE_PS] * decodes + 500) // 1000
    fixed = host + linear + sequences
    slope = state[at.CLOCK_CONTEXT_PS] * decodes
    offset = state[at.CLOCK_CONTEXT_PS] * state[at.CONTEXT_TOKENS] + 500
    quiet_ns = _quiet_until_ns(a, until_ns) - state[at.NOW]
    if fixed + offset // 1000 >= quiet_ns:
        return
    count, context = _fit(fixed, slope, offset, _most(a, fixed, slope, offset), quiet_ns)
    if count == 0:
        return
    _observe_stretch(a, fixed, slope, offset, count)
    attention = count * sequences + context
    a.joules[at.ENERGY_J] += energy_j(a.joules, count * host, count * linear, attention, is_compute)
    state[at.NOW] += count * fixed + context
    state[at.ITERATION] += count
    state[at.HOST_NS] += count * host
    state[at.COMPUTE_NS if is_compute else at.STREAMING_NS] += count * linear
    state[at.ATTENTION_NS] += attention
    state[at.CONTEXT_TOKENS] += count * decodes
    state[at.KV_TOKENS] += count * decodes
    state[at.GENERATION_TOKENS] += count * decodes
    state[at.ITL_SUM_NS] += decodes * (count * fixed + context)
