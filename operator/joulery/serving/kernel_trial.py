"""A whole trial in one compiled call: requests in, judged as they finish, stopped once the verdict is out.

Requests are submitted in batches and their rows used again, so that what a trial touches stays in the cache of
the processor. How time is cut into batches changes nothing.
"""

from __future__ import annotations

from typing import Final

from joulery.serving import kernel_cells as at
from joulery.serving.kernel import advance
from joulery.serving.kernel_arrays import Arrays, Ints, compiled
from joulery.serving.kernel_table import enqueue

# Cells of `terms`: limits on engine time, the first tag that is judged, misses that the verdict allows, and
# whether what is in flight at the last arrival is served to its end.
TTFT_NS, TPOT_NS, FIRST_JUDGED, ALLOWED, TO_THE_END = 0, 1, 2, 3, 4
TERMS: Final = 5

BATCH: Final = 128
# Steps in which the last requests are brought to an end.
TAIL_NS: Final = 10_000_000_000


@compiled
def _judge(a: Arrays, free: Ints, free_count: int, terms: Ints, times: Ints, done: int) -> int:
    """Write down TTFT and TPOT of what finished and free the rows; how many of these miss."""
    state, requests = a.state, a.requests
    misses = 0
    for i in range(state[at.FINISHED]):
        row = a.finished[i]
        first_ns = requests[row, at.FIRST_TOKEN]
        ttft_ns = first_ns - requests[row, at.ARRIVAL]
        tpot_ns = (requests[row, at.FINISH] - first_ns) // max(requests[row, at.OUTPUT] - 1, 1)
        times[0, done + i] = ttft_ns
        times[1, done + i] = tpot_ns
        if ttft_ns > terms[TTFT_NS] or tpot_ns > terms[TPOT_NS]:
            misses += requests[row, at.TAG] >= terms[FIRST_JUDGED]
        free[free_count + i] = row
    state[at.FINISHED] = 0
    return misses


@compiled
def serve(a: Arrays, free: Ints, columns: Ints, terms: Ints, times: Ints) -> int:
    """Misses among requests served by an empty engine, complete unless there are more than allowed.

    `columns` holds arrivals, input tokens, output tokens and tags, all of `free` is free, and `times` takes
    TTFT and TPOT in order of completion, in ns of engine time.
    """
    state, count, free_count = a.state, columns.shape[1], free.shape[0]
    sent = done = misses = 0
    while done < count:
        if sent < count:
            batch = min(BATCH, count - sent)
            enqueue(a, free, free_count, columns[:, sent : sent + batch])
            free_count -= batch
            sent += batch
            until_ns = columns[0, sent - 1]
        elif terms[TO_THE_END]:
            until_ns = state[at.NOW] + TAIL_NS
        else:
            break
        advance(a, until_ns)
        finished = state[at.FINISHED]
        misses += _judge(a, free, free_count, terms, times, done)
        free_count += finished
        done += finished
        if misses > terms[ALLOWED]:
            break
    return misses
