"""Where everything an engine is lies: columns of its requests, cells of its state and of its joules."""

from __future__ import annotations

from typing import Final

# Columns of `requests`: one row per request in flight, or finished and not yet taken. Times in ns, -1 before.
ARRIVAL, INPUT, OUTPUT, TAG, FIRST_TOKEN, FINISH = 0, 1, 2, 3, 4, 5
# Tokens generated when it last joined the decoding batch or was preempted; the iteration at which it joined,
# -1 outside of the batch; when the last token before a preemption came.
GENERATED, JOINED, LAST_TOKEN = 6, 7, 8
# Tokens to prefill, reserved in the KV cache from admission, and how many of them are.
CONTEXT, PREFILLED = 9, 10
# Doubly linked lists: running requests by admission; decoding requests that finish in the same iteration.
RUN_NEXT, RUN_PREVIOUS, DUE_NEXT, DUE_PREVIOUS = 11, 12, 13, 14
# When its first token should have come; only a queue in order of deadlines reads it.
DEADLINE = 15
COLUMNS: Final = 16

# Cells of `state`. ITERATION_END is -1 where no iteration is in flight.
NOW, ITERATION_START, ITERATION_END, ITERATION = 0, 1, 2, 3
# Decoding requests, their tokens in the KV cache, and these plus what prefills have reserved.
DECODES, CONTEXT_TOKENS, KV_TOKENS = 4, 5, 6
RUNNING, RUN_HEAD, RUN_TAIL = 7, 8, 9
# The request whose prefill goes on in the next iteration, or -1; how many prefills the one in flight
# completes.
PARTIAL, COMPLETING = 10, 11
# Submitted and not admitted, arrived or not; height of the stack of the preempted; finished and not taken.
QUEUE_HEAD, QUEUE_LENGTH, PREEMPTED, FINISHED = 12, 13, 14, 15
PREEMPTIONS, PROMPT_TOKENS, GENERATION_TOKENS, REQUESTS, ITL_SUM_NS = 16, 17, 18, 19, 20
IDLE_NS, HOST_NS, STREAMING_NS, COMPUTE_NS, ATTENTION_NS = 21, 22, 23, 24, 25
# Shares of the iteration in flight, ns.
FLIGHT_HOST, FLIGHT_LINEAR, FLIGHT_ATTENTION, FLIGHT_IS_COMPUTE = 26, 27, 28, 29
TOKEN_BUDGET, MAX_NUM_SEQS, KV_CAPACITY = 30, 31, 32
# Coefficients at the clock of the next iteration; streaming by number of steps taken (three cells).
CLOCK_HOST_NS, CLOCK_STREAMING_NS, CLOCK_COMPUTE_PS, CLOCK_CONTEXT_PS, CLOCK_SEQUENCE_PS = 33, 34, 37, 38, 39
STEP_TOKENS: Final = 40  # two cells, rising
# Whether the queue is in order of deadlines; then how many prompts are half done and passed, the last passed on
# top, and how many at the head of the queue have arrived and stand in order of deadlines.
BY_DEADLINE, PASSED, SORTED = 42, 43, 44
# The iteration whose end completes the next answer, -1 where that must be looked up in the ring.
NEXT_DUE: Final = 45
STATE_CELLS: Final = 46

# Cells of `joules`: energy of completed iterations, of the whole iteration in flight, and watts at the clock.
ENERGY_J, FLIGHT_J, HOST_W, STREAMING_W, ATTENTION_W, COMPUTE_W = 0, 1, 2, 3, 4, 5
JOULE_CELLS: Final = 6
