"""Continuous batching one iteration at a time, compiled: what the event-driven kernel must equal exactly.

It runs on the same arrays, every iteration put in flight and completed; what it does is repeated here on purpose, so
that nothing which the two share can be wrong in both.
"""

from __future__ import annotations

from joulery.serving.kernel_arrays import Arrays, Floats, Ints, compiled
from joulery.serving.kernel_cells import (
    ARRIVAL,
    ATTENTION_NS,
    ATTENTION_W,
    CLOCK_COMPUTE_PS,
    CLOCK_CONTEXT_PS,
    CLOCK_HOST_NS,
    CLOCK_SEQUENCE_PS,
    CLOCK_STREAMING_NS,
    COMPLETING,
    COMPUTE_NS,
    COMPUTE_W,
    CONTEXT,
    CONTEXT_TOKENS,
    DECODES,
    DUE_NEXT,
    DUE_PREVIOUS,
    ENERGY_J,
    FINISH,
    FINISHED,
    FIRST_TOKEN,
    FLIGHT_ATTENTION,
    FLIGHT_HOST,
    FLIGHT_IS_COMPUTE,
    FLIGHT_J,
    FLIGHT_LINEAR,
    GENERATED,
    GENERATION_TOKENS,
    HOST_NS,
    HOST_W,
    IDLE_NS,
    INPUT,
    ITERATION,
    ITERATION_END,
    ITERATION_START,
    ITL_SUM_NS,
    JOINED,
    KV_CAPACITY,
    KV_TOKENS,
    LAST_TOKEN,
    MAX_NUM_SEQS,
    NOW,
    OUTPUT,
    PARTIAL,
    PREEMPTED,
    PREEMPTIONS,
    PREFILLED,
    PROMPT_TOKENS,
    QUEUE_HEAD,
    QUEUE_LENGTH,
    REQUESTS,
    RUN_HEAD,
    RUN_NEXT,
    RUN_PREVIOUS,
    RUN_TAIL,
    RUNNING,
    STEP_TOKENS,
    STREAMING_NS,
    STREAMING_W,
    TOKEN_BUDGET,
)


@compiled
def _observe(edges: Ints, intervals: Ints, nanoseconds: int, tokens: int) -> None:
    """Count token intervals in the bin of the first edge >= their length."""
    low, high = 0, edges.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if edges[middle] < nanoseconds:
            low = middle + 1
        else:
            high = middle
    intervals[low] += tokens


@compiled
def _unlink(requests: Ints, request: int, onward: int, backward: int) -> None:
    """Join the neighbours of a request in one of its lists."""
    after, before = requests[request, onward], requests[request, backward]
    if after >= 0:
        requests[after, backward] = before
    if before >= 0:
        requests[before, onward] = after


@compiled
def _leave_running(state: Ints, requests: Ints, request: int) -> None:
    """Take a request out of the running list."""
    if state[RUN_HEAD] == request:
        state[RUN_HEAD] = requests[request, RUN_NEXT]
    if state[RUN_TAIL] == request:
        state[RUN_TAIL] = requests[request, RUN_PREVIOUS]
    _unlink(requests, request, RUN_NEXT, RUN_PREVIOUS)
    state[RUNNING] -= 1


@compiled
def _preempt_newest(state: Ints, requests: Ints, due: Ints, stack: Ints) -> None:
    """Free the KV cache of the request admitted last and put it at the head of the queue."""
    request = state[RUN_TAIL]
    _leave_running(state, requests, request)
    if requests[request, JOINED] >= 0:
        cell = requests[request, JOINED] + requests[request, OUTPUT] - requests[request, GENERATED]
        if due[cell & (due.shape[0] - 1)] == request:
            due[cell & (due.shape[0] - 1)] = requests[request, DUE_NEXT]
        _unlink(requests, request, DUE_NEXT, DUE_PREVIOUS)
        generated = requests[request, GENERATED] + state[ITERATION] - requests[request, JOINED]
        held = requests[request, INPUT] + generated - 1
        state[DECODES] -= 1
        state[CONTEXT_TOKENS] -= held
        state[KV_TOKENS] -= held
        requests[request, GENERATED] = generated
        requests[request, JOINED] = -1
        requests[request, LAST_TOKEN] = state[NOW]
    else:
        state[KV_TOKENS] -= requests[request, CONTEXT]
        if state[PARTIAL] == request:
            state[PARTIAL] = -1
    requests[request, PREFILLED] = 0
    stack[state[PREEMPTED]] = request
    state[PREEMPTED] += 1
    state[PREEMPTIONS] += 1


@compiled
def _admit(a: Arrays) -> int:
    """Admit the head of the queue where its whole context fits the KV cache; the request, or -1."""
    state, requests, queue, stack = a.state, a.requests, a.queue, a.stack
    if state[RUNNING] >= state[MAX_NUM_SEQS]:
        return -1
    if state[PREEMPTED] > 0:
        request = stack[state[PREEMPTED] - 1]
    elif state[QUEUE_LENGTH] > 0:
        request = queue[state[QUEUE_HEAD]]
        if requests[request, ARRIVAL] > state[NOW]:
            return -1
    else:
        return -1
    context = requests[request, INPUT] + requests[request, GENERATED]
    if state[KV_TOKENS] + state[DECODES] + context > state[KV_CAPACITY]:
        return -1
    if state[PREEMPTED] > 0:
        state[PREEMPTED] -= 1
    else:
        state[QUEUE_HEAD] = (state[QUEUE_HEAD] + 1) & (queue.shape[0] - 1)
        state[QUEUE_LENGTH] -= 1
    requests[request, CONTEXT] = context
    requests[request, PREFILLED] = 0
    requests[request, RUN_NEXT] = -1
    requests[request, RUN_PREVIOUS] = state[RUN_TAIL]
    if state[RUN_TAIL] >= 0:
        requests[state[RUN_TAIL], RUN_NEXT] = request
    else:
        state[RUN_HEAD] = request
    state[RUN_TAIL] = request
    state[RUNNING] += 1
    state[KV_TOKENS] += context
    return int(request)


@compiled
def _fill_prefills(a: Arrays) -> int:
    """Give the budget that decodes leave to prefills, first come first served; the prefill tokens taken."""
    state, requests, completing = a.state, a.requests, a.completing
    left = state[TOKEN_BUDGET] - state[DECODES]
    taken = 0
    state[COMPLETING] = 0
    request = state[PARTIAL]
    while left > 0:
        if request < 0:
            request = _admit(a)
            if request < 0:
                break
        chunk = min(left, requests[request, CONTEXT] - requests[request, PREFILLED])
        requests[request, PREFILLED] += chunk
        left -= chunk
        taken += chunk
        if requests[request, PREFILLED] < requests[request, CONTEXT]:
            break
        completing[state[COMPLETING]] = request
        state[COMPLETING] += 1
        request = -1
    state[PARTIAL] = request
    return taken


@compiled
def _launch(state: Ints, joules: Floats, prefill_tokens: int) -> None:
    """Put the iteration in flight: its duration by share and its energy, at the clock of this instant."""
    tokens = state[DECODES] + prefill_tokens
    steps = 0
    if tokens > state[STEP_TOKENS]:
        steps = 2 if tokens > state[STEP_TOKENS + 1] else 1
    streaming = state[CLOCK_STREAMING_NS + steps]
    compute = (state[CLOCK_COMPUTE_PS] * tokens + 500) // 1000
    host = state[CLOCK_HOST_NS]
    attention = (state[CLOCK_SEQUENCE_PS] * state[DECODES] + 500) // 1000
    attention += (state[CLOCK_CONTEXT_PS] * state[CONTEXT_TOKENS] + 500) // 1000
    linear, watts = (compute, joules[COMPUTE_W]) if compute > streaming else (streaming, joules[STREAMING_W])
    state[FLIGHT_HOST] = host
    state[FLIGHT_LINEAR] = linear
    state[FLIGHT_ATTENTION] = attention
    state[FLIGHT_IS_COMPUTE] = compute > streaming
    joules[FLIGHT_J] = 1e-9 * (host * joules[HOST_W] + linear * watts + attention * joules[ATTENTION_W])
    state[ITERATION_START] = state[NOW]
    state[ITERATION_END] = state[NOW] + host + linear + attention


@compiled
def _finish(state: Ints, requests: Ints, finished: Ints, request: int) -> None:
    """Release a request that has all its tokens."""
    _leave_running(state, requests, request)
    held = requests[request, INPUT] + requests[request, OUTPUT] - 1
    state[KV_TOKENS] -= held
    state[CONTEXT_TOKENS] -= held
    state[DECODES] -= 1
    requests[request, FINISH] = state[NOW]
    requests[request, JOINED] = -1
    finished[state[FINISHED]] = request
    state[FINISHED] += 1
    state[REQUESTS] += 1


@compiled
def _join(state: Ints, requests: Ints, due: Ints, finished: Ints, request: int) -> None:
    """Let a request whose prefill is complete emit a token and decode from then on."""
    state[GENERATION_TOKENS] += 1
    state[CONTEXT_TOKENS] += requests[request, CONTEXT]
    state[DECODES] += 1
    requests[request, GENERATED] += 1
    requests[request, JOINED] = state[ITERATION]
    remaining = requests[request, OUTPUT] - requests[request, GENERATED]
    if remaining == 0:
        _finish(state, requests, finished, request)
        return
    cell = (state[ITERATION] + remaining) & (due.shape[0] - 1)
    requests[request, DUE_PREVIOUS] = -1
    requests[request, DUE_NEXT] = due[cell]
    if due[cell] >= 0:
        requests[due[cell], DUE_PREVIOUS] = request
    due[cell] = request


@compiled
def _land(a: Arrays) -> None:
    """Complete the iteration in flight: tokens out, requests finished, prefills into the decoding batch."""
    state, joules, requests, due = a.state, a.joules, a.requests, a.due
    state[NOW] = state[ITERATION_END]
    duration = state[ITERATION_END] - state[ITERATION_START]
    state[ITERATION_END] = -1
    state[ITERATION] += 1
    joules[ENERGY_J] += joules[FLIGHT_J]
    state[HOST_NS] += state[FLIGHT_HOST]
    state[COMPUTE_NS if state[FLIGHT_IS_COMPUTE] else STREAMING_NS] += state[FLIGHT_LINEAR]
    state[ATTENTION_NS] += state[FLIGHT_ATTENTION]
    decodes = state[DECODES]
    if decodes > 0:
        state[CONTEXT_TOKENS] += decodes
        state[KV_TOKENS] += decodes
        state[GENERATION_TOKENS] += decodes
        state[ITL_SUM_NS] += decodes * duration
        _observe(a.edges, a.intervals, duration, decodes)
        cell = state[ITERATION] & (due.shape[0] - 1)
        request = due[cell]
        due[cell] = -1
        while request >= 0:
            after = requests[request, DUE_NEXT]
            _finish(state, requests, a.finished, request)
            request = after
    for i in range(state[COMPLETING]):
        request = a.completing[i]
        if requests[request, FIRST_TOKEN] < 0:
            requests[request, FIRST_TOKEN] = state[NOW]
            state[PROMPT_TOKENS] += requests[request, INPUT]
        else:
            since = state[NOW] - requests[request, LAST_TOKEN]
            state[ITL_SUM_NS] += since
            _observe(a.edges, a.intervals, since, 1)
        _join(state, requests, due, a.finished, request)
    state[COMPLETING] = 0


@compiled
def advance(a: Arrays, until_ns: int) -> None:
    """Live through everything before `until_ns`; what begins exactly then waits for the next call."""
    state = a.state
    while True:
        if state[ITERATION_END] >= 0:
            if state[ITERATION_END] > until_ns:
                break
            _land(a)
        if state[NOW] >= until_ns:
            break
        while state[KV_TOKENS] + state[DECODES] > state[KV_CAPACITY]:
            _preempt_newest(state, a.requests, a.due, a.stack)
        prefill_tokens = _fill_prefills(a)
        if state[DECODES] > 0 or prefill_tokens > 0:
            _launch(state, a.joules, prefill_tokens)
            continue
        wake = until_ns
        if state[QUEUE_LENGTH] > 0:
            wake = min(wake, a.requests[a.queue[state[QUEUE_HEAD]], ARRIVAL])
        state[IDLE_NS] += wake - state[NOW]
        state[NOW] = wake
    state[NOW] = max(state[NOW], until_ns)
