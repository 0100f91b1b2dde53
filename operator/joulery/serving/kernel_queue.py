"""Who runs: admission, prefills within the token budget, preemption. Compiled.

As in vLLM's scheduler decodes come first, prefills share the rest of the token budget, a request is admitted
when its whole context fits the KV cache, the newest is preempted when decodes outgrow it, recomputes its
context and is first in the queue again. In order of deadlines the most urgent of those that wait comes next, and
passes a half-done prompt that is less urgent at the border of a chunk; who was passed keeps its place in the KV
cache, and goes on before those it had passed itself.
"""

from __future__ import annotations

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Ints, compiled


@compiled
def unlink(requests: Ints, request: int, onward: int, backward: int) -> None:
    """Join the neighbours of a request in one of its lists."""
    after, before = requests[request, onward], requests[request, backward]
    if after >= 0:
        requests[after, backward] = before
    if before >= 0:
        requests[before, onward] = after


@compiled
def leave_running(state: Ints, requests: Ints, request: int) -> None:
    """Take a request out of the running list."""
    if state[at.RUN_HEAD] == request:
        state[at.RUN_HEAD] = requests[request, at.RUN_NEXT]
    if state[at.RUN_TAIL] == request:
        state[at.RUN_TAIL] = requests[request, at.RUN_PREVIOUS]
    unlink(requests, request, at.RUN_NEXT, at.RUN_PREVIOUS)
    state[at.RUNNING] -= 1


@compiled
def take_passed(state: Ints, passed: Ints) -> int:
    """The half-done prompt that was passed last, which is passed no more; -1 where there is none."""
    if state[at.PASSED] == 0:
        return -1
    state[at.PASSED] -= 1
    return int(passed[state[at.PASSED]])


@compiled
def preempt_newest(a: Arrays) -> None:
    """Free the KV cache of the request admitted last and put it at the head of the queue."""
    state, requests, due, stack = a.state, a.requests, a.due, a.stack
    request = state[at.RUN_TAIL]
    leave_running(state, requests, request)
    if requests[request, at.JOINED] >= 0:
        cell = requests[request, at.JOINED] + requests[request, at.OUTPUT] - requests[request, at.GENERATED]
        if due[cell & (due.shape[0] - 1)] == request:
            due[cell & (due.shape[0] - 1)] = requests[request, at.DUE_NEXT]
        unlink(requests, request, at.DUE_NEXT, at.DUE_PREVIOUS)
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
            state[at.PARTIAL] = take_passed(state, a.passed)
    requests[request, at.PREFILLED] = 0
    state[at.NEXT_DUE] = -1
    stack[state[at.PREEMPTED]] = request
    state[at.PREEMPTED] += 1
    state[at.PREEMPTIONS] += 1


@compiled
def _sort_arrived(state: Ints, requests: Ints, queue: Ints) -> None:
    """Put those that have arrived among the head of the queue by deadline, behind others of the same deadline."""
    last = queue.shape[0] - 1
    while state[at.SORTED] < state[at.QUEUE_LENGTH]:
        place = state[at.QUEUE_HEAD] + state[at.SORTED]
        request = queue[place & last]
        if requests[request, at.ARRIVAL] > state[at.NOW]:
            return
        while place > state[at.QUEUE_HEAD]:
            before = queue[(place - 1) & last]
            if requests[before, at.DEADLINE] <= requests[request, at.DEADLINE]:
                break
            queue[place & last] = before
            place -= 1
        queue[place & last] = request
        state[at.SORTED] += 1


@compiled
def _admit(a: Arrays, halfway: int) -> int:
    """Admit the head of the queue where its whole context fits the KV cache; the request, or -1.

    A prompt that is `halfway` (-1 for none) is passed by the preempted and by those with an earlier deadline.
    """
    state, requests, queue, stack = a.state, a.requests, a.queue, a.stack
    if state[at.RUNNING] >= state[at.MAX_NUM_SEQS]:
        return -1
    if state[at.PREEMPTED] > 0:
        request = stack[state[at.PREEMPTED] - 1]
    elif state[at.QUEUE_LENGTH] > 0:
        if state[at.BY_DEADLINE]:
            _sort_arrived(state, requests, queue)
        request = queue[state[at.QUEUE_HEAD]]
        if requests[request, at.ARRIVAL] > state[at.NOW]:
            return -1
        if halfway >= 0 and requests[request, at.DEADLINE] >= requests[halfway, at.DEADLINE]:
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
        state[at.SORTED] -= state[at.BY_DEADLINE]
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
def _most_urgent(a: Arrays, halfway: int) -> int:
    """The prompt that goes on or begins in order of deadlines, -1 for none."""
    if halfway < 0:
        halfway = take_passed(a.state, a.passed)
    request = _admit(a, halfway)
    if request < 0:
        return halfway
    if halfway >= 0:
        a.passed[a.state[at.PASSED]] = halfway
        a.state[at.PASSED] += 1
    return request


@compiled
def fill_prefills(a: Arrays) -> int:
    """Give the budget that decodes leave to prefills in the order of the queue; the prefill tokens taken."""
    state, requests, completing = a.state, a.requests, a.completing
    left = state[at.TOKEN_BUDGET] - state[at.DECODES]
    taken = 0
    state[at.COMPLETING] = 0
    request = state[at.PARTIAL]
    while left > 0:
        if state[at.BY_DEADLINE]:
            request = _most_urgent(a, request)
        elif request < 0:
            request = _admit(a, -1)
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
    state[at.PARTIAL] = request if request >= 0 else take_passed(state, a.passed)
    return taken
