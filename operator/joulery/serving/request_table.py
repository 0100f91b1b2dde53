"""The growing arrays of an engine: requests with a free list, the arrival queue, the ring of due lists."""

from __future__ import annotations

import numpy as np

from joulery.serving import kernel_cells as at
from joulery.serving.kernel_arrays import Arrays, Floats, Ints
from joulery.serving.kernel_table import collect, enqueue


class RequestTable:
    """Rows of requests in flight or finished and not taken; sizes are powers of two and double when full."""

    def __init__(self, *, capacity_hint: int, max_num_seqs: int) -> None:
        size = _power_of_two(max(capacity_hint, 16))
        # Left as they come: a row is written in full when a request takes it, places when they are taken.
        self.rows: Ints = np.empty((size, at.COLUMNS), np.int64)
        # The first `free_count` are rows not in use.
        self.free: Ints = np.arange(size - 1, -1, -1, dtype=np.int64)
        self._all_free = self.free.copy()
        self.free_count = size
        self._told = np.ones(size, np.bool_)
        self._queue: Ints = np.empty(size, np.int64)
        self._finished: Ints = np.empty(size, np.int64)
        self._due: Ints = np.full(1024, -1, np.int64)
        self._stack: Ints = np.zeros(max_num_seqs, np.int64)
        self._passed: Ints = np.zeros(max_num_seqs, np.int64)
        self._completing: Ints = np.zeros(max_num_seqs, np.int64)

    def reserve(self, state: Ints, *, count: int, longest_output: int) -> None:
        """Make room for so many more requests; `arrays` are others then."""
        while self.free_count < count:
            self._double_rows(state)
        self._widen_due(state, longest_output)

    def append(self, arrays: Arrays, columns: Ints) -> None:
        """Put requests at the end of the queue, for which room was reserved; `columns` as in `enqueue`."""
        enqueue(arrays, self.free, self.free_count, columns)
        count = columns.shape[1]
        self._told[self.free[self.free_count - count : self.free_count]] = False
        self.free_count -= count

    def take_first_tokens(self) -> Ints:
        """Rows whose first token has come since the last call."""
        indices = np.flatnonzero((self.rows[:, at.FIRST_TOKEN] >= 0) & ~self._told)
        self._told[indices] = True
        fresh: Ints = self.rows[indices]
        return fresh

    def take_finished(self, state: Ints) -> Ints:
        """First columns, FINISH included, of finished requests in order of completion; their rows are free."""
        indices = self._finished[: int(state[at.FINISHED])]
        taken: Ints = np.empty((at.FINISH + 1, len(indices)), np.int64)
        collect(self.rows, indices, taken)
        self._release(indices)
        state[at.FINISHED] = 0
        return taken

    def drop_unfinished(self, state: Ints) -> Ints:
        """Free the rows of all requests in flight; their tags in order of arrival."""
        indices = self._unfinished(state)
        tags: Ints = self.rows[indices, at.TAG].copy()
        self._release(indices)
        self._due[:] = -1
        state[[at.RUNNING, at.QUEUE_LENGTH, at.PREEMPTED, at.COMPLETING]] = 0
        state[[at.DECODES, at.CONTEXT_TOKENS, at.KV_TOKENS, at.PASSED, at.SORTED]] = 0
        state[[at.ITERATION_END, at.RUN_HEAD, at.RUN_TAIL, at.PARTIAL, at.NEXT_DUE]] = -1
        return tags

    def clear(self) -> None:
        """Free all rows, whatever they hold; the state that goes with them is the caller's to wipe."""
        self.free[:] = self._all_free
        self.free_count = len(self.free)
        self._due[:] = -1

    def waiting(self, state: Ints) -> int:
        """Requests that have arrived and are not admitted, the preempted ones among them."""
        come, arrivals = int(state[at.SORTED]), self.rows[self._queued(state), at.ARRIVAL]
        come += int(np.searchsorted(arrivals[come:], state[at.NOW], side="right"))
        return come + int(state[at.PREEMPTED])

    def oldest_waiting_ns(self, state: Ints) -> int:
        """Arrival of the request waiting longest; there must be one."""
        preempted = self._stack[: int(state[at.PREEMPTED])]
        arrivals = self.rows[preempted, at.ARRIVAL].tolist()
        if state[at.QUEUE_LENGTH] > 0:
            queued = self._queued(state)[: max(1, int(state[at.SORTED]))]
            arrivals.append(int(self.rows[queued, at.ARRIVAL].min()))
        return int(min(arrivals))

    def arrays(self, state: Ints, joules: Floats, edges: Ints, intervals: Ints) -> Arrays:
        """What the kernel works on, valid until requests are appended."""
        return Arrays(
            state=state,
            joules=joules,
            requests=self.rows,
            queue=self._queue,
            stack=self._stack,
            passed=self._passed,
            due=self._due,
            completing=self._completing,
            finished=self._finished,
            edges=edges,
            intervals=intervals,
        )

    def _unfinished(self, state: Ints) -> Ints:
        indices = self._stack[: int(state[at.PREEMPTED])].tolist()
        request = int(state[at.RUN_HEAD])
        while request >= 0:
            indices.append(request)
            request = int(self.rows[request, at.RUN_NEXT])
        indices.extend(self._queued(state).tolist())
        found: Ints = np.array(indices, np.int64)
        return found[np.argsort(self.rows[found, at.ARRIVAL], kind="stable")]

    def _queued(self, state: Ints) -> Ints:
        head = int(state[at.QUEUE_HEAD])
        places = np.arange(head, head + int(state[at.QUEUE_LENGTH])) & (len(self._queue) - 1)
        queued: Ints = self._queue[places]
        return queued

    def _release(self, indices: Ints) -> None:
        self.free[self.free_count : self.free_count + len(indices)] = indices
        self.free_count += len(indices)

    def _double_rows(self, state: Ints) -> None:
        size = len(self.rows)
        queued = self._queued(state)
        self.rows = np.concatenate([self.rows, np.zeros((size, at.COLUMNS), np.int64)])
        self._told = np.concatenate([self._told, np.ones(size, np.bool_)])
        free = np.zeros(2 * size, np.int64)
        free[:size] = np.arange(2 * size - 1, size - 1, -1)
        free[size : size + self.free_count] = self.free[: self.free_count]
        self.free, self.free_count = free, size + self.free_count
        self._all_free = np.arange(2 * size - 1, -1, -1)
        self._queue = np.zeros(2 * size, np.int64)
        self._queue[: len(queued)] = queued
        state[at.QUEUE_HEAD] = 0
        self._finished = np.concatenate([self._finished, np.zeros(size, np.int64)])

    def _widen_due(self, state: Ints, longest_output: int) -> None:
        """Let the ring of due lists span the longest answer; lists keep their iteration."""
        old = len(self._due)
        if longest_output < old:
            return
        wide = np.full(_power_of_two(longest_output + 1), -1, np.int64)
        ahead = int(state[at.ITERATION]) + np.arange(old)
        wide[ahead & (len(wide) - 1)] = self._due[ahead & (old - 1)]
        self._due = wide


def _power_of_two(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()
