"""Continuous batching, event by event, compiled.

Between two events (an arrival, a prefill, a completion, a preemption, the end of the time to live through)
iterations only decode; all of them but the last are passed in closed form (`kernel_stretch`), to the same
nanosecond as one by one. All state lies in the arrays passed in, so an engine can be stopped at any instant
and resumed: what happens depends on arrivals and clock changes, never on how the time between them was cut.
Loading this module loads numba.
"""

from __future__ import annotations

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Floats, Ints, compiled
from joulery.serving.kernel_queue import fill_prefills, leave_running, preempt_newest
from joulery.serving.kernel_stretch import bin_of, energy_j, linear_ns, pass_decodes


@compiled
def _launch(state: Ints, joules: Floats, prefill_tokens: int) -> None:
    """Put the iteration in flight: its duration by share and its energy, at the clock of this instant."""
    linear, is_compute = linear_ns(state, state[at.DECODES] + prefill_tokens)
    host = state[at.CLOCK_HOST_NS]
    attention = (state[at.CLOCK_SEQUENCE_PS] * state[at.DECODES] + 500) // 1000
    attention += (state[at.CLOCK_CONTEXT_PS] * state[at.CONTEXT_TOKENS] + 500) // 1000
    state[at.FLIGHT_HOST] = host
    state[at.FLIGHT_LINEAR] = linear
    state[at.FLIGHT_ATTENTION] = attention
    state[at.FLIGHT_IS_COMPUTE] = is_compute
    joules[at.FLIGHT_J] = energy_j(joules, host, linear, attention, is_compute)
    state[at.ITERATION_START] = state[at.NOW]
    state[at.ITERATION_END] = state[at.NOW] + host + linear + attention


@compiled
def _finish(state: Ints, requests: Ints, finished: Ints, request: int) -> None:
    """Release a request that has all its tokens."""
    leave_running(state, requests, request)
    held = requests[request, at.INPUT] + requests[request, at.OUTPUT] - 1
    state[at.KV_TOKENS] -= held
    state[at.CONTEXT_TOKENS] -= held
    state[at.DECODES] -= 1
    requests[request, at.FINISH] = state[at.NOW]
    requests[request, at.JOINED] = -1
    finished[state[at.FINISHED]] = request
    state[at.FINISHED] += 1
    state[at.REQUESTS] += 1


@compiled
def _join(state: Ints, requests: Ints, due: Ints, finished: Ints, request: int) -> None:
    """Let a request whose prefill is complete emit a token and decode from then on."""
    state[at.GENERATION_TOKENS] += 1
    state[at.CONTEXT_TOKENS] += requests[request, at.CONTEXT]
    state[at.DECODES] += 1
    requests[request, at.GENERATED] += 1
    requests[request, at.JOINED] = state[at.ITERATION]
    remaining = requests[request, at.OUTPUT] - requests[request, at.GENERATED]
    if remaining == 0:
        _finish(state, requests, finished, request)
        return
    if state[at.DECODES] == 1 or state[at.ITERATION] + remaining < state[at.NEXT_DUE]:
        state[at.NEXT_DUE] = state[at.ITERATION] + remaining
    cell = (state[at.ITERATION] + remaining) & (due.shape[0] - 1)
    requests[request, at.DUE_PREVIOUS] = -1
    requests[request, at.DUE_NEXT] = due[cell]
    if due[cell] >= 0:
        requests[due[cell], at.DUE_PREVIOUS] = request
    due[cell] = request


@compiled
def _land(a: Arrays) -> None:
    """Complete the iteration in flight: tokens out, requests finished, prefills into the decoding batch."""
    state, joules, requests, due = a.state, a.joules, a.requests, a.due
    state[at.NOW] = state[at.ITERATION_END]
    duration = state[at.ITERATION_END] - state[at.ITERATION_START]
    state[at.ITERATION_END] = -1
    state[at.ITERATION] += 1
    joules[at.ENERGY_J] += joules[at.FLIGHT_J]
    state[at.HOST_NS] += state[at.FLIGHT_HOST]
    state[at.COMPUTE_NS if state[at.FLIGHT_IS_COMPUTE] else at.STREAMING_NS] += state[at.FLIGHT_LINEAR]
    state[at.ATTENTION_NS] += state[at.FLIGHT_ATTENTION]
    decodes = state[at.DECODES]
    if decodes > 0:
        state[at.CONTEXT_TOKENS] += decodes
        state[at.KV_TOKENS] += decodes
        state[at.GENERATION_TOKENS] += decodes
        state[at.ITL_SUM_NS] += decodes * duration
        a.intervals[bin_of(a.edges, duration)] += decodes
        cell = state[at.ITERATION] & (due.shape[0] - 1)
        request = due[cell]
        due[cell] = -1
        if request >= 0:
            state[at.NEXT_DUE] = -1
        while request >= 0:
            after = requests[request, at.DUE_NEXT]
            _finish(state, requests, a.finished, request)
            request = after
    for i in range(state[at.COMPLETING]):
        request = a.completing[i]
        if requests[request, at.FIRST_TOKEN] < 0:
            requests[request, at.FIRST_TOKEN] = state[at.NOW]
            state[at.PROMPT_TOKENS] += requests[request, at.INPUT]
        else:
            since = state[at.NOW] - requests[request, at.LAST_TOKEN]
            state[at.ITL_SUM_NS] += since
            a.intervals[bin_of(a.edges, since)] += 1
        _join(state, requests, due, a.finished, request)
    state[at.COMPLETING] = 0


@compiled
def advance(a: Arrays, until_ns: int) -> None:
    """Live through everything before `until_ns`; what begins exactly then waits for the next call."""
    state = a.state
    while True:
        if state[at.ITERATION_END] >= 0:
            if state[at.ITERATION_END] > until_ns:
                break
            _land(a)
        if state[at.NOW] >= until_ns:
            break
        while state[at.KV_TOKENS] + state[at.DECODES] > state[at.KV_CAPACITY]:
            preempt_newest(a)
        prefill_tokens = fill_prefills(a)
        if state[at.DECODES] > 0 or prefill_tokens > 0:
            if prefill_tokens == 0:
                pass_decodes(a, until_ns)
            _launch(state, a.joules, prefill_tokens)
            continue
        wake = until_ns
        if state[at.QUEUE_LENGTH] > 0:
            wake = min(wake, a.requests[a.queue[state[at.QUEUE_HEAD]], at.ARRIVAL])
        state[at.IDLE_NS] += wake - state[at.NOW]
        state[at.NOW] = wake
    state[at.NOW] = max(state[at.NOW], until_ns)
