"""Continuous batching one iteration at a time, compiled: what the event-driven kernel must equal exactly.

It runs on the same arrays, every iteration put in flight and completed; what it does is repeated here on purpose, so
that nothing which the two share can be wrong in both.
"""

from __future__ import annotations

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Floats, Ints, compiled


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
    if state[at.RUN_HEAD] == request:
        state[at.RUN_HEAD] = requests[request, at.RUN_NEXT]
    if state[at.RUN_TAIL] == request:
        state[at.RUN_TAIL] = requests[request, at.RUN_PREVIOUS]
    _unlink(requests, request, at.RUN_NEXT, at.RUN_PREVIOUS)
    state[at.RUNNING] -= 1


@compiled
def _preempt_newest(a: Arrays) -> None:
    """Free the KV cache of the request admitted last and put it at the head of the queue."""
    state, requests, due, stack = a.state, a.requests, a.due, a.stack
    request = state[at.RUN_TAIL]
    _leave_running(state, requests, request)
    if requests[request, at.JOINED] >= 0:
        cell = requests[request, at.JOINED] + requests[request, at.OUTPUT] - requests[request, at.GENERATED]
        if due[cell & (due.shape[0] - 1)] == request:
            due[cell & (due.shape[0] - 1)] = requests[request, at.DUE_NEXT]
        _unlink(requests, request, at.DUE_NEXT, at.DUE_PREVIOUS)
        generated = requests[request, at.GENERATED] + state[at.ITERATION] - requests[request, at.JOINED]
        held = requests[request, at.INPUT] + generated - 1
        state[at.DECODES] -= 1
        state[at.CONTEXT_TOKENS] -= held
        state[at.KV_TOKENS] -= held
        requests[request, at.GENERATED] = generated
        requests[request, at.JOINED] = -1
        requests[request, at.LAST_TOKEN] = state[at.NOW]
    else:
        state[at.KV_TOKENS] -= requests[request, at.CONTEXT]
        if state[at.PARTIAL] == request:
            state[at.PARTIAL] = -1
            if state[at.PASSED] > 0:
                state[at.PASSED] -= 1
                state[at.PARTIAL] = a.passed[state[at.PASSED]]
    requests[request, at.PREFILLED] = 0
    stack[state[at.PREEMPTED]] = request
    state[at.PREEMPTED] += 1
    state[at.PREEMPTIONS] += 1


@compiled
def _sort_arrived(a: Arrays) -> None:
    """Let those that have arrived climb past later deadlines, one place at a time."""
    state, queue, last = a.state, a.queue, a.queue.shape[0] - 1
    head = state[at.QUEUE_HEAD]
    for arrived in range(state[at.SORTED], state[at.QUEUE_LENGTH]):
        if a.requests[queue[(head + arrived) & last], at.ARRIVAL] > state[at.NOW]:
            break
        for place in range(arrived, 0, -1):
            here, before = (head + place) & last, (head + place - 1) & last
            if a.requests[queue[before], at.DEADLINE] > a.requests[queue[here], at.DEADLINE]:
                queue[before], queue[here] = queue[here], queue[before]
        state[at.SORTED] = arrived + 1


@compiled
def _admit(a: Arrays, halfway: int) -> int:
    """Admit the head of the queue where its whole context fits the KV cache; the request, or -1."""
    state, requests, queue, stack = a.state, a.requests, a.queue, a.stack
    if state[at.RUNNING] >= state[at.MAX_NUM_SEQS]:
        return -1
    if state[at.PREEMPTED] > 0:
        request = stack[state[at.PREEMPTED] - 1]
    elif state[at.QUEUE_LENGTH] > 0:
        if state[at.BY_DEADLINE]:
            _sort_arrived(a)
        request = queue[state[at.QUEUE_HEAD]]
        if requests[request, at.ARRIVAL] > state[at.NOW]:
            return -1
        if halfway >= 0 and requests[halfway, at.DEADLINE] <= requests[request, at.DEADLINE]:
            return -1
    else:
        return -1
    context = requests[request, at.INPUT] + requests[request, at.GENERATED]
    if state[at.KV_TOKENS] + state[at.DECODES] + context > state[at.KV_CAPACITY]:
        return -1
    if state[at.PREEMPTED] > 0:
        state[at.PREEMPTED] -= 1
    else:
        state[at.QUEUE_HEAD] = (state[at.QUEUE_HEAD] + 1) & (queue.shape[0] - 1)
        state[at.QUEUE_LENGTH] -= 1
        if state[at.BY_DEADLINE]:
            state[at.SORTED] -= 1
    requests[request, at.CONTEXT] = context
    requests[request, at.PREFILLED] = 0
    requests[request, at.RUN_NEXT] = -1
    requests[request, at.RUN_PREVIOUS] = state[at.RUN_TAIL]
    if state[at.RUN_TAIL] >= 0:
        requests[state[at.RUN_TAIL], at.RUN_NEXT] = request
    else:
        state[at.RUN_HEAD] = request
    state[at.RUN_TAIL] = request
    state[at.RUNNING] += 1
    state[at.KV_TOKENS] += context
    return int(request)


@compiled
def _fill_prefills(a: Arrays) -> int:
    """Give the budget that decodes leave to prefills in the order of the queue; the prefill tokens taken."""
    state, requests, completing = a.state, a.requests, a.completing
    left = state[at.TOKEN_BUDGET] - state[at.DECODES]
    taken = 0
    state[at.COMPLETING] = 0
    request = state[at.PARTIAL]
    while left > 0:
        if request < 0 and state[at.PASSED] > 0:
            state[at.PASSED] -= 1
            request = a.passed[state[at.PASSED]]
        if request < 0 or state[at.BY_DEADLINE]:
            urgent = _admit(a, request)
            if urgent >= 0 and request >= 0:
                a.passed[state[at.PASSED]] = request
                state[at.PASSED] += 1
            request = urgent if urgent >= 0 else request
        if request < 0:
            break
        chunk = min(left, requests[request, at.CONTEXT] - requests[request, at.PREFILLED])
        requests[request, at.PREFILLED] += chunk
        left -= chunk
        taken += chunk
        if requests[request, at.PREFILLED] < requests[request, at.CONTEXT]:
            break
        completing[state[at.COMPLETING]] = request
        state[at.COMPLETING] += 1
        request = -1
    if request < 0 and state[at.PASSED] > 0:
        state[at.PASSED] -= 1
        request = a.passed[state[at.PASSED]]
    state[at.PARTIAL] = request
    return taken


@compiled
def _launch(state: Ints, joules: Floats, prefill_tokens: int) -> None:
    """Put the iteration in flight: its duration by share and its energy, at the clock of this instant."""
    tokens = state[at.DECODES] + prefill_tokens
    steps = 0
    if tokens > state[at.STEP_TOKENS]:
        steps = 2 if tokens > state[at.STEP_TOKENS + 1] else 1
    streaming = state[at.CLOCK_STREAMING_NS + steps]
    compute = (state[at.CLOCK_COMPUTE_PS] * tokens + 500) // 1000
    host = state[at.CLOCK_HOST_NS]
    attention = (state[at.CLOCK_SEQUENCE_PS] * state[at.DECODES] + 500) // 1000
    attention += (state[at.CLOCK_CONTEXT_PS] * state[at.CONTEXT_TOKENS] + 500) // 1000
    linear, watts = (
        (compute, joules[at.COMPUTE_W]) if compute > streaming else (streaming, joules[at.STREAMING_W])
    )
    state[at.FLIGHT_HOST] = host
    state[at.FLIGHT_LINEAR] = linear
    state[at.FLIGHT_ATTENTION] = attention
    state[at.FLIGHT_IS_COMPUTE] = compute > streaming
    joules[at.FLIGHT_J] = 1e-9 * (
        host * joules[at.HOST_W] + linear * watts + attention * joules[at.ATTENTION_W]
    )
    state[at.ITERATION_START] = state[at.NOW]
    state[at.ITERATION_END] = state[at.NOW] + host + linear + attention


@compiled
def _finish(state: Ints, requests: Ints, finished: Ints, request: int) -> None:
    """Release a request that has all its tokens."""
    _leave_running(state, requests, request)
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
        _observe(a.edges, a.intervals, duration, decodes)
        cell = state[at.ITERATION] & (due.shape[0] - 1)
        request = due[cell]
        due[cell] = -1
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
            _observe(a.edges, a.intervals, since, 1)
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
            _preempt_newest(a)
        prefill_tokens = _fill_prefills(a)
        if state[at.DECODES] > 0 or prefill_tokens > 0:
            _launch(state, a.joules, prefill_tokens)
            continue
        wake = until_ns
        if state[at.QUEUE_LENGTH] > 0:
            wake = min(wake, a.requests[a.queue[state[at.QUEUE_HEAD]], at.ARRIVAL])
        state[at.IDLE_NS] += wake - state[at.NOW]
        state[at.NOW] = wake
    state[at.NOW] = max(state[at.NOW], until_ns)
