"""Requests into the table and out of it again. Compiled: at millions a second copies count."""

from __future__ import annotations

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Ints, compiled


@compiled
def enqueue(a: Arrays, free: Ints, free_count: int, columns: Ints) -> None:
    """Write requests into free rows, the last freed first, and put them at the end of the queue.

    `columns` holds arrivals, input tokens, output tokens and tags, as the first columns of the table do, and
    may hold deadlines.
    """
    state, requests, queue = a.state, a.requests, a.queue
    tail = state[at.QUEUE_HEAD] + state[at.QUEUE_LENGTH]
    count = columns.shape[1]
    for i in range(count):
        row = free[free_count - 1 - i]
        for column in range(at.COLUMNS):
            requests[row, column] = -1
        for column in range(at.TAG + 1):
            requests[row, column] = columns[column, i]
        if columns.shape[0] > at.TAG + 1:
            requests[row, at.DEADLINE] = columns[at.TAG + 1, i]
        requests[row, at.GENERATED] = 0
        queue[(tail + i) & (queue.shape[0] - 1)] = row
    state[at.QUEUE_LENGTH] += count


@compiled
def collect(requests: Ints, rows: Ints, columns: Ints) -> None:
    """Copy the first columns of rows of the table, each into a row of `columns`."""
    for i in range(rows.shape[0]):
        for column in range(columns.shape[0]):
            columns[column, i] = requests[rows[i], column]
