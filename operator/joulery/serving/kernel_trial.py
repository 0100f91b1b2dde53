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

# Cells of `terms`: limits on engine time, the first tag that is judged, and the most misses to go on with.
TTFT_NS, TPOT_NS, FIRST_JUDGED, MOST_MISSES = 0, 1, 2, 3
TERMS: Final = 4
# Columns of `marks`: misses so far, token intervals so far within the limit and beyond it.
MISSES, WITHIN, BEYOND = 0, 1, 2
MARKS: Final = 3

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
def _mark(a: Arrays, marks: Ints, part: int, misses: int) -> None:
    """Write down how things stand at the end of a part."""
    marks[part, MISSES] = misses
    marks[part, WITHIN] = a.intervals[0]
    marks[part, BEYOND] = a.intervals[1] if a.edges.shape[0] > 0 else 0


@compiled
def serve(a: Arrays, free: Ints, columns: Ints, bounds: Ints, terms: Ints, times: Ints, marks: Ints) -> int:
    """Serve requests on an empty engine; how many ended, all unless more miss than is gone on with.

    `columns` holds arrivals, input tokens, output tokens and tags, `bounds` where parts of them end, all of
    `free` is free. `times` takes TTFT and TPOT in order of completion, in ns of engine time; `marks` a row when
    the last request of a part has come, and the last row when all have ended.
    """
    state, count, free_count = a.state, columns.shape[1], free.shape[0]
    sent = done = misses = part = 0
    last = bounds.shape[0] - 1
    while done < count:
        while part < last and bounds[part] <= sent:
            _mark(a, marks, part, misses)
            part += 1
        if sent < count:
            batch = min(BATCH, bounds[part] - sent)
            enqueue(a, free, free_count, columns[:, sent : sent + batch])
            free_count -= batch
            sent += batch
            until_ns = columns[0, sent - 1]
        else:
            until_ns = state[at.NOW] + TAIL_NS
        advance(a, until_ns)
        finished = state[at.FINISHED]
        misses += _judge(a, free, free_count, terms, times, done)
        free_count += finished
        done += finished
        if misses > terms[MOST_MISSES]:
            return int(min(done, count - 1))
    _mark(a, marks, last, misses)
    return done
